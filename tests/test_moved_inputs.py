"""DePT's offsets and soft words in a frozen T5: answers against a plain NumPy T5, training, and what is kept of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from finite_differences import check_gradients, two_rows
from killed_training import whole_and_resumed
from served_methods import task_of, twin_and_output
from tiny_t5 import make_tiny_t5
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.errors import BackboneError, BackboneMismatchError, PromptError, TrainingError
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import entry_layer

pytestmark = pytest.mark.thorough

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
# Constructor, settings, and rows of each tensor of its tasks.
FORMS = {
    "dept": (sp.dept, {"length": 2, "rank": 2, "num_offsets": 3}, {"prompt": 2, "text_offsets": 3}),
    "soft_words": (sp.soft_words, {"length": 3}, {"prompt": 3, "encoder_prompt_addition": 3}),
}
forms = pytest.mark.parametrize("form", FORMS)


def model_of(t5, form, **settings):
    make, own, _ = FORMS[form]
    return sp.PromptedT5(t5, make(**{"seed": 3, **own, **settings}), labels=["yes", "no"], max_target_tokens=6)


def drawn(model, seed=5, scale=0.3):
    """Give every variable drawn values, also where it starts at 0; return the model."""
    rng = np.random.default_rng(seed)
    for name, variable in model.prompt_table.variables_by_name.items():
        share = getattr(model.method, "offsets_rate", 1.0) if name.startswith("offsets") else 1.0
        variable.assign(scale * rng.normal(size=variable.shape) / share + (variable if name == "prompt" else 0))
    return model


def values_of(model):
    return {name: variable.numpy() for name, variable in model.prompt_table.variables_by_name.items()}


def logits_of(model, **more):
    tokens, _ = two_rows()
    return np.asarray(model({**tokens, **more}))


@forms
def test_answers_are_those_of_plain_numpy(tiny_t5, form):
    task = task_of(tiny_t5, 1, method=form, **FORMS[form][2])
    rows = [twin_and_output(tiny_t5, task, text) for text in TEXTS]  # one text shorter, one longer than offsets may be

    check_answers(sp.PromptedT5(tiny_t5, task, max_target_tokens=32), TEXTS, *zip(*rows, strict=True))


@forms
def test_several_tasks_of_one_model_each_answer_as_alone(one_layer_t5, form):
    both = drawn(model_of(one_layer_t5, form, task_ids=["a", "b"]), seed=2)
    alone = [logits_of(sp.PromptedT5(one_layer_t5, both.task_prompt(name))) for name in "ab"]

    mixed = logits_of(both, task_id=tf.constant([1, 0]))

    np.testing.assert_allclose(mixed, [alone[1][0], alone[0][1]], atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-2


@forms
def test_an_unknown_task_gives_no_number(one_layer_t5, form):
    both = model_of(one_layer_t5, form, task_ids=["a", "b"])

    found = logits_of(both, task_id=tf.constant([2, 0]))

    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@forms
def test_every_trained_variable_has_the_gradient_of_finite_differences(tiny_t5, form):
    check_gradients(drawn(model_of(tiny_t5, form), scale=0.1), *two_rows(), width=5e-3)


@forms
def test_fit_moves_every_variable_and_nothing_of_the_t5(form):
    model = model_of(make_tiny_t5(num_layers=1, seed=3), form)
    before, frozen = values_of(model), [weight.numpy() for weight in model.t5.backbone.weights]
    how = {"gradient_checkpointing": True, "run_eagerly": True}
    model.compile(keras.optimizers.Adam(0.1), sp.TargetCrossEntropy(), **how)

    history = model.fit({"encoder_text": TEXTS * 2, "decoder_text": ["yes", "no"] * 2}, epochs=8, verbose=0).history

    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert all(np.abs(value - before[name]).max() > 0 for name, value in values_of(model).items())
    for weight, value in zip(model.t5.backbone.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)


@forms
def test_a_killed_training_ends_with_the_same_bits(tmp_path, one_layer_t5, form):
    def make(seed):
        model = drawn(model_of(one_layer_t5, form), seed=seed)
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), run_eagerly=True)
        return model

    whole, resumed = whole_and_resumed(tmp_path, make, {"encoder_text": TEXTS, "decoder_text": ["yes", "no"]})

    for variable, value in values_of(whole).items():
        np.testing.assert_array_equal(values_of(resumed)[variable], value, err_msg=variable)


@forms
def test_a_saved_task_and_a_saved_model_answer_as_the_model_did(tmp_path, one_layer_t5, form):
    model = drawn(model_of(one_layer_t5, form))
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    task, again = sp.load_prompt(tmp_path / "it.safetensors"), sp.load_model(tmp_path / "model.keras")

    expected = logits_of(model)
    assert (task.method, {name: len(value) for name, value in task.tensors.items()}) == (form, FORMS[form][2])
    np.testing.assert_allclose(logits_of(sp.PromptedT5(model.t5, task)), expected, atol=1e-5)
    assert again.method.settings() == model.method.settings()
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(values_of(again)[name], value)
    np.testing.assert_allclose(logits_of(again), expected, atol=1e-5)


@forms
def test_a_quantized_t5_and_one_of_bfloat16_answer_nearly_as_one_of_float32(tiny_t5, tiny_t5_bfloat16, form):
    task = task_of(tiny_t5, 1, method=form, **FORMS[form][2])
    bare = sp.PromptedT5(tiny_t5, task_of(tiny_t5, 1, method="prompt_tuning", prompt=FORMS[form][2]["prompt"]))
    quantized = make_tiny_t5()
    quantized.quantize("int8")

    expected = logits_of(sp.PromptedT5(tiny_t5, task))

    scale = np.abs(logits_of(bare) - expected).mean()
    for t5 in (quantized, tiny_t5_bfloat16):
        assert np.abs(logits_of(sp.PromptedT5(t5, task)) - expected).mean() < 0.25 * scale


@forms
def test_a_t5_with_dropout_is_refused(form):
    with pytest.raises(BackboneError, match=f"The method {form} needs a T5 without dropout. Received: .*dropout=0.1"):
        model_of(make_tiny_t5(num_layers=1, dropout=0.1), form)


@forms
def test_states_cannot_be_cached_as_the_whole_encoder_knows_the_task(one_layer_t5, form):
    assert entry_layer(FORMS[form][2]) == 0
    with pytest.raises(TrainingError, match=f"Received: {form}, which the whole encoder sees"):
        model_of(one_layer_t5, form).state_cache()


# === DePT ===


def test_the_offsets_are_the_product_of_two_matrices_at_a_share_of_the_rate(tiny_t5):
    model = drawn(model_of(tiny_t5, "dept", offsets_rate=0.25))
    values = values_of(model)

    expected = np.einsum("sr,rh->sh", 0.25 * values["offsets_left"], 0.25 * values["offsets_right"])
    np.testing.assert_allclose(model.task_tensors()["text_offsets"], expected, rtol=1e-4, atol=1e-6)


def test_fresh_offsets_change_nothing(one_layer_t5):
    model = model_of(one_layer_t5, "dept")

    plain = sp.PromptedT5(one_layer_t5, sp.prompt_tuning(2, sp.init.from_array(model.prompt_value())))

    np.testing.assert_allclose(logits_of(model), logits_of(plain), atol=1e-6)


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.Adam(0.3, epsilon=1e-30), sp.Adafactor(0.3)], ids=["Adam", "Adafactor"]
)
def test_the_matrices_move_at_a_rate_of_their_own(optimizer):
    """The first step of both is the rate times the sign, or a share that the gradient's size does not change."""
    t5 = make_tiny_t5(num_layers=1, seed=3)

    def moved(rate):
        model = model_of(t5, "dept", offsets_rate=rate)
        for name in ("offsets_left", "offsets_right"):  # the same matrices for each rate
            value = np.random.default_rng(len(name)).normal(size=model.prompt_table.variables_by_name[name].shape)
            model.prompt_table.variables_by_name[name].assign(0.3 * value / rate)
        before = values_of(model)
        model.compile(type(optimizer).from_config(optimizer.get_config()), sp.TargetCrossEntropy(), run_eagerly=True)
        model.fit({"encoder_text": TEXTS, "decoder_text": ["yes", "no"]}, epochs=1, verbose=0)
        return {name: value - before[name] for name, value in values_of(model).items()}

    whole, share = moved(1.0), moved(0.125)

    np.testing.assert_allclose(share["prompt"], whole["prompt"], rtol=1e-3, atol=1e-5)
    for name in ("offsets_left", "offsets_right"):
        np.testing.assert_allclose(
            0.125 * share[name], 0.125 * whole[name], rtol=1e-2, atol=1e-4
        )  # as part of the product
        assert np.abs(whole[name]).max() > 0.05


