"""Rows of a prompt where a text's markers say, and behind it: against plain NumPy, trained, kept, and refused where wrong."""

import dataclasses
import re

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from finite_differences import check_gradients
from killed_training import whole_and_resumed
from served_methods import placed_embeddings, task_of
from tiny_run import run_values, write_preset, write_tasks, write_yaml
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.baselines.drawn_prompt import random_prompt
from softprompt_tf.baselines.prompt_design import design_prompts
from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError, DataError, PromptError, PromptFileError, TrainingError
from softprompt_tf.evaluation import PromptEnsemble
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.methods import METHODS as METHODS_BY_NAME
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.migration.student import position_of, rendered, template_of
from softprompt_tf.prompt_places import TextPlaces
from softprompt_tf.runs.configured import prompt_method
from softprompt_tf.runs.run import train_run
from softprompt_tf.tasks import Example, Row, Task, Template, ended_ids, load_task, tokenize_examples

LABELS = ["yes", "no"]
LENGTH = 4
TEXTS = ["a film {prompt:2} the soup{prompt:1}", "{prompt:1}{prompt:3} yes", "so dull"]
NAMES = {"marked": "prompt_in_text", "end": "prompt_at_end"}
PLACES = {"marked": TextPlaces(in_text=LENGTH), "end": TextPlaces(at_end=LENGTH)}
positions = pytest.mark.parametrize("position", NAMES)
# Methods by name, with what keeps them small.
METHODS = {"prompt_tuning": {}, "p_tuning": {"network": "mlp", "network_dim": 3}, "warp": {}}


@pytest.fixture(scope="session")
def tiny_t5(one_layer_t5):
    """Of one layer, as rows enter below all layers here."""
    return one_layer_t5


def model_of(t5, position, name="prompt_tuning", **settings):
    method = getattr(sp, name)(**{"length": LENGTH, "seed": 3, "position": position, **METHODS[name], **settings})
    return sp.PromptedT5(t5, method, labels=LABELS, max_target_tokens=6)


def encoded(t5, weights, text, position, rows):
    placed = {"in_text": rows} if position == "marked" else {"at_end": rows}
    return numpy_t5.encode(weights, placed_embeddings(t5, weights.table, text, **placed))


def tokens_of(model, texts=("a film {prompt:2} the soup{prompt:1}", "so")):
    return model.text_batches.tokenize(
        {"encoder_text": tf.constant(texts), "decoder_text": tf.constant(["yes", "no"][: len(texts)])}
    )


# === What a text becomes ===


@pytest.mark.parametrize("limit", [100, 4, 1])
@pytest.mark.parametrize("places", [TextPlaces(3, 0), TextPlaces(0, 2), TextPlaces(4, 1)], ids=str)
def test_ids_of_training_are_those_of_inference(tiny_t5, places, limit):
    texts = [
        "{prompt:2} a film {prompt:1}x",
        "",
        "{prompt:3}",
        "{prompt:0} a",
        "a{prompt:1}{prompt:1}b",
        "boring\n{prompt:2}",
        "a\0film {prompt:1}\0so",
    ]
    batches = dataclasses.replace(sp.PromptedT5(tiny_t5).text_batches, places=places, max_input_tokens=limit)

    tokens, _ = batches.tokenize({"encoder_text": tf.constant(texts), "decoder_text": tf.constant(texts)})

    rows = zip(tokens["encoder_token_ids"].numpy(), tokens["encoder_padding_mask"].numpy(), strict=True)
    assert [row[mask > 0].tolist() for row, mask in rows] == batches.input_ids(texts)


@pytest.mark.parametrize(
    ("places", "limit", "expected"),
    [
        (TextPlaces(4), 9, [-1, "a", "film", -1, -1, "so", -1, 1]),  # of four rows one has no marker: it goes in front
        (TextPlaces(4), 3, [-1, "a", "film", -1, -1, -1, 1]),  # rows are never cut, and do not count
        (TextPlaces(4), 1, [-1, -1, -1, -1, 1]),
        (TextPlaces(3, 2), 9, ["a", "film", -1, -1, "so", -1, -2, -2, 1]),
    ],
)
def test_ids_by_hand(places, limit, expected):
    words = {"a": 5, "film": 6, "so": 7}

    (ids,) = places.tokenize(
        ["a film {prompt:2} so{prompt:1}"], lambda texts: [[words[w] for w in t.split()] for t in texts]
    )

    assert ended_ids(ids, limit) == [words.get(part, part) for part in expected]


