"""Methods whose trained values are folded into a prompt: against plain NumPy, trained, saved, gone on with, and served together."""

import itertools

import numpy as np
import numpy_prompts as twins
import numpy_t5
import pytest
import tensorflow as tf
import yaml
from finite_differences import check_gradients
from served_methods import LABELS, module_of, task_of, twin_and_output

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.errors import BackboneMismatchError, ConfigError, PromptError
from softprompt_tf.methods import METHODS
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.methods.task_tensors import SIGHTS
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint

LENGTH = 4
TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
TOKENS = {
    "encoder_token_ids": np.array([[9, 80, 33, 1], [12, 1, 0, 0]]),
    "encoder_padding_mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
    "decoder_token_ids": np.array([[0, 40, 41], [0, 50, 1]]),
    "decoder_padding_mask": np.ones((2, 3), int),
}
TARGETS = np.array([[40, 41, 1], [50, 1, 0]])
# Constructor, settings, and the NumPy twin of the prompt.
FORMS = {
    "residual": (sp.residual, {"bottleneck_dim": 5}, twins.residual),
    "superpos": (sp.superpos, {"num_embeddings": 6}, twins.superpos),
    "superpos_weights": (sp.superpos, {"num_embeddings": 6, "train_embeddings": False}, twins.superpos),
    "low_rank": (sp.low_rank, {"rank": 3}, twins.low_rank),
    "ulpt": (sp.ulpt, {}, twins.ulpt),
    "p_tuning": (sp.p_tuning, {"network_dim": 3}, twins.p_tuning_lstm),
    "p_tuning_mlp": (sp.p_tuning, {"network": "mlp", "network_dim": 5}, twins.p_tuning_mlp),
    "multitask_prompts": (sp.multitask_prompts, {}, twins.added),
    "concatenate": (sp.multitask_prompts, {"combine": "concatenate", "task_size": 1}, twins.concatenated),
    "concatenate_features": (
        sp.multitask_prompts,
        {"combine": "concatenate_features"},
        twins.with_concatenated_features,
    ),
    "project": (sp.multitask_prompts, {"combine": "project"}, twins.projected),
    "mpt": (sp.mpt, {}, twins.mpt),
    "mpt_of_rank_2": (sp.mpt, {"rank": 2}, twins.mpt),
    "attempt": (sp.attempt, {"sources": 3}, twins.attempt),
}
NEW_METHODS = ("residual", "superpos", "low_rank", "ulpt", "p_tuning", "multitask_prompts", "mpt", "attempt")
forms = pytest.mark.parametrize("form", FORMS)
new_methods = pytest.mark.parametrize("name", NEW_METHODS)


def method_of(form, **settings):
    make, own, _ = FORMS[form]
    return make(**{"length": LENGTH, "seed": 3, **own, **settings})


def model_of(t5, form, **settings):
    return sp.PromptedT5(t5, method_of(form, **settings), labels=["yes", "no"], max_target_tokens=6)


def drawn(model, seed=1):
    """Give every variable of the table drawn values, also where it starts at 0 or 1, and return them by name."""
    rng = np.random.default_rng(seed)
    table = model.prompt_table.variables_by_name
    values = {name: rng.normal(size=variable.shape).astype(np.float32) for name, variable in table.items()}
    model.prompt_table.assign(values)
    return values


def values_of(model):
    return {name: variable.numpy() for name, variable in model.prompt_table.variables_by_name.items()}


@forms
def test_a_folded_prompt_is_that_of_plain_numpy(tiny_t5, form):
    model = model_of(tiny_t5, form)
    values = drawn(model)

    assert list(model.task_tensors()) == ["prompt"]
    assert model.prompt_value().shape == (LENGTH, tiny_t5.hidden_dim)
    np.testing.assert_allclose(model.prompt_value(), FORMS[form][2](values), atol=1e-5, rtol=1e-5)


@new_methods
def test_a_prompt_is_made_in_float32_for_a_t5_of_bfloat16(tiny_t5_bfloat16, name):
    model = model_of(tiny_t5_bfloat16, name)
    values = drawn(model)

    np.testing.assert_allclose(model.prompt_value(), FORMS[name][2](values), atol=1e-5, rtol=1e-5)


