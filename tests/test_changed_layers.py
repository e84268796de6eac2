"""LoRA, (IA)^3, adapters and MAD-X in a frozen T5's layers: answers against a plain NumPy T5, training, what is kept of them."""

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from finite_differences import check_gradients, two_rows
from killed_training import whole_and_resumed
from served_methods import drawn_rows
from tiny_t5 import make_tiny_t5
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.errors import PromptError
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import (
    ADAPTERS,
    CHANGES,
    DELTAS,
    FEED_FORWARD_ADAPTERS,
    INVERTIBLE_ADAPTER,
    LANGUAGE_ADAPTERS,
    PROJECTIONS,
    SCALES,
    entry_layer,
)

pytestmark = pytest.mark.thorough

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
PLACES = ("encoder", "decoder", "cross")
# Constructor, settings that change all that the method can change, its tensors, and rows of each.
FORMS = {
    "lora": (sp.lora, {"rank": 3, "projections": PROJECTIONS}, DELTAS, 3),
    "ia3": (sp.ia3, {"projections": PROJECTIONS}, SCALES, 1),
    "adapters": (sp.adapters, {"bottleneck_dim": 4, "invertible": True}, (*ADAPTERS, INVERTIBLE_ADAPTER), 5),
    "mad_x": (
        sp.mad_x,
        {"bottleneck_dim": 3, "language": dict.fromkeys((*LANGUAGE_ADAPTERS, INVERTIBLE_ADAPTER), 4)},
        (*FEED_FORWARD_ADAPTERS, *LANGUAGE_ADAPTERS, INVERTIBLE_ADAPTER),
        4,
    ),
}
forms = pytest.mark.parametrize("form", FORMS)


def model_of(t5, form, **settings):
    make, own, _, _ = FORMS[form]
    return sp.PromptedT5(t5, make(**{"seed": 3, **own, **settings}), labels=["yes", "no"], max_target_tokens=6)


