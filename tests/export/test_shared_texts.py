"""Equal texts of a batch are encoded once up to where their tasks enter; every row answers as plain NumPy does for it alone."""

import dataclasses

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from asked_versions import ask_once, asked_ahead
from served_methods import module_of, seeing, task_of, twin_and_output

import softprompt_tf as sp
from softprompt_tf.evaluation.ensemble import PromptEnsemble, vote_for_label
from softprompt_tf.export import add_tasks, write_saved_model
from softprompt_tf.export.graph import shared_texts
from softprompt_tf.export.graph.shared_texts import entries_of, first_rows, streams_of

pytestmark = pytest.mark.thorough

FILM, RAIN, YES = "a charming film", "rain fell on the roof all night long", "yes"
MARKED = "a film {prompt:2} in the rain"
# Every task beside every other, texts equal and not, out of order.
ASKED = [
    ("behind", FILM),
    ("front", FILM),
    ("late", RAIN),
    ("far", FILM),
    ("cross", FILM),
    ("late", FILM),
    ("prefix", RAIN),
    ("short", RAIN),
    ("behind", YES),
    ("late", FILM),
    ("short", FILM),
    ("lora", FILM),
    ("heads", FILM),
    ("lora", RAIN),
    ("dept", FILM),
    ("moved", FILM),
    ("moved", RAIN),
    ("words", FILM),
    ("words", RAIN),
    ("words", FILM),
    ("marked", MARKED),
    ("end", MARKED),
    ("behind", MARKED),
    ("marked", FILM),
    ("blind", FILM),
    ("coupled", FILM),
    ("blind", RAIN),
]
TARGET = "nobody could say"


@pytest.fixture(scope="session")
def tiny_t5(two_layer_t5):
    """Of two layers, as tasks have rows of each layer here."""
    return two_layer_t5


@pytest.fixture(scope="module")
def tasks(tiny_t5):
    return {
        "front": task_of(tiny_t5, 1, prompt=4),
        "behind": task_of(tiny_t5, 2, prompt_behind_encoder=3),
        "short": task_of(tiny_t5, 3, prompt_behind_encoder=1, decoder_key_values=2),
        "late": task_of(tiny_t5, 4, prompt_before_layer_1=5),
        "far": task_of(tiny_t5, 5, prompt_before_layer_1=2),
        "cross": task_of(tiny_t5, 6, cross_key_values=2),
        "prefix": task_of(tiny_t5, 7, encoder_key_values=3),
        "lora": task_of(tiny_t5, 8, encoder_value_delta=2, encoder_output_delta=1),
        "heads": task_of(tiny_t5, 9, decoder_query_delta=2, cross_value_delta=2),
        "dept": task_of(tiny_t5, 10, prompt=2, text_offsets=3),
        "moved": task_of(tiny_t5, 11, text_offsets=40),
        "words": task_of(tiny_t5, 12, prompt=3, encoder_prompt_addition=3),
        "marked": task_of(tiny_t5, 13, prompt_in_text=3),
        "end": task_of(tiny_t5, 14, prompt_at_end=3),
        "blind": seeing(task_of(tiny_t5, 15, prompt=2), "prompt"),
        "coupled": task_of(tiny_t5, 16, invertible_adapter=3),
    }


@pytest.fixture(scope="module")
def signatures(tiny_t5, tasks):
    return module_of(tiny_t5, tasks).signatures()


def asked(pairs):
    task_ids, texts = zip(*pairs, strict=True)
    return {"task_id": tf.constant(task_ids), "text": tf.constant(texts)}


def test_every_row_is_scored_as_plain_numpy_does(tiny_t5, tasks, signatures):
    found = signatures["score"](**asked(ASKED), target=tf.constant([TARGET] * len(ASKED)))

    ids = [*tiny_t5.tokenize([TARGET])[0], 1]
    for row, (name, text) in enumerate(ASKED):
        twin, output = twin_and_output(tiny_t5, tasks[name], text)
        expected = numpy_t5.target_log_probability(twin, ids, output)
        assert found["log_likelihood"][row].numpy() == pytest.approx(expected, rel=1e-4), (name, text)
        assert found["status"][row].numpy() == b""


def test_every_row_is_written_as_plain_numpy_does(tiny_t5, tasks, signatures):
    found = signatures["serving_default"](**asked(ASKED))

    for row, (name, text) in enumerate(ASKED):
        ids, score = numpy_t5.greedy(*twin_and_output(tiny_t5, tasks[name], text), 6)
        assert found["output"][row].numpy().decode() == tiny_t5.detokenize([ids])[0]
        assert found["score"][row].numpy() == pytest.approx(score, rel=1e-4), (name, text)


