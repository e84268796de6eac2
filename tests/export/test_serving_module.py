"""What is served is what Keras answers, row by row, and a bad row hurts nobody but itself."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf import PromptedT5
from softprompt_tf.export.graph.served_tasks import build_served_tasks
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.export.session.session_process import run_in_process

pytestmark = pytest.mark.thorough

TASKS = ("mood", "story", "reply")
SIZES = (0, 1, 7, 64)
WORDS = (
    "the",
    "old",
    "miller",
    "walks",
    "to",
    "a",
    "charming",
    "film",
    "and",
    "nobody",
    "had",
    "seen",
    "dull",
    "winter",
)


def _texts(count):
    """Texts of 0 to 60 words: short and long rows stand side by side, and the longest are cut."""
    generator = np.random.default_rng(5)
    lengths = [9, 0, 60, 1, *generator.integers(1, 25, size=count)]
    return [" ".join(generator.choice(WORDS, size=length)) for length in lengths[:count]]


TASK_IDS = [TASKS[k % 3] for k in range(64)]
TEXTS = _texts(64)
TARGETS = [("yes", "a warm picture of family life", "")[k % 4 % 3] for k in range(64)]


def inputs_of(signature, size):
    columns = {"task_id": TASK_IDS, "text": TEXTS, **({"target": TARGETS} if signature == "score" else {})}
    return {name: np.array(values[:size], object) for name, values in columns.items()}


@pytest.fixture(scope="module")
def keras_answers(tiny_t5, task_prompts, keras_models):
    """Generation, classification (None without labels) and score of each of the 64 rows, every task asked alone."""
    answers = [None] * 64
    for task, model in keras_models.items():
        rows = [k for k in range(64) if TASK_IDS[k] == task]
        before, after = ("the film: ", " is it good?") if task == "mood" else ("", "")
        texts = [f"{before}{TEXTS[k]}{after}" for k in rows]
        # A Keras model cuts targets where training would have; the served `score` takes them whole.
        scorer = PromptedT5(tiny_t5, task_prompts[task], max_target_tokens=256)
        columns = (
            model.generate_scored(texts),
            model.classify(texts) if model.labels else [None] * len(rows),
            scorer.score(texts, [TARGETS[k] for k in rows]),
        )
        for k, *answer in zip(rows, *columns, strict=True):
            answers[k] = answer
    return answers


@pytest.fixture(scope="module")
def served(request, signatures, version_directory):
    """(signature, rows) -> outputs, through `tf.saved_model.load` or through the C API in a process of its own."""
    asked = [(signature, size) for signature in ("serving_default", "classify", "score") for size in SIZES]
    if request.param == "python":
        return {key: signatures[key[0]](**inputs_of(*key)) for key in asked}
    requests = [{"signature": signature, "inputs": inputs_of(signature, size)} for signature, size in asked]
    return dict(zip(asked, run_in_process(version_directory, requests), strict=True))


both_ways = pytest.mark.parametrize("served", ["python", "c_api"], indirect=True)
each_size = pytest.mark.parametrize("size", SIZES)


@both_ways
@each_size
def test_served_texts_and_scores_are_those_of_keras(served, keras_answers, size):
    answer = served["serving_default", size]

    generations = [generation for generation, _, _ in keras_answers[:size]]
    assert [output.decode() for output in answer["output"]] == [generation.text for generation in generations]
    np.testing.assert_allclose(answer["score"], [generation.score for generation in generations], rtol=0, atol=1e-4)
    assert answer["status"].tolist() == [b""] * size


@both_ways
@each_size
def test_served_labels_and_log_probabilities_are_those_of_keras(served, keras_answers, size):
    answer = served["classify", size]

    assert {len(values) for values in answer.values()} == {size}
    for k, (_, choice, _) in enumerate(keras_answers[:size]):
        if choice is None:
            assert answer["status"][k] == b"This task has no labels. Ask for `serving_default`."
            continue
        count = len(choice.labels)
        assert answer["label"][k].decode() == choice.label
        assert [label.decode() for label in answer["labels"][k]] == [*choice.labels, ""][:3]
        assert answer["probability"][k] == pytest.approx(choice.probability, abs=1e-4)
        np.testing.assert_allclose(
            answer["log_probabilities"][k, :count], choice.log_probabilities, rtol=1e-6, atol=1e-4
        )
        assert (answer["log_probabilities"][k, count:] == -1e9).all()
        assert answer["status"][k] == b""


@both_ways
@each_size
def test_served_log_likelihoods_are_those_of_keras(served, keras_answers, size):
    answer = served["score", size]

    expected = [score for _, _, score in keras_answers[:size]]
    np.testing.assert_allclose(answer["log_likelihood"], expected, rtol=1e-6, atol=1e-4)
    assert answer["status"].tolist() == [b""] * size


def test_rows_answer_in_a_mixed_batch_as_among_their_own_task(signatures):
    mixed = signatures["serving_default"](task_id=TASK_IDS, text=TEXTS)

    for task in TASKS:
        rows = [k for k in range(64) if TASK_IDS[k] == task]
        alone = signatures["serving_default"](task_id=[task] * len(rows), text=[TEXTS[k] for k in rows])

        assert alone["output"].tolist() == mixed["output"][rows].tolist()
        np.testing.assert_allclose(alone["score"], mixed["score"][rows], rtol=0, atol=1e-5)


def test_each_row_is_cut_at_its_own_tasks_limit(signatures, keras_models):
    # Texts whose answers do not end by themselves within the 9 tokens of the task.
    model = keras_models["story"]
    pairs = zip(TEXTS, model.generate(TEXTS, max_tokens=9), model.generate(TEXTS, max_tokens=20), strict=True)
    cut = [(text, answer) for text, answer, whole in pairs if answer != whole][:4]

    texts = [text for text, _ in cut]
    mixed = signatures["serving_default"](task_id=["story"] * 4 + ["reply"] * 4, text=texts * 2)
    alone = signatures["serving_default"](task_id=["story"] * 4, text=texts)

    assert [output.decode() for output in mixed["output"][:4]] == [answer for _, answer in cut]
    assert alone["output"].tolist() == mixed["output"][:4].tolist()
    longer = keras_models["reply"].generate(texts, max_tokens=20)
    assert [output.decode() for output in mixed["output"][4:]] == longer


# === Bad rows ===


@pytest.mark.parametrize("signature", ["serving_default", "classify", "score"])
@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"task_id": "mod"}, "Unknown task id 'mod'. Known: mood, story, reply."),
        ({"task_id": ""}, "Unknown task id ''. Known: mood, story, reply."),
        ({"task_id": b"\xff\xfemood"}, "Unknown task id '\ufffd\ufffdmood'. Known: mood, story, reply."),
        ({"text": b"a good \xff film"}, "`text` must be valid UTF-8."),
    ],
    ids=["unknown", "empty", "invalid UTF-8 task id", "invalid UTF-8 text"],
)
def test_a_bad_row_gets_a_status_and_leaves_its_neighbours_alone(signatures, signature, bad, status):
    inputs = {name: list(values) for name, values in inputs_of(signature, 7).items()}
    good = signatures[signature](**inputs)
    for name, value in bad.items():
        inputs[name][3] = value

    answer = signatures[signature](**inputs)

    assert answer["status"][3].decode() == status
    others = [0, 1, 2, 4, 5, 6]
    for name, values in good.items():
        if values.dtype == object:
            assert answer[name][others].tolist() == values[others].tolist()
        else:
            np.testing.assert_allclose(answer[name][others], values[others], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [{"task_id": "nope"}, {"task_id": "story", "text": b"\xff" + b" a good film" * 40}],
    ids=["unknown task", "invalid text"],
)
def test_a_bad_row_makes_its_neighbours_wait_for_nothing(tiny_t5, task_prompts, bad):
    """The first task has three labels, 12 rows and answers of 20 tokens; that of the neighbours two, 3 and 2."""
    module = ServingModule(
        tiny_t5, build_served_tasks(tiny_t5, {name: task_prompts[name] for name in ("reply", "story", "mood")})
    )
    row = {"task_id": "nope", "text": "a good film" * 40, "target": "a good film" * 40, **bad}
    asked = {name: tf.constant([value, {"task_id": "mood"}.get(name, "a")]) for name, value in row.items()}
    seen = _seen_by(module)

    generated = module.generate(asked["task_id"], asked["text"])
    module.classify(asked["task_id"], asked["text"])
    module.score(**asked)

    assert generated["status"].numpy()[0] != b"" == generated["status"].numpy()[1]
    (*_, limits), (*_, labels), (*_, targets) = seen["decode"][0], *seen["score"]
    assert limits.numpy().tolist() == [1, 2]
    assert labels.shape[1] == 2
    ids = [len(row) + 1 for row in tiny_t5.tokenize(["a", "the film: a is it good?"])]
    assert targets.shape[2] == ids[0]
    for prompt, _, token_ids, *_ in seen["encode"]:
        assert prompt.shape[1] == (3 if bad["task_id"] == "nope" else 7)
        assert token_ids.shape[1] == ids[1]


def _seen_by(module):
    """Let a module's functions note their arguments; return function's name -> those of each call."""
    seen, functions = {}, module._shared.value

    def noted(name):
        def run(*arguments):
            seen.setdefault(name, []).append(arguments)
            return getattr(functions, name)(*arguments)

        return run

    module._shared.value = functions._replace(**{name: noted(name) for name in ("encode", "decode", "score")})
    return seen


def test_a_bad_row_is_answered_with_nothing(signatures):
    generated = signatures["serving_default"](task_id=["nope"], text=["a film"])
    classified = signatures["classify"](task_id=["nope"], text=["a film"])
    scored = signatures["score"](task_id=["nope"], text=["a film"], target=["yes"])

    assert (generated["output"][0], generated["score"][0]) == (b"", -1e9)
    assert (classified["label"][0], classified["probability"][0]) == (b"", 0.0)
    assert classified["labels"].tolist() == [[b"", b"", b""]]
    assert (classified["log_probabilities"] == -1e9).all()
    assert scored["log_likelihood"][0] == -1e9


def test_a_task_without_labels_is_not_classified(signatures):
    answer = signatures["classify"](task_id=["story", "mood"], text=["a film"] * 2)

    assert answer["status"].tolist() == [b"This task has no labels. Ask for `serving_default`.", b""]
    assert (answer["label"][0], answer["probability"][0]) == (b"", 0.0)


def test_a_target_that_is_too_long_is_not_scored_and_its_neighbours_are(signatures):
    # "good" is one piece of the vocabulary: 255 of them and an end of sequence are the most that is scored.
    longest, too_long = " ".join(["good"] * 255), " ".join(["good"] * 256)

    alone = signatures["score"](task_id=["story"], text=["a film"], target=["yes"])
    answer = signatures["score"](task_id=["story"] * 3, text=["a film"] * 3, target=["yes", too_long, longest])

    assert answer["status"].tolist() == [b"", b"The target must have at most 255 tokens.", b""]
    assert answer["log_likelihood"][0] == pytest.approx(alone["log_likelihood"][0], abs=1e-4)
    assert answer["log_likelihood"][1] == -1e9
    assert np.isfinite(answer["log_likelihood"][2])


def test_an_invalid_target_has_a_status(signatures):
    answer = signatures["score"](task_id=["story"] * 2, text=["a film"] * 2, target=[b"\xc3", "yes"])

    assert answer["status"].tolist() == [b"`target` must be valid UTF-8.", b""]


def test_the_status_of_a_long_task_id_is_cut_and_valid_utf8(signatures):
    answer = signatures["serving_default"](task_id=["a" + "é" * 5000], text=["a film"])

    status = answer["status"][0].decode()
    assert status.startswith("Unknown task id 'aéé")
    assert len(status) < 250


def test_the_known_tasks_are_cut_at_1000_characters(tiny_t5, task_prompts):
    names = [f"task_number_{k:03d}" for k in range(200)]
    module = ServingModule(tiny_t5, build_served_tasks(tiny_t5, dict.fromkeys(names, task_prompts["story"])))

    answer = module.score(tf.constant(["task_number_200", names[199]]), tf.constant(["a"] * 2), tf.constant(["a"] * 2))

    status = answer["status"].numpy()[0].decode()
    known = status.partition("Known: ")[2]
    assert known.startswith("task_number_000, task_number_001, ")
    assert known.endswith("....")  # three dots for what was cut, and the sentence's own
    assert len(known) == 1001
    assert answer["status"].numpy()[1] == b""


# === Texts at the limits ===


def test_a_text_of_100000_characters_is_cut_where_training_cuts(signatures):
    long, cut = "film " * 20_000, "film " * 600  # 512 tokens are fewer than 600 words

    answer = signatures["serving_default"](task_id=["story"] * 2, text=[long, cut])

    assert answer["status"].tolist() == [b"", b""]
    assert answer["output"][0] == answer["output"][1]
    assert answer["score"][0] == pytest.approx(answer["score"][1], abs=1e-5)


def test_every_input_and_output_has_the_batch_first(signatures):
    loaded = signatures["score"].loaded

    for function in loaded.signatures.values():
        specs = [*function.structured_input_signature[1].values(), *function.structured_outputs.values()]
        assert {spec.shape[0] for spec in specs} == {None}


@pytest.mark.parametrize(
    ("signature", "outputs"),
    [
        ("serving_default", {"output": 1, "score": 1, "status": 1}),
        ("classify", {"label": 1, "probability": 1, "labels": 2, "log_probabilities": 2, "status": 1}),
        ("score", {"log_likelihood": 1, "status": 1}),
    ],
)
def test_the_answer_of_five_rows_has_five_rows(signatures, signature, outputs):
    answer = signatures[signature](**inputs_of(signature, 5))

    assert {name: values.ndim for name, values in answer.items()} == outputs
    assert {len(values) for values in answer.values()} == {5}


# === Prompts that a request brings ===


def test_a_prompt_of_the_request_answers_as_keras_does(signatures, task_prompts, keras_models):
    texts = TEXTS[:4]
    prompt = np.stack([task_prompts["story"].prompt] * 4)

    answer = signatures["generate_with_prompt"](prompt=prompt, text=texts)

    expected = keras_models["story"].generate_scored(texts, max_tokens=32)
    assert [output.decode() for output in answer["output"]] == [generation.text for generation in expected]
    np.testing.assert_allclose(answer["score"], [generation.score for generation in expected], rtol=0, atol=1e-4)


def test_a_prompt_that_is_not_finite_has_a_status_and_leaves_its_neighbours_alone(signatures, task_prompts):
    prompt = np.stack([task_prompts["mood"].prompt] * 3)
    good = signatures["generate_with_prompt"](prompt=prompt, text=TEXTS[:3])
    prompt[1, 2, 3] = np.nan

    answer = signatures["generate_with_prompt"](prompt=prompt, text=TEXTS[:3])

    assert answer["status"].tolist() == [b"", b"`prompt` must be finite. Received: NaN or infinity.", b""]
    assert answer["output"][[0, 2]].tolist() == good["output"][[0, 2]].tolist()
    np.testing.assert_allclose(answer["score"][[0, 2]], good["score"][[0, 2]], rtol=0, atol=1e-5)
    assert (answer["output"][1], answer["score"][1]) == (b"", -1e9)


def test_a_prompt_that_bfloat16_makes_infinite_has_a_status_and_no_answer(tiny_t5_bfloat16, task_prompts):
    mood = dataclasses.replace(task_prompts["mood"], backbone_fingerprint=tiny_t5_bfloat16.fingerprint)
    huge = dataclasses.replace(mood, prompt=np.full_like(mood.prompt, np.finfo(np.float32).max))
    module = ServingModule(tiny_t5_bfloat16, build_served_tasks(tiny_t5_bfloat16, {"huge": huge, "mood": mood}))
    rows, texts = tf.constant(["huge", "mood"]), tf.constant(["a film"] * 2)

    answers = [
        module.generate(rows, texts),
        module.classify(rows, texts),
        module.score(rows, texts, tf.constant(["yes"] * 2)),
        module.generate_with_prompt(tf.stack([huge.prompt, mood.prompt]), texts),
    ]

    for answer in answers:
        status = answer.pop("status").numpy().tolist()
        assert status == [b"The scores must be finite. Received: NaN or infinity. Check the values of the prompt.", b""]
        assert all(np.isfinite(value).all() for value in answer.values() if value.dtype == tf.float32)
        assert not any(np.any(value.numpy()[0] != b"") for value in answer.values() if value.dtype == tf.string)


def test_every_number_of_good_and_bad_rows_is_one_that_json_has(signatures):
    rows = {"task_id": ["mood", "nope", "story", "reply"], "text": ["a film", "a film", "a film", b"\xc3"]}

    for signature, more in (("serving_default", {}), ("classify", {}), ("score", {"target": ["yes"] * 4})):
        answer = signatures[signature](**rows, **more)
        numbers = [value for value in answer.values() if value.dtype != object]
        assert numbers
        assert all(np.isfinite(values).all() for values in numbers)


def test_no_rows_of_prompts_have_no_answers(signatures, tiny_t5):
    empty = np.zeros((0, 4, tiny_t5.hidden_dim), np.float32)

    answer = signatures["generate_with_prompt"](prompt=empty, text=np.array([], object))

    assert {len(values) for values in answer.values()} == {0}


# === What the module is made of ===


def test_the_backbones_variables_are_shared_and_not_copied(tiny_t5, task_prompts):
    module = ServingModule(tiny_t5, build_served_tasks(tiny_t5, task_prompts))

    shared = {id(variable.value) for variable in tiny_t5.backbone.variables}
    assert {id(variable) for variable in module.backbone_variables} == shared
    assert [variable.name for variable in module.trainable_variables if id(variable) not in shared] == []


def test_a_bfloat16_backbone_answers_in_float32(tiny_t5_bfloat16, task_prompts):
    prompt = dataclasses.replace(task_prompts["story"], backbone_fingerprint=tiny_t5_bfloat16.fingerprint)
    module = ServingModule(tiny_t5_bfloat16, build_served_tasks(tiny_t5_bfloat16, {"story": prompt}))

    answer = module.score(tf.constant(["story"]), tf.constant(["a film"]), tf.constant(["yes"]))

    expected = PromptedT5(tiny_t5_bfloat16, prompt).score(["a film"], ["yes"])
    assert answer["log_likelihood"].dtype == tf.float32
    np.testing.assert_allclose(answer["log_likelihood"], expected, rtol=0.02, atol=0.05)
