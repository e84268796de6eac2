"""A changed layer of any kind: training, encoding and answering use it, or say that they do not; never in silence."""

import weakref

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.src.models.t5.t5_layer_norm import T5LayerNorm
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer
from tiny_t5 import make_tiny_t5

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.passes.cheaper_passes import encode_embeddings, tune
from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.errors import BackboneError
from softprompt_tf.inference.decoding import Beam, Greedy

pytestmark = pytest.mark.thorough

MASK = tf.constant([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], tf.int32)
IDS = tf.constant([[5, 9, 11, 20, 1], [7, 30, 1, 0, 0]], tf.int32)
TARGETS = tf.constant([[[12, 1], [40, 1]], [[9, 1], [33, 1]]], tf.int32)  # [B, C, U]


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_t5()


@pytest.fixture
def t5(tiny):
    return copy_of(tiny)


def copy_of(t5, make=plain_backbone, **choices):
    backbone = make(**{**t5.backbone.get_config(), "dtype": "float32", **choices})
    for ours, theirs in zip(backbone.weights, t5.backbone.weights, strict=True):
        ours.assign(theirs)
    return FrozenT5(backbone, t5.tokenizer, name="copy")


@pytest.fixture(scope="module")
def traced(tiny):
    """KerasHub's own backbone of the same weights; no test changes it."""
    return copy_of(tiny, keras_hub.models.T5Backbone).backbone


# === What may be changed, and how ===

LAYERS = {
    "layer": lambda layer: layer,
    "attention": lambda layer: layer.self_attention,
    "attention dropout": lambda layer: layer.self_attention.dropout_layer,
    "output dropout": lambda layer: layer.dropout_layer,
}
CROSS = {
    "cross-attention": lambda layer: layer.cross_attention,
    "cross dropout": lambda layer: layer.cross_attention_dropout,
}
NORMS = {"norm": lambda layer: layer.self_attention_layer_norm, "feed-forward norm": lambda layer: layer.layer_norm}
PROJECTIONS = {
    "query": lambda layer: layer.self_attention.query_projector,
    "attention output": lambda layer: layer.self_attention.output_projector,
    "input": lambda layer: layer.input_projector,
    "gate": lambda layer: layer.gate_projector,
    "output": lambda layer: layer.output_projector,
}


def mixed(outputs):
    """Change the first output, by more than a factor, which a norm behind it would take out."""
    if isinstance(outputs, tuple):
        return (mixed(outputs[0]), *outputs[1:])
    return outputs + 0.3 * tf.roll(outputs, 1, axis=-1)


def patched(part):
    original = part.call
    part.call = lambda *args, **kwargs: mixed(original(*args, **kwargs))


def subclassed(part):
    kind = type(part)
    part.__class__ = type("Mine", (kind,), {"call": lambda self, *a, **k: mixed(kind.call(self, *a, **k))})


def with_lora(part):
    part.enable_lora(2)
    part.lora_kernel_b.assign(np.ones(part.lora_kernel_b.shape) * 0.3)
    part.trainable = False


def quantized(part):
    part.quantize("int8")
    part.trainable = False


CHANGES = [
    *[(name, change) for name in {**LAYERS, **NORMS} for change in (patched, subclassed)],
    *[(name, change) for name in PROJECTIONS for change in (patched, subclassed, with_lora, quantized)],
]
DECODER_CHANGES = [*CHANGES, *[(name, change) for name in CROSS for change in (patched, subclassed)]]


def change(t5, stack, name, how):
    part = {**LAYERS, **CROSS, **NORMS, **PROJECTIONS}[name](getattr(t5.backbone, f"{stack}_transformer_layers")[1])
    how(part)
    return part


# === By the layers, one after another, as Keras runs them ===


def encoded_by_layers(t5):
    return t5.encode(t5.embed(IDS), MASK).numpy()


def states_by_layers(t5):
    return t5.decode(TARGETS[:, 0], t5.encode(t5.embed(IDS), MASK), MASK).numpy()


def scores_by_layers(t5):
    found = []
    for target in tf.unstack(TARGETS, axis=1):
        inputs = tf.pad(target[:, :-1], [[0, 0], [1, 0]])
        logits = t5.logits(t5.decode(inputs, t5.encode(t5.embed(IDS), MASK), MASK))
        log_probabilities = tf.nn.log_softmax(logits).numpy()
        found.append([log_probabilities[row, range(2), target[row].numpy()].sum() for row in range(2)])
    return np.array(found).T


def scores(t5):
    return score_targets(t5, TARGETS, encode_embeddings(t5, t5.embed(IDS), MASK), MASK).numpy()


def answers(t5, sampler):
    return sampler(t5, encode_embeddings(t5, t5.embed(IDS), MASK), MASK, 4)


def assert_trained_and_encoded_as_by_layers(t5, before):
    np.testing.assert_array_equal(tune(t5, t5.embed(IDS), MASK, TARGETS[:, 0]).decoder, states_by_layers(t5))
    np.testing.assert_allclose(encode_embeddings(t5, t5.embed(IDS), MASK), encoded_by_layers(t5), rtol=0, atol=1e-5)
    assert np.abs(states_by_layers(t5) - before).max() > 1e-3