def test_labels_of_shared_texts_are_those_of_rows_alone(signatures):
    together = signatures["classify"](**asked(ASKED))

    for row, pair in enumerate(ASKED):
        alone = signatures["classify"](**asked([pair]))
        np.testing.assert_allclose(
            together["log_probabilities"][row], alone["log_probabilities"][0], rtol=1e-5, atol=1e-5
        )
        assert together["label"][row].numpy() == alone["label"][0].numpy()


def test_bad_rows_leave_those_alone_that_share_their_text(tiny_t5, tasks):
    huge = task_of(tiny_t5, 8, prompt_behind_encoder=2)
    huge.tensors["prompt_behind_encoder"].setflags(write=True)
    huge.tensors["prompt_behind_encoder"][0] = 3e38
    signature = module_of(tiny_t5, {**tasks, "huge": huge}).signature("classify")
    good = [("behind", FILM), ("cross", FILM)]
    expected = signature(**asked(good))["log_probabilities"]

    found = signature(**asked([("huge", FILM), good[0], ("nobody", FILM), good[1], ("huge", FILM)]))

    np.testing.assert_allclose(found["log_probabilities"].numpy()[[1, 3]], expected, rtol=1e-5, atol=1e-5)
    statuses = [status.decode() for status in found["status"].numpy()]
    assert [bool(status) for status in statuses] == [True, False, True, False, True]
    assert "must be finite" in statuses[0]