# === Soft words ===


def test_a_text_is_where_the_rows_start(one_layer_t5):
    ids = one_layer_t5.tokenize(["a charming film"])[0]
    model = sp.PromptedT5(one_layer_t5, sp.soft_words("a charming film", length=len(ids) + 2, seed=1))

    np.testing.assert_array_equal(model.prompt_value()[: len(ids)], one_layer_t5.embedding_table[ids])
    assert model.prompt_value().shape == (len(ids) + 2, one_layer_t5.hidden_dim)


def test_fresh_soft_words_are_a_prompt_of_those_words(tiny_t5):
    model = model_of(tiny_t5, "soft_words")

    plain = sp.PromptedT5(tiny_t5, sp.prompt_tuning(3, sp.init.from_array(model.prompt_value())))

    np.testing.assert_allclose(logits_of(model), logits_of(plain), atol=1e-6)
    assert model.task_tensors()["encoder_prompt_addition"].shape == (3, 2, tiny_t5.hidden_dim)


def test_without_additions_a_task_is_a_prompt(tmp_path, one_layer_t5):
    model = model_of(one_layer_t5, "soft_words", every_layer=False)
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")

    assert list(sp.load_prompt(tmp_path / "it.safetensors").tensors) == ["prompt"]


def test_additions_go_on_with_rows_that_enter_late(tiny_t5):
    """A longer late prompt of another row moves where the first row's prompt ends."""
    from softprompt_tf.backbones.passes.cheaper_passes import encode_injected
    from softprompt_tf.methods import injection_of, put_in_front

    words = task_of(tiny_t5, 1, prompt=2, encoder_prompt_addition=2).tensors
    late = np.random.default_rng(2).normal(size=(2, 4, tiny_t5.hidden_dim)).astype(np.float32)
    tensors = {name: np.stack([value, 0 * value]) for name, value in words.items()} | {"prompt_before_layer_1": late}
    masks = {"prompt": [[1, 1], [0, 0]], "prompt_before_layer_1": [[0] * 4, [1] * 4]}
    injection = injection_of(
        {name: tf.constant(value) for name, value in tensors.items()},
        {name: tf.constant(mask) for name, mask in masks.items()},
    )
    ids = [*tiny_t5.tokenize([TEXTS[0]])[0], 1]

    front = put_in_front(injection.front, tiny_t5.embed(tf.constant([ids, ids])), tf.ones([2, len(ids)], tf.int32))
    output, mask, _ = encode_injected(tiny_t5, *front, injection)

    _, expected = twin_and_output(tiny_t5, task_of(tiny_t5, 1, prompt=2, encoder_prompt_addition=2), TEXTS[0])
    np.testing.assert_array_equal(mask[0], [0, 0, *[1] * (2 + len(ids))])
    np.testing.assert_allclose(output[0, 2:], expected, atol=1e-4)