@pytest.fixture(scope="module")
def before(tiny):
    return states_by_layers(tiny)


@pytest.mark.parametrize(("name", "how"), CHANGES)
def test_a_changed_encoder_layer_is_used_by_all(t5, tiny, before, name, how):
    part = change(t5, "encoder", name, how)

    assert not t5.forward.is_able
    assert (part.path or "transformer_encoder_layer_1/") in t5.training_pass.reason
    assert_trained_and_encoded_as_by_layers(t5, before)
    np.testing.assert_allclose(scores(t5), scores_by_layers(t5), rtol=0, atol=2e-4)
    for sampler in (Greedy(), Beam(num_beams=2)):
        assert np.abs(answers(t5, sampler)[1].numpy() - answers(tiny, sampler)[1].numpy()).max() > 1e-4


@pytest.mark.parametrize(("name", "how"), [entry for entry in DECODER_CHANGES if entry[0] in {**NORMS, **PROJECTIONS}])
def test_a_changed_norm_or_projection_of_the_decoder_is_used_by_all(t5, tiny, before, name, how):
    change(t5, "decoder", name, how)

    assert_trained_and_encoded_as_by_layers(t5, before)
    np.testing.assert_allclose(scores(t5), scores_by_layers(t5), rtol=0, atol=2e-4)
    for sampler in (Greedy(), Beam(num_beams=2)):
        assert np.abs(answers(t5, sampler)[1].numpy() - answers(tiny, sampler)[1].numpy()).max() > 1e-4


@pytest.mark.parametrize(("name", "how"), [entry for entry in DECODER_CHANGES if entry[0] in {**LAYERS, **CROSS}])
def test_other_code_of_the_decoder_trains_and_is_refused_for_answers(t5, before, name, how):
    change(t5, "decoder", name, how)
    refused = pytest.raises(
        BackboneError, match=r"decode through the projections.*Received: \S*transformer_decoder_layer_1"
    )

    assert_trained_and_encoded_as_by_layers(t5, before)
    with refused:
        scores(t5)
    for sampler in (Greedy(), Beam(num_beams=2)):
        with refused:
            answers(t5, sampler)


@pytest.mark.parametrize("how", [patched, subclassed])
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_changed_last_norm_is_used_by_all(t5, before, stack, how):
    how(getattr(t5.backbone, f"{stack}_layer_norm"))

    assert_trained_and_encoded_as_by_layers(t5, before)
    np.testing.assert_allclose(scores(t5), scores_by_layers(t5), rtol=0, atol=2e-4)


@pytest.mark.parametrize("how", [patched, subclassed])
def test_a_changed_embedding_is_used_by_all(t5, tiny, how):
    how(t5.backbone.token_embedding)

    np.testing.assert_allclose(
        tune(t5, t5.embed(IDS), MASK, TARGETS[:, 0]).decoder, states_by_layers(t5), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(scores(t5), scores_by_layers(t5), rtol=0, atol=2e-4)
    assert np.abs(scores(t5) - scores(tiny)).max() > 1e-3


@pytest.mark.parametrize("kind", [T5TransformerLayer, T5MultiHeadAttention, T5LayerNorm, keras.layers.Dense])
@pytest.mark.parametrize("name", ["tiny", "traced"])
def test_a_class_that_is_patched_is_seen(tiny, traced, before, kind, name, monkeypatch):
    backbone = {"tiny": tiny.backbone, "traced": traced}[name]
    t5, original = FrozenT5(backbone, tiny.tokenizer, name=name), kind.call
    monkeypatch.setattr(kind, "call", lambda self, *args, **kwargs: mixed(original(self, *args, **kwargs)))

    assert not t5.forward.is_able
    assert_trained_and_encoded_as_by_layers(t5, before)


def test_a_patched_class_of_dropouts_is_refused(t5, monkeypatch):
    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs * 2)

    with pytest.raises(BackboneError, match="nothing around them"):
        scores(t5)


def test_a_patched_call_of_all_layers_is_seen(t5, monkeypatch):
    original = keras.layers.Layer.__call__
    monkeypatch.setattr(T5LayerNorm, "__call__", lambda self, *args: original(self, *args) * 2, raising=False)

    assert "layer_norm" in t5.training_pass.reason


# === Settings that the passes take for granted ===


def elu(layer):
    layer.input_projector.activation = keras.activations.elu


def gate_of_relu(layer):
    layer.gate_projector.activation = keras.activations.relu


def other_epsilon(layer):
    layer.layer_norm.epsilon = 0.5


def other_dtype(layer):
    layer.output_projector.dtype_policy = "mixed_bfloat16"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (elu, "activation elu"),
        (gate_of_relu, "activation relu"),
        (other_epsilon, "epsilon=0.5"),
        (other_dtype, "dtype bfloat16"),
    ],
)
def test_a_setting_of_one_layer_is_used(t5, before, setting, reason):
    setting(t5.backbone.encoder_transformer_layers[1])

    assert reason in t5.training_pass.reason
    assert_trained_and_encoded_as_by_layers(t5, before)