def test_examples_for_token_arrays_have_the_places(tiny_t5):
    rows = [Example("a film {prompt:2}", "yes", "yes", Row({}, "row 1"))]

    made = tokenize_examples(
        rows, tiny_t5.tokenize, max_input_tokens=9, max_target_tokens=4, places=TextPlaces(in_text=2)
    )

    assert made.encoder_token_ids[0].tolist() == [*tiny_t5.tokenize(["a film"])[0], -1, -1, 1]


# === Numbers ===


@pytest.mark.thorough
@positions
def test_answers_are_those_of_plain_numpy(tiny_t5, position):
    model = model_of(tiny_t5, position)
    weights = numpy_t5.read_weights(tiny_t5.backbone)
    outputs = [encoded(tiny_t5, weights, text, position, model.prompt_value()) for text in TEXTS]
    model = sp.PromptedT5(tiny_t5, model.task_prompt("it", max_target_tokens=32))

    check_answers(model, TEXTS, [weights] * 3, outputs)


@positions
def test_logits_of_training_and_of_token_arrays_are_those_of_plain_numpy(tiny_t5, position):
    model = model_of(tiny_t5, position)
    weights = numpy_t5.read_weights(tiny_t5.backbone)
    tokens, targets = tokens_of(model, TEXTS[:1])

    expected = numpy_t5.logits(
        weights, tokens["decoder_token_ids"][0], encoded(tiny_t5, weights, TEXTS[0], position, model.prompt_value())
    )
    np.testing.assert_allclose(model(tokens, training=True)[0], expected, atol=2e-4)
    np.testing.assert_allclose(model.predict(tokens, verbose=0)[0], expected, atol=2e-4)
    assert targets.shape == (1, expected.shape[0])


def test_all_rows_in_front_are_plain_prompt_tuning(tiny_t5):
    plain, marked = (model_of(tiny_t5, position) for position in ("front", "marked"))
    texts = [f"{{prompt:{LENGTH}}} a charming film", "so dull"]

    found = marked.score(texts, ["yes", "no"])

    assert found == plain.score([text.removeprefix(f"{{prompt:{LENGTH}}} ") for text in texts], ["yes", "no"])


@pytest.mark.parametrize(
    ("name", "position"), [("prompt_tuning", "marked"), ("prompt_tuning", "end"), ("p_tuning", "marked")]
)
def test_every_trained_variable_has_the_gradient_of_finite_differences(tiny_t5, name, position):
    model = model_of(tiny_t5, position, name, task_ids=["a", "b"])
    rng = np.random.default_rng(1)
    model.prompt_table.assign(
        {key: rng.normal(size=part.shape) for key, part in model.prompt_table.variables_by_name.items()}
    )
    texts = {
        "encoder_text": tf.constant(TEXTS[:2]),
        "decoder_text": tf.constant(LABELS),
        "task_id": tf.constant([1, 0]),
    }

    check_gradients(model, *model.text_batches.tokenize(texts))


def test_token_arrays_without_places_give_no_number(tiny_t5):
    model = model_of(tiny_t5, "marked")
    tokens, _ = tokens_of(model)
    wrong = tokens["encoder_token_ids"].numpy()
    wrong[1][wrong[1] < 0] = 5

    logits = model({**tokens, "encoder_token_ids": tf.constant(wrong)})

    assert np.isfinite(logits[0]).all()
    assert np.isnan(logits[1]).all()


def test_prompts_that_vote_are_those_of_plain_numpy(tiny_t5):
    tasks = [dataclasses.replace(task_of(tiny_t5, seed, prompt_in_text=3), max_target_tokens=32) for seed in (1, 2)]
    weights, ids = numpy_t5.read_weights(tiny_t5.backbone), [*tiny_t5.tokenize(["yes"])[0], 1]
    outputs = [encoded(tiny_t5, weights, TEXTS[0], "marked", task.prompt) for task in tasks]
    logs = [numpy_t5.target_log_probability(weights, ids, output) for output in outputs]

    assert PromptEnsemble(tiny_t5, tasks).score(TEXTS[:1], ["yes"]) == pytest.approx(
        [np.logaddexp(*logs) - np.log(2)], rel=1e-4
    )