# === Settings and tensors ===


@pytest.mark.parametrize(
    ("form", "settings", "message"),
    [
        ("dept", {"rank": 0}, "`rank` must be a positive integer. Received: rank=0"),
        ("dept", {"num_offsets": 1.5}, "`num_offsets` must be a positive integer. Received: num_offsets=1.5"),
        ("dept", {"offsets_rate": 0}, "`offsets_rate` must be a number above 0. Received: offsets_rate=0"),
        ("dept", {"offsets_rate": float("nan")}, "`offsets_rate` must be a number above 0. Received: offsets_rate=nan"),
        ("dept", {"offsets_rate": "0.1"}, "`offsets_rate` must be a number above 0. Received: offsets_rate='0.1'"),
        ("soft_words", {"text": 3}, "`text` must be a string. Received: text=3"),
        ("soft_words", {"text": " "}, "`text` must not be empty"),
        ("soft_words", {"every_layer": "no"}, "`every_layer` must be True or False. Received: every_layer='no'"),
        ("soft_words", {"text": "a film", "init": sp.init.random_uniform()}, "start from `text` or from `init`"),
    ],
)
def test_wrong_settings_are_named(form, settings, message):
    with pytest.raises(PromptError, match=message):
        FORMS[form][0](**settings)


@pytest.mark.parametrize(
    ("method", "tensors", "message"),
    [
        ("dept", {"prompt": 2}, "the method dept has the tensors: prompt and text_offsets. Received: prompt"),
        ("dept", {"text_offsets": 2}, "dept has the tensors: prompt and text_offsets. Received: text_offsets"),
        (
            "soft_words",
            {"encoder_prompt_addition": 2},
            "soft_words has the tensors: prompt and any of encoder_prompt_addition. Received: encoder_prompt_addition",
        ),
        (
            "soft_words",
            {"prompt": 2, "encoder_prompt_addition": 3},
            "must have a row for each row of the task's prompt. Received: 3 rows and a prompt of 2",
        ),
        ("any", {"encoder_prompt_addition": 3}, "must have a row for each row .* Received: 3 rows and a prompt of 0"),
    ],
)
def test_a_task_of_other_tensors_is_refused(tiny_t5, method, tensors, message):
    with pytest.raises(PromptError, match=message):
        task_of(tiny_t5, 1, method=method, **tensors)


@pytest.mark.parametrize(
    ("method", "name", "shape"),
    [("dept", "text_offsets", (3, 8)), ("soft_words", "encoder_prompt_addition", (2, 1, 16))],
)
def test_a_task_of_a_t5_of_other_sizes_is_refused(tiny_t5, method, name, shape):
    task = TaskPrompt(np.ones((2, 16), np.float32), tensors={name: np.ones(shape, np.float32)}, method=method)

    with pytest.raises(
        BackboneMismatchError, match=rf"{name} \[P, {', '.join(map(str, shape[1:]))}\].*Train a new prompt"
    ):
        sp.PromptedT5(tiny_t5, task)


@forms
@pytest.mark.parametrize("name", ["text_offsets", "encoder_prompt_addition"])
def test_wrong_values_are_refused(tiny_t5, form, name):
    tensors = dict(task_of(tiny_t5, 1, method=form, **FORMS[form][2]).tensors)
    if name not in tensors:
        return
    bad = tensors[name].copy()
    bad[1] = np.nan

    with pytest.raises(PromptError, match=f"`{name}` must be finite. Received: NaN .* the first in row 1"):
        TaskPrompt(tensors={**tensors, name: bad}, method=form)
    with pytest.raises(PromptError, match=f"`{name}` must have the shape .* one task's rows"):
        TaskPrompt(tensors={**tensors, name: bad[0]}, method=form)