@forms
def test_each_of_several_tasks_has_the_prompt_of_plain_numpy(tiny_t5, form):
    model = model_of(tiny_t5, form, task_ids=["a", "b", "c"])
    values, shared = drawn(model), model.method.shared_variables

    for k, task_id in enumerate("abc"):
        own = {name: value if name in shared else value[k] for name, value in values.items()}
        np.testing.assert_allclose(model.prompt_value(task_id), FORMS[form][2](own), atol=1e-5, rtol=1e-5)


@forms
def test_a_model_of_one_task_starts_as_the_first_of_several(tiny_t5, form):
    one, several = model_of(tiny_t5, form), model_of(tiny_t5, form, task_ids=["a", "b"])

    np.testing.assert_allclose(one.prompt_value(), several.prompt_value("a"), atol=1e-6)
    assert np.abs(several.prompt_value("a") - several.prompt_value("b")).max() > 1e-3


@forms
def test_a_further_task_leaves_the_others_as_they_are(tiny_t5, form):
    two, three = (values_of(model_of(tiny_t5, form, task_ids=list(names))) for names in ("ab", "abc"))

    for name, value in two.items():
        kept = three[name] if name in method_of(form).shared_variables else three[name][:2]
        np.testing.assert_array_equal(value, kept)


@forms
def test_every_trained_variable_has_the_gradient_of_finite_differences(tiny_t5, form):
    model = model_of(tiny_t5, form, task_ids=["a", "b"])
    drawn(model)  # rows as large as embeddings, and nothing at 0
    tokens = {name: tf.constant(value) for name, value in {**TOKENS, "task_id": [1, 0]}.items()}

    check_gradients(model, tokens, tf.constant(TARGETS))


@new_methods
def test_a_killed_training_ends_with_the_same_bits(tmp_path, tiny_t5, name):
    data = {"encoder_text": TEXTS, "decoder_text": ["yes", "no"]}

    def trained(steps, seed):
        model = model_of(tiny_t5, name, seed=seed)
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        checkpoint = PromptCheckpoint(tmp_path, seed=1)
        checkpoint.resume(model)
        model.fit(data, epochs=steps, verbose=0, shuffle=False, callbacks=[checkpoint])
        return model

    whole = trained(1, seed=3)  # of which the checkpoint is left
    whole.fit(data, epochs=1, verbose=0, shuffle=False)
    resumed = trained(1, seed=8)  # another start, of which nothing may stay

    for variable, value in values_of(whole).items():
        np.testing.assert_array_equal(values_of(resumed)[variable], value, err_msg=variable)


@new_methods
def test_a_saved_model_has_the_values_that_are_folded(tmp_path, tiny_t5, name):
    model = model_of(tiny_t5, name, task_ids=["a", "b"], sees="itself")
    values = drawn(model)
    model.save(tmp_path / "model.keras")

    again = sp.load_model(tmp_path / "model.keras")

    assert again.method.settings() == model.method.settings()
    assert again.method.sees == "itself"
    for variable, value in values.items():
        np.testing.assert_array_equal(values_of(again)[variable], value)
    np.testing.assert_array_equal(again.prompt_value("b"), model.prompt_value("b"))
    assert [variable.name for variable in again.trainable_variables] == [v.name for v in model.trainable_variables]


@new_methods
def test_what_the_rows_see_is_kept_of_a_folded_prompt(one_layer_t5, name):
    def logits_of(sees):
        section = METHODS[name].config(method=name, length=LENGTH, sees=sees)
        model = sp.PromptedT5(one_layer_t5, section.make([TaskStart("mood", ("yes", "no"))], seed=1))
        drawn(model)
        task = model.task_prompt("it")
        return model(TOKENS), sp.PromptedT5(one_layer_t5, task)(TOKENS), task.tensors.get("prompt_sight")

    own, folded, sight = logits_of("earlier")

    np.testing.assert_array_equal(sight, [SIGHTS["earlier"]])
    np.testing.assert_allclose(folded, own, atol=1e-4)
    assert np.abs(own - logits_of("all")[0]).max() > 1e-3


@new_methods
def test_a_task_of_other_tensors_is_refused(tiny_t5, name):
    with pytest.raises(
        PromptError,
        match=f"the method {name} has the tensors: prompt and any of prompt_sight. Received: encoder_key_values",
    ):
        task_of(tiny_t5, 1, method=name, encoder_key_values=2)


# === Settings ===