# === Trained and kept ===


@pytest.mark.thorough
def test_a_killed_training_ends_with_the_same_bits(tmp_path, tiny_t5):
    def make(seed):
        model = model_of(tiny_t5, "marked", "warp", seed=seed)
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), run_eagerly=True)
        return model

    whole, resumed = whole_and_resumed(tmp_path, make, {"encoder_text": TEXTS[:2], "decoder_text": LABELS})

    for name, value in whole.task_tensors().items():
        np.testing.assert_array_equal(resumed.task_tensors()[name], value)


@pytest.mark.parametrize(("name", "position"), [("p_tuning", "marked"), ("prompt_tuning", "end")])
def test_files_keep_where_the_rows_go(tmp_path, tiny_t5, name, position):
    model = model_of(tiny_t5, position, name)
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "it.keras")

    task, saved = sp.load_prompt(tmp_path / "it.safetensors"), sp.load_model(tmp_path / "it.keras")

    assert (task.method, list(task.tensors)) == (name, [NAMES[position]])
    tokens, _ = tokens_of(model)
    for again in (sp.PromptedT5(tiny_t5, task), saved):
        assert again.text_places == PLACES[position]
        np.testing.assert_allclose(again(tokens), model(tokens), atol=1e-5)
    np.testing.assert_array_equal(saved.task_tensors()[NAMES[position]], task.prompt)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return directory, write_preset(directory / "t5"), write_tasks(directory)


def config_of(place, inputs, **prompt):
    directory, backbone, tasks = place
    values = run_values(backbone, [tasks["mood"]], directory / "out", steps=2, evaluate_every=2)
    task = {**load_config(write_yaml(directory / "plain.yaml", values)).tasks[0].model_dump(), "inputs": inputs}
    return load_config(
        write_yaml(directory / "run.yaml", {**values, "task": task, "prompt": {"length": LENGTH, **prompt}})
    )


@pytest.mark.thorough
def test_a_run_takes_its_position_from_the_template(place):
    config = config_of(place, "{prompt:1} film: {text} {prompt:2}", method="warp")

    task = sp.load_prompt(next(iter(train_run(config).prompts.values())))

    assert list(task.tensors) == ["prompt_in_text", "label_rows"]
    assert task.template == "{prompt:1} film: {text} {prompt:2}"


@pytest.mark.parametrize(
    ("inputs", "prompt", "message"),
    [
        (
            "{text}{prompt:5}",
            {},
            r"no more rows than the prompt has\. .* the template .* of task mood asks for 5 of 4 rows",
        ),
        ("{text}{prompt:2}", {"position": "end"}, r"Received: .* of task mood, and prompt_tuning with position end"),
        ("{text}{prompt:2}", {"position": "front"}, "Markers in a template are for a method that puts rows"),
        ("{text}{prompt:2}", {"method": "p_tuning_v2"}, "p_tuning_v2 with position front"),
    ],
)
def test_a_template_that_the_prompt_does_not_fit_is_refused(place, inputs, prompt, message):
    config = config_of(place, inputs, **prompt)

    with pytest.raises(ConfigError, match=message):
        prompt_method(config, [load_task(task) for task in config.tasks])


@pytest.mark.parametrize(
    "name", [name for name, row in METHODS_BY_NAME.items() if "position" in row.config.model_fields]
)
def test_every_method_that_makes_a_prompt_takes_a_position(tiny_t5, name):
    section = METHODS_BY_NAME[name].config(method=name, length=LENGTH)
    methods = [section.make([TaskStart("a", ("yes", "no"), template)], seed=1) for template in ("{x}", "{x}{prompt:2}")]

    assert [method.position for method in methods] == ["front", "marked"]
    assert sp.PromptedT5(tiny_t5, methods[1]).text_places == TextPlaces(in_text=LENGTH)


def test_baselines_without_rows_refuse_markers(tiny_t5):
    task = Task("mood", "{prompt:1} {text}", labels={"a": "yes", "b": "no"})

    with pytest.raises(ConfigError, match="Prompt design has no rows of a prompt to put where markers say"):
        design_prompts(tiny_t5, task)
    with pytest.raises(ConfigError, match="A drawn prompt, which goes in front, has no rows"):
        random_prompt(tiny_t5, task, length=2, seed=1)