def test_a_prompt_that_a_request_brings_shares_nothing(tiny_t5, tasks, signatures):
    prompts = np.random.default_rng(9).normal(size=(2, 3, 16)).astype(np.float32)

    found = signatures["generate_with_prompt"](prompt=tf.constant(prompts), text=tf.constant([FILM, FILM]))

    weights = numpy_t5.read_weights(tiny_t5.backbone)
    embeddings = weights.table[[*tiny_t5.tokenize([FILM])[0], 1]]
    for row, prompt in enumerate(prompts):
        ids, score = numpy_t5.greedy(weights, numpy_t5.encode(weights, np.concatenate([prompt, embeddings])), 32)
        assert found["output"][row].numpy().decode() == tiny_t5.detokenize([ids])[0]
        assert found["score"][row].numpy() == pytest.approx(score, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("asked_once")
def test_an_export_of_late_prompts_is_written_checked_and_added_to(tmp_path, tiny_t5, tasks):
    chosen = {name: tasks[name] for name in ("front", "behind", "late")}
    pairs = [("far", FILM), ("behind", FILM), ("late", FILM)]
    inputs = {"task_id": [name for name, _ in pairs], "text": [text for _, text in pairs], "target": [TARGET] * 3}
    request = {"signature": "score", "inputs": inputs}

    write_saved_model(tmp_path / "t5", tiny_t5, chosen)  # compares its answers with Keras's
    with asked_ahead([request]):
        version = add_tasks(tmp_path / "t5", {"far": tasks["far"]})

    (found,) = ask_once(version, [request])
    models = [sp.PromptedT5(tiny_t5, tasks[name], max_target_tokens=32) for name, _ in pairs]  # cuts no target
    expected = [model.score([FILM], [TARGET])[0] for model in models]
    np.testing.assert_allclose(found["log_likelihood"], expected, rtol=1e-4)


# === Streams ===

STAGES = [["prompt"], ["prompt_before_layer_1"]]


def test_streams_part_where_tasks_enter():
    text = tf.constant(["a", "a", "b", "a", "a"])
    limits = tf.constant([9, 9, 9, 9, 8])
    keys = {
        "prompt": ["", "0 0", "", "", ""],
        "prompt_before_layer_1": ["", "", "1 0", "1 0", ""],
        "prompt_behind_encoder": ["", "2 0", "3 0", "2 0", ""],
    }

    equal, streams = streams_of(text, limits, lambda names: tf.constant(keys[names[0]]), STAGES, has_own=True)

    assert equal.numpy().tolist() == [0, 0, 1, 0, 2]
    assert streams.numpy().T.tolist() == [[0, 1, 2, 0, 3], [0, 1, 2, 3, 4], [0, 1, 2, 1, 0]]
    assert first_rows(streams[:, 0]).numpy().tolist() == [0, 1, 2, 4]


def test_stages_are_the_layers_where_tables_enter():
    assert entries_of(["prompt", "cross_key_values"]) == [["prompt"]]
    assert entries_of(["prompt_before_layer_12", "encoder_key_values", "prompt", "prompt_before_layer_2"]) == [
        ["prompt", "encoder_key_values"],
        ["prompt_before_layer_2"],
        ["prompt_before_layer_12"],
    ]


def rows_encoded(module, pairs, monkeypatch):
    """Return how many rows each part of the encoder gets for a request."""
    seen = []

    def counted(run, head, head_mask, tail, tail_mask, *others, dtype):
        seen.append(int(tf.shape(tail)[0]))
        return by_length(run, head, head_mask, tail, tail_mask, *others, dtype=dtype)

    by_length = shared_texts.encode_by_length
    monkeypatch.setattr(shared_texts, "encode_by_length", counted)
    with_functions_run = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        module.classify(**asked(pairs))
    finally:
        tf.config.run_functions_eagerly(with_functions_run)
    return seen


def test_the_encoder_sees_each_stream_once(tiny_t5, tasks, monkeypatch):
    # Below layer 1: four texts, FILM with a prompt, RAIN with encoder keys, FILM and RAIN with "lora", "moved", "words" and
    # "blind", FILM with "dept" and "coupled", MARKED and FILM with "marked", MARKED with "end". From layer 1 on also RAIN and FILM
    # with "late", and FILM with "far".
    assert rows_encoded(module_of(tiny_t5, tasks), ASKED, monkeypatch) == [19, 22]


def test_tasks_of_the_bare_text_share_and_a_template_with_words_does_not(tiny_t5, monkeypatch):
    """The name of a template's field is no part of the text; a task's limit is part of what the model reads."""
    templates = {"mood": "{sentence}", "topic": "{text}", "bare": "", "asked": "is it good? {text}"}
    drawn = {
        name: dataclasses.replace(task_of(tiny_t5, seed, prompt_behind_encoder=3), template=template)
        for seed, (name, template) in enumerate(templates.items())
    }
    drawn["cut"] = dataclasses.replace(drawn["mood"], max_input_tokens=2)
    module = module_of(tiny_t5, drawn)

    assert rows_encoded(module, [("mood", FILM), ("cut", FILM)], monkeypatch) == [2]
    assert rows_encoded(module, [("mood", FILM), ("topic", FILM), ("bare", FILM)], monkeypatch) == [1]
    assert rows_encoded(module, [("mood", FILM), ("topic", RAIN), ("asked", FILM)], monkeypatch) == [3]


# === Several prompts of one task ===


@pytest.fixture(scope="module")
def voters(tiny_t5, tmp_path_factory):
    """Three late prompts of one task as files, each as its method starts."""
    directory = tmp_path_factory.mktemp("voters")
    for seed in (1, 2, 3):
        method = sp.late_prompts(3, decoder=True, scale=4.0, seed=seed)
        model = sp.PromptedT5(tiny_t5, method, labels=["red", "blue", "green"], max_target_tokens=6)
        model.save_prompt(directory / f"{seed}.safetensors", task_id="mood")
    return [sp.load_prompt(path) for path in sorted(directory.iterdir())]


@pytest.fixture(scope="module")
def votes(tiny_t5, voters):
    """Text -> what the three say together."""
    texts = [FILM, RAIN]
    return dict(zip(texts, PromptEnsemble(tiny_t5, voters).classify(texts), strict=True))


def test_late_prompts_vote_as_those_asked_one_by_one(tiny_t5, voters, votes):
    alone = [sp.PromptedT5(tiny_t5, voter).classify(list(votes)) for voter in voters]

    for answers, answer in zip(zip(*alone, strict=True), votes.values(), strict=True):
        expected = vote_for_label(answers)
        assert answer.label == expected.label
        np.testing.assert_allclose(answer.log_probabilities, expected.log_probabilities, rtol=1e-4)


def test_a_served_vote_of_late_prompts_encodes_its_text_once(tiny_t5, tasks, voters, votes, monkeypatch):
    module = module_of(tiny_t5, {"voters": tuple(voters), "front": tasks["front"]})
    pairs = [("voters", FILM), ("front", FILM), ("voters", RAIN), ("voters", FILM)]

    found = module.signature("classify")(**asked(pairs))

    assert rows_encoded(module, pairs, monkeypatch) == [3]
    for row in (0, 2, 3):
        answer = votes[pairs[row][1]]
        assert found["label"][row].numpy().decode() == answer.label
        np.testing.assert_allclose(found["log_probabilities"][row], answer.log_probabilities, rtol=1e-4)