@new_methods
def test_a_config_of_several_tasks_trains_one_prompt_for_each(tiny_t5, name):
    section = METHODS[name].config(method=name, length=LENGTH)

    method = section.make([TaskStart("mood", ("yes", "no")), TaskStart("echo")], seed=5)

    assert method.task_ids == ("mood", "echo")
    assert sp.PromptedT5(tiny_t5, method).prompt_value("echo").shape == (LENGTH, tiny_t5.hidden_dim)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("residual", "bottleneck_dims", "bottleneck_dim"),
        ("superpos", "num_embedding", "num_embeddings"),
        ("low_rank", "ranks", "rank"),
        ("ulpt", "lowdim", "low_dim"),
        ("p_tuning", "net_work", "network"),
        ("multitask_prompts", "combin", "combine"),
        ("mpt", "rnk", "rank"),
        ("attempt", "source", "sources"),
    ],
)
def test_an_unknown_key_of_a_config_names_the_nearest_one(tmp_path, name, wrong, right):
    task = {"name": "mood", "inputs": "{text}", "labels": {"a": "yes", "b": "no"}}
    config = {"backbone": "mini", "task": task, "output_dir": "out", "prompt": {"method": name, wrong: 3}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    with pytest.raises(ConfigError, match=rf"Unknown key `prompt.{wrong}` in .*Did you mean `{right}`\?"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (sp.residual, {"bottleneck_dim": 0}, "`bottleneck_dim` must be a positive integer. Received: bottleneck_dim=0"),
        (sp.superpos, {"num_embeddings": -1}, "`num_embeddings` must be a positive integer"),
        (sp.superpos, {"population_size": 0}, "`population_size` must be a positive integer"),
        (sp.superpos, {"train_embeddings": "no"}, "`train_embeddings` must be True or False. Received: .*='no'"),
        (sp.low_rank, {"rank": 1.5}, "`rank` must be a positive integer. Received: rank=1.5"),
        (sp.ulpt, {"low_dim": True}, "`low_dim` must be a positive integer. Received: low_dim=True"),
        (sp.ulpt, {"task_ids": "ab"}, "`task_ids` must be a list of strings"),
        (
            sp.p_tuning,
            {"network": "lstn"},
            r"must be one of lstm, mlp. Received: network='lstn'. Did you mean `lstm`\?",
        ),
        (sp.p_tuning, {"network_dim": 0}, "`network_dim` must be a positive integer"),
        (sp.p_tuning, {"lstm_layers": 0}, "`lstm_layers` must be a positive integer"),
        (sp.multitask_prompts, {"combine": "ad"}, r"`combine` must be one of add, .* Did you mean `add`\?"),
        (sp.multitask_prompts, {"task_size": 0}, "`task_size` must be a positive integer"),
        (sp.multitask_prompts, {"task_size": 2}, "`task_size` is for concatenate and concatenate_features alone"),
        (
            sp.multitask_prompts,
            {"combine": "concatenate", "task_size": 5, "length": 5},
            "some must be shared and some the task's own. Received: 5 rows, task_size=5",
        ),
        (sp.mpt, {"rank": 0}, "`rank` must be a positive integer"),
        (sp.attempt, {"sources": -1}, "`sources` must be an integer, 0 or more. Received: sources=-1"),
        (sp.attempt, {"sources": "a.npy"}, "`sources` must be a list of prompts. Received: one str"),
        (sp.attempt, {"sources": [3]}, "A source must be a prompt file or a loaded prompt. Received: int"),
        (sp.mpt, {"length": 0}, "`length` must be a positive integer"),
        (
            sp.mpt,
            {"init": {"a": sp.init.random_uniform()}, "task_ids": ["a"]},
            r"`init` must be one initializer: the tasks share the rows. Received: one for each of \['a'\]",
        ),
    ],
)
def test_wrong_settings_are_errors(make, settings, message):
    with pytest.raises(PromptError, match=message):
        make(**settings)


def test_columns_that_the_t5_does_not_have_are_an_error(tiny_t5):
    method = sp.multitask_prompts(LENGTH, combine="concatenate_features", task_size=16)

    with pytest.raises(PromptError, match="Of a prompt's columns, .*Received: 16 columns, task_size=16"):
        sp.PromptedT5(tiny_t5, method)