# === What is refused ===


def test_texts_that_ask_for_too_many_rows_are_errors(tiny_t5):
    model = model_of(tiny_t5, "marked")
    model.compile(keras.optimizers.SGD(0.1), sp.TargetCrossEntropy(), run_eagerly=True)
    message = re.escape(
        "no more rows than the prompt has. Received: the text 'a {prompt:2}{prompt:3}' asks for 5 of 4 rows."
    )

    with pytest.raises(DataError, match=message):
        model.classify(["a {prompt:2}{prompt:3}"])
    with pytest.raises(DataError, match=message):
        model.fit(["so", "a {prompt:2}{prompt:3}"], LABELS, verbose=0)


def test_states_are_not_cached_below_rows_among_the_text(tiny_t5):
    with pytest.raises(TrainingError, match="prompt_tuning"):
        model_of(tiny_t5, "marked").state_cache()


@pytest.mark.parametrize(
    ("tensors", "template", "message"),
    [
        ({"prompt": 3}, "{prompt:2} {x}", r"Markers in a template are for a prompt whose rows go there.*and prompt\."),
        ({"prompt_at_end": 3}, "{prompt:2} {x}", r"and prompt_at_end\. Train with position=\"marked\""),
        ({"prompt_in_text": 1}, "{prompt:2} {x}", "asks for 2 of 1 rows"),
        (
            {"prompt": 2, "prompt_in_text": 2},
            "",
            "the method p_tuning has the tensors: prompt and any of prompt_sight. Received: prompt, prompt_in_text",
        ),
    ],
)
def test_tasks_that_do_not_fit_are_errors(tiny_t5, tensors, template, message):
    with pytest.raises(PromptError, match=message):
        dataclasses.replace(task_of(tiny_t5, 1, method="p_tuning", **tensors), template=template)


def test_literal_braces_of_a_plain_prompts_template_stay(tiny_t5):
    task = dataclasses.replace(task_of(tiny_t5, 1, prompt=3), template="{{prompt:2}} {x}")

    assert sp.PromptedT5(tiny_t5, task).text_places == TextPlaces()


def test_another_prompt_of_a_task_goes_where_the_first_did(tiny_t5):
    rows = np.ones((2, tiny_t5.hidden_dim), np.float32)

    task = dataclasses.replace(task_of(tiny_t5, 1, prompt_at_end=3), prompt=rows)

    assert list(task.tensors) == ["prompt_at_end"]
    np.testing.assert_array_equal(task.prompt, rows)


@positions
def test_other_formats_do_not_hold_the_places(tmp_path, tiny_t5, position):
    task = task_of(tiny_t5, 1, **{NAMES[position]: 3})

    with pytest.raises(PromptFileError, match=f"in front of the text alone. Received: {NAMES[position]}"):
        sp.methods.write_npy(tmp_path / "it.npy", task)
    with pytest.raises(PromptFileError, match=f"PEFT has no place for these tensors. Received: {NAMES[position]}"):
        sp.methods.write_peft_adapter(tmp_path / "it", task)


def test_a_position_must_be_known():
    with pytest.raises(PromptError, match=r"`position` must be one of front, marked, end. Received: position='mark'"):
        sp.prompt_tuning(position="mark")


# === Moved to another backbone ===


def test_a_migrated_task_keeps_its_places():
    task = ServedTask("film", {"prompt_in_text": 3}, "{prompt:1} {film}: ", "{prompt:2}", (), (), 0, 64, 8)

    assert position_of(task) == "marked"
    assert template_of(task) == "{prompt:1} {{film}}: {text}{prompt:2}"
    assert rendered(task, ["so {prompt:1}"]) == ["{prompt:1} {film}: so { prompt:1}{prompt:2}"]
    assert (
        Template(template_of(task), "{x}").render_inputs(Row({"text": "so {prompt:1}"}, ""))
        == rendered(task, ["so {prompt:1}"])[0]
    )


def test_a_recycled_task_keeps_its_places(tiny_t5):
    from softprompt_tf.migration.recycle import recycled_task

    task = task_of(tiny_t5, 1, prompt_in_text=3)

    assert list(recycled_task(task, tiny_t5, tiny_t5, way="lin-comb").tensors) == ["prompt_in_text"]