def drawn(model, seed=5, scale=0.3):
    """Give every variable drawn values, also where it starts at 0 or 1; return the model."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + scale * rng.normal(size=variable.shape))
    return model


def tensors_of(t5, form, *, seed, places=PLACES):
    rng, (_, _, names, length) = np.random.default_rng(seed), FORMS[form]
    return {name: drawn_rows(rng, t5, name, length) for name in names if CHANGES.get(name, places)[0] in places}


def plain_model(t5):
    """Return a model whose task changes nothing."""
    return sp.PromptedT5(t5, sp.lora(1, seed=1))


def task_of(form, tensors, **fields):
    return TaskPrompt(tensors=tensors, method=form, task_id="it", labels=("yes", "no"), **fields)


def encoded_by(twin, t5, text):
    return numpy_t5.encode(twin, numpy_t5.embed(twin, twin.table[[*t5.tokenize([text])[0], 1]]))


def logits_of(model, **more):
    tokens, _ = two_rows()
    return np.asarray(model({**tokens, **more}))


def values_of(model):
    return {name: variable.numpy() for name, variable in model.prompt_table.variables_by_name.items()}


@pytest.mark.parametrize(
    ("form", "places"),
    [
        *[("lora", places) for places in (PLACES, ("encoder",), ("decoder",), ("cross",))],
        *[(form, PLACES) for form in ("ia3", "adapters", "mad_x")],
    ],
    ids=str,
)
def test_answers_are_those_of_plain_numpy(tiny_t5, form, places):
    tensors = tensors_of(tiny_t5, form, seed=1, places=places)
    model = sp.PromptedT5(tiny_t5, task_of(form, tensors))
    twin = numpy_t5.with_changes(numpy_t5.read_weights(tiny_t5.backbone), tensors)

    check_answers(model, TEXTS, [twin] * 2, [encoded_by(twin, tiny_t5, text) for text in TEXTS])


@forms
def test_several_tasks_of_one_model_each_answer_as_alone(one_layer_t5, form):
    both = drawn(model_of(one_layer_t5, form, task_ids=["a", "b"]), seed=2)
    first, second = (logits_of(sp.PromptedT5(one_layer_t5, task_of(form, both.task_tensors(name)))) for name in "ab")

    mixed = logits_of(both, task_id=tf.constant([1, 0]))

    np.testing.assert_allclose(mixed, [second[0], first[1]], atol=1e-5)
    assert np.abs(first - second).max() > 1e-2


@forms
def test_a_fresh_one_is_the_frozen_model(one_layer_t5, form):
    weights, ids = numpy_t5.read_weights(one_layer_t5.backbone), [*one_layer_t5.tokenize(["yes"])[0], 1]
    plain = numpy_t5.target_log_probability(weights, ids, encoded_by(weights, one_layer_t5, TEXTS[0]))

    np.testing.assert_allclose(model_of(one_layer_t5, form).score(TEXTS[:1], ["yes"]), [plain], rtol=1e-4)


def test_lora_is_scaled_by_alpha_over_the_rank(tiny_t5):
    model = model_of(tiny_t5, "lora", rank=2, alpha=6.0, decoder=False, cross=False, projections=["value"])
    down, up = model.prompt_table.variables_by_name.values()
    up.assign(np.random.default_rng(3).normal(size=up.shape))

    tensors = model.task_tensors()

    assert list(tensors) == ["encoder_value_delta"]
    np.testing.assert_allclose(
        tensors["encoder_value_delta"], np.concatenate([down.numpy(), 3.0 * up.numpy()], axis=-1), rtol=1e-6
    )


def test_adapters_have_the_bias_of_the_way_up_as_a_unit_that_gives_1(tiny_t5):
    model = drawn(
        model_of(
            tiny_t5, "adapters", bottleneck_dim=3, invertible=False, decoder=False, cross=False, after_attention=False
        )
    )
    values = {name.rpartition(".")[2]: value for name, value in values_of(model).items()}

    (rows,) = model.task_tensors().values()

    y, width = np.random.default_rng(6).normal(size=(5, tiny_t5.hidden_dim)), tiny_t5.hidden_dim
    inner = y @ values["down"][:, 1].T + values["down_bias"][:, 1]
    gelu = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    expected = y + gelu @ values["up"][:, 1] + values["up_bias"][0, 1]
    np.testing.assert_allclose(numpy_t5.adapted(y, rows[:, 1]), expected, rtol=1e-5)
    np.testing.assert_array_equal(rows[3, :, :width], 0)


@forms
def test_every_trained_variable_has_the_gradient_of_finite_differences(one_layer_t5, form):
    check_gradients(drawn(model_of(one_layer_t5, form), scale=0.1), *two_rows(), width=5e-3)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("form", "recompute"),
    [
        pytest.param("lora", False, marks=pytest.mark.slow),
        pytest.param("lora", True, marks=pytest.mark.slow),
        ("adapters", True),
    ],
)
def test_fit_moves_every_variable_and_nothing_of_the_t5(form, recompute):
    model = model_of(make_tiny_t5(num_layers=1, seed=3), form)
    before = [weight.numpy() for weight in model.trainable_variables]
    frozen = [weight.numpy() for weight in model.t5.backbone.weights]
    model.compile(keras.optimizers.Adam(0.02), sp.TargetCrossEntropy(), gradient_checkpointing=recompute)

    history = model.fit({"encoder_text": TEXTS * 2, "decoder_text": ["yes", "no"] * 2}, epochs=30, verbose=0).history

    assert history["loss"][-1] < 0.7 * history["loss"][0]
    for weight, value in zip(model.trainable_variables, before, strict=True):
        assert np.abs(weight.numpy() - value).max() > 0, weight.path
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
    assert (task.method, task.length) == (form, FORMS[form][3])
    np.testing.assert_allclose(logits_of(sp.PromptedT5(model.t5, task)), expected, atol=1e-5)
    assert [variable.name for variable in again.trainable_variables] == [v.name for v in model.trainable_variables]
    np.testing.assert_allclose(logits_of(again), expected, atol=1e-5)


@forms
def test_a_quantized_t5_takes_it_too(form):
    t5 = make_tiny_t5()
    tensors = tensors_of(t5, form, seed=1)
    expected, without = logits_of(sp.PromptedT5(t5, task_of(form, tensors))), logits_of(plain_model(t5))
    t5.quantize("int8")

    found = logits_of(sp.PromptedT5(t5, task_of(form, tensors)))

    assert np.abs(found - expected).mean() < 0.25 * np.abs(without - expected).mean()


@forms
def test_a_t5_of_bfloat16_answers_nearly_as_one_of_float32(tiny_t5, tiny_t5_bfloat16, form):
    tensors = tensors_of(tiny_t5, form, seed=1)

    found = logits_of(sp.PromptedT5(tiny_t5_bfloat16, task_of(form, tensors)))

    expected = logits_of(sp.PromptedT5(tiny_t5, task_of(form, tensors)))
    assert np.abs(found - expected).mean() < 0.1 * np.abs(logits_of(plain_model(tiny_t5)) - expected).mean()


@pytest.mark.parametrize(
    ("form", "kinds"),
    [
        ("lora", "any of ATTENTION_PROJECTION_delta"),
        ("ia3", "any of ATTENTION_PROJECTION_scale, STACK_feed_forward_scale"),
        ("adapters", "any of ATTENTION_attention_adapter, STACK_feed_forward_adapter, invertible_adapter"),
        ("mad_x", "any of STACK_feed_forward_adapter, STACK_language_adapter, invertible_adapter"),
    ],
)
def test_a_task_of_another_methods_tensors_is_refused(tiny_t5, form, kinds):
    with pytest.raises(PromptError, match=f"{form} has the tensors: {kinds}. Received: prompt"):
        task_of(form, {"prompt": np.ones((2, tiny_t5.hidden_dim), np.float32)})


def test_a_scale_of_two_rows_is_refused(tiny_t5):
    rows = np.ones((2, 2, 12), np.float32)

    with pytest.raises(
        PromptError, match=r"`encoder_key_scale` must have the shape \[1, L, F\].*Received: shape \[2, 2, 12\]"
    ):
        task_of("ia3", {"encoder_key_scale": rows})


@pytest.mark.parametrize(
    ("settings", "layer"),
    [({"encoder": False}, None), ({"decoder": False, "cross": False}, 0), ({"cross": False}, 0)],
    ids=["encoder as it is", "encoder", "both"],
)
@pytest.mark.parametrize("form", ["lora", "ia3", "adapters"])
def test_states_are_cached_where_nothing_in_the_encoder_changes(tiny_t5, form, settings, layer):
    make, own, _, _ = FORMS[form]
    plain = {key: value for key, value in own.items() if key != "invertible"}
    names = {name.partition(".")[0] for name in make(**plain, **settings).shapes(tiny_t5.sizes)}

    assert entry_layer(names) == layer
    assert entry_layer({*names, INVERTIBLE_ADAPTER}) == 0


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (
            sp.lora,
            {"encoder": False, "decoder": False, "cross": False},
            "must change an attention. Received: encoder=False",
        ),
        (
            sp.lora,
            {"projections": ["query", "gate"]},
            "`projections` must be some of query, key, value, output. Received: query, gate",
        ),
        (sp.lora, {"projections": []}, "`projections` must be some of query, key, value, output. Received: none"),
        (sp.lora, {"projections": "query"}, "`projections` must be a list of names. Received: projections='query'"),
        (sp.lora, {"alpha": 0}, "`alpha` must be a number above 0. Received: alpha=0"),
        (sp.lora, {"rank": 0}, "`rank` must be a positive integer. Received: rank=0"),
        (sp.ia3, {"projections": ["gate"]}, "`projections` must be some of query, key, value, output. Received: gate"),
        (sp.ia3, {"projections": "key"}, "`projections` must be a list of names. Received: projections='key'"),
        (
            sp.ia3,
            {"projections": [], "encoder": False, "decoder": False},
            r"must scale something. Received: encoder, decoder and cross \[False, False, True\], projections=\[\]",
        ),
        (sp.adapters, {"bottleneck_dim": 0}, "`bottleneck_dim` must be a positive integer. Received: bottleneck_dim=0"),
        (
            sp.adapters,
            {"after_attention": False, "encoder": False, "decoder": False},
            r"must be adapters somewhere. Received: .* \[False, False, True\], after_attention=False",
        ),
    ],
)
def test_wrong_settings_are_named(make, settings, message):
    with pytest.raises(PromptError, match=message):
        make(**settings)