def test_shared_rows_start_from_the_labels_of_all_tasks(tiny_t5):
    section = METHODS["mpt"].config(method="mpt", length=LENGTH)
    words = ("yes", "no"), ("no", "film")

    method = section.make([TaskStart(name, of) for name, of in zip("ab", words, strict=True)], seed=1)
    model = sp.PromptedT5(tiny_t5, method)

    labels = sp.PromptedT5(tiny_t5, sp.prompt_tuning(3, sp.init.class_labels(["yes", "no", "film"]), seed=1))
    np.testing.assert_array_equal(values_of(model)["shared_rows"][:3], labels.prompt_value())


def test_a_task_of_mpt_starts_near_the_shared_prompt(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.mpt(LENGTH, rank=3, task_ids=["a", "b"], seed=1))

    for task_id in "ab":
        ratio = model.prompt_value(task_id) / values_of(model)["shared_rows"]
        np.testing.assert_allclose(ratio, 1.0, atol=0.25)


def test_attempt_starts_from_the_sources_with_equal_weights(tmp_path, tiny_t5):
    sources = [task_of(tiny_t5, seed, method="prompt_tuning", prompt=5) for seed in (1, 2)]
    model = sp.PromptedT5(tiny_t5, sp.attempt(sources=sources, seed=3), labels=["yes", "no"])
    alone = sp.PromptedT5(tiny_t5, sp.attempt(5, seed=3))

    mean = (alone.prompt_value() + sources[0].prompt + sources[1].prompt) / 3
    np.testing.assert_allclose(model.prompt_value(), alone.prompt_value() + mean, atol=1e-5)
    assert [variable.name for variable in alone.trainable_variables] == ["rows"]


def test_sources_of_another_length_or_backbone_are_refused(tiny_t5, one_layer_t5):
    short, long = (task_of(tiny_t5, 1, method="prompt_tuning", prompt=rows) for rows in (3, 5))
    with pytest.raises(PromptError, match="must have the length of the prompt. Received: length=3, .* with 5 rows"):
        sp.attempt(sources=[short, long])

    foreign = sp.PromptedT5(one_layer_t5, sp.prompt_tuning(3, seed=1)).task_prompt("film")
    with pytest.raises(BackboneMismatchError, match="Source prompt 'film' was made for"):
        sp.PromptedT5(tiny_t5, sp.attempt(sources=[foreign]))


def test_sources_of_a_config_are_relative_to_its_file(tmp_path):
    task = {"name": "mood", "inputs": "{text}", "labels": {"a": "yes", "b": "no"}}
    prompt = {"method": "attempt", "sources": ["one.safetensors", "/two.safetensors"]}
    config = {"backbone": "mini", "task": task, "output_dir": "out", "prompt": prompt}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    assert load_config(tmp_path / "run.yaml").prompt.sources == (str(tmp_path / "one.safetensors"), "/two.safetensors")


# === Served ===


def test_a_batch_that_mixes_every_method_is_served_as_each_alone(tiny_t5):
    known = {"labels": LABELS, "max_target_tokens": 6}
    tasks = {"prompt_tuning": task_of(tiny_t5, 1, method="prompt_tuning", prompt=5)}
    for number, (name, sees) in enumerate(zip(NEW_METHODS, itertools.cycle(SIGHTS))):
        model = model_of(tiny_t5, name, length=2 + number % 3, sees=sees)
        drawn(model, seed=number)
        tasks[name] = model.task_prompt(name, **known)
    tasks |= {"marked": task_of(tiny_t5, 8, prompt_in_text=3), "end": task_of(tiny_t5, 9, prompt_at_end=2)}
    asked, target = list(tasks), "nobody could say"
    texts = [TEXTS[number % 2] for number in range(len(asked) - 2)] + ["a {prompt:2} charming film", "so {prompt:1}"]

    found = module_of(tiny_t5, tasks).signature("score")(
        task_id=tf.constant(asked), text=tf.constant(texts), target=tf.constant([target] * len(asked))
    )

    assert set(found["status"].numpy()) == {b""}
    ids = [*tiny_t5.tokenize([target])[0], 1]
    for row, (name, text) in enumerate(zip(asked, texts, strict=True)):
        expected = numpy_t5.target_log_probability(*_of(tiny_t5, tasks[name], text, ids))
        assert found["log_likelihood"][row].numpy() == pytest.approx(expected, rel=1e-4), name


def _of(t5, task, text, ids):
    twin, output = twin_and_output(t5, task, text)
    return twin, ids, output