def test_another_known_activation_in_one_layer_stays_on_the_fast_pass(t5, tiny):
    t5.backbone.encoder_transformer_layers[1].input_projector.activation = keras.activations.relu

    found = tune(t5, t5.embed(IDS), MASK, TARGETS[:, 0]).decoder

    assert t5.forward.is_able
    np.testing.assert_allclose(found, states_by_layers(t5), rtol=0, atol=2e-5)
    assert np.abs(states_by_layers(t5) - states_by_layers(tiny)).max() > 1e-3


# === What no pass runs ===


@pytest.mark.parametrize("how", [patched, subclassed])
@pytest.mark.parametrize("name", ["encoder_embedding_dropout", "decoder_dropout"])
def test_a_changed_dropout_around_the_stacks_is_refused(t5, name, how):
    how(getattr(t5.backbone, name))

    for run in (
        lambda: tune(t5, t5.embed(IDS), MASK, TARGETS[:, 0]).decoder,
        lambda: scores(t5),
        lambda: t5.training_pass,
    ):
        with pytest.raises(BackboneError, match="nothing around them. Received: .*dropout"):
            run()


def test_a_backbone_with_a_call_of_its_own_is_refused(t5):
    t5.backbone.__class__ = type("Mine", (keras_hub.models.T5Backbone,), {"call": lambda self, inputs: None})

    with pytest.raises(BackboneError, match="a `call` of its own"):
        scores(t5)


def test_training_all_weights_refuses_a_changed_layer(t5):
    change(t5, "decoder", "query", patched)

    with pytest.raises(BackboneError, match="needs KerasHub's own T5 layers, unchanged. Received: .*query_projector"):
        FusedForward(t5.backbone)


# === Nothing is wrong ===


@pytest.mark.parametrize("make", [plain_backbone, keras_hub.models.T5Backbone])
@pytest.mark.parametrize("choices", [{}, {"activation": "relu", "use_gated_activation": False}, {"dropout": 0.2}])
def test_kerashubs_own_layers_are_known(tiny, make, choices):
    backbone = make(**{**tiny.backbone.get_config(), "num_layers": 1, "dtype": "bfloat16", **choices})
    t5 = FrozenT5(backbone, tiny.tokenizer, name="own")

    assert t5.forward.is_able
    assert t5.layer_state == ()
    assert t5.training_pass.name == ("layers" if choices.get("dropout") else "fused")


# === A second change ===


def called(factor):
    return lambda layer: setattr(layer.output_projector, "call", lambda inputs: factor * inputs)


def of_a_class(factor):
    def change(layer):
        kind = keras.layers.Dense
        layer.output_projector.__class__ = type("Mine", (kind,), {"call": lambda *a: factor * kind.call(*a)})

    return change


def activated(function):
    return lambda layer: setattr(layer.input_projector, "activation", function)


def inside_of_a_subclass(factor):
    def change(layer):
        kind = type(layer)
        layer.__class__ = type("Mine", (kind,), {"call": kind.call})
        called(factor)(layer)

    return change


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (called(1.0), called(2.0)),
        (of_a_class(1.0), of_a_class(2.0)),
        (activated(lambda x: x), activated(lambda x: 2 * x)),
        (activated(keras.activations.relu), activated(keras.activations.silu)),
        (inside_of_a_subclass(1.0), inside_of_a_subclass(2.0)),
    ],
    ids=["calls", "classes", "functions", "known activations", "inside"],
)
def test_a_second_change_that_reads_like_the_first_is_another_state(t5, first, second):
    layer = t5.backbone.encoder_transformer_layers[1]
    states = [t5.layer_state]
    for how in (first, second):
        how(layer)
        states.append(t5.layer_state)

    assert len(set(states)) == 3
    assert t5.layer_state == states[-1]


def test_a_change_of_the_head_that_is_taken_back_is_the_first_state_again(t5):
    t5.backbone.token_embedding.call = lambda inputs, reverse=False: inputs
    changed = t5.layer_state
    del t5.backbone.token_embedding.call

    assert "token_embedding (a `call` of its own)" in changed[0]
    assert t5.layer_state == ()


def test_a_state_keeps_no_change_alive(t5):
    norm = t5.backbone.encoder_layer_norm
    norm.call = lambda states: states
    seen = weakref.ref(norm.call)
    before = t5.layer_state
    del norm.call

    assert seen() is None
    assert before != t5.layer_state


# === Dropout ===


def test_a_rate_of_one_dropout_counts(t5):
    t5.backbone.decoder_transformer_layers[1].cross_attention.dropout_layer.rate = 0.4

    assert t5.dropout == 0.4
    assert str(t5.training_pass).startswith("layers (the T5 has dropout=0.4; `load_t5(..., dropout=0.0)`")
