"""Layers built from their sizes: KerasHub's own, traced as Keras does it, are what they must equal."""

import contextlib
import functools
import re
import threading

import keras
import keras_hub
import numpy as np
import pytest
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer

from softprompt_tf import PromptedT5
from softprompt_tf.baselines import ModelTuner
from softprompt_tf.pretraining import backbone as pretraining_backbone
from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.t5.untraced_layers import untraced_layers
from softprompt_tf.t5.variant_backbone import T5VariantBackbone

pytestmark = pytest.mark.thorough

SHAPE = {
    "vocabulary_size": 40,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "key_value_dim": 5,
    "dropout": 0.1,
}


def backbone(cls=keras_hub.models.T5Backbone, **choices):
    return cls(**{**SHAPE, **choices})


def untraced(cls=keras_hub.models.T5Backbone, **choices):
    with untraced_layers():
        return backbone(cls, **choices)


def plain(path):
    """Return a path without the numbers by which Keras tells layers of one class apart."""
    return re.sub(r"(t5_layer_norm|dropout)(_\d+)?", r"\1", path or "")


def state(layer):
    return (
        type(layer),
        plain(layer.name),
        plain(layer.path),
        layer.built,
        layer.get_build_config(),
        [(plain(weight.path), tuple(weight.shape), weight.dtype) for weight in layer.weights],
    )


def specs(model):
    """Return the shapes and dtypes of all that the model's graph passes on, in its order."""
    nodes = [node for operation in model.operations for node in operation._inbound_nodes]
    return [[(tensor.shape, tensor.dtype) for tensor in node.output_tensors] for node in nodes]


CHOICES = [
    pytest.param({"dtype": "float32"}, id="float32"),
    pytest.param({"dtype": "bfloat16", "use_gated_activation": False}, id="bfloat16-plain"),
    pytest.param({"dtype": "mixed_bfloat16", "tie_embedding_weights": False}, id="mixed-untied"),
]


@pytest.mark.parametrize("choices", CHOICES)
def test_layers_and_weights_are_those_of_traced_layers(choices):
    traced, ours = backbone(**choices), untraced(**choices)

    for expected, got in zip(traced._flatten_layers(), ours._flatten_layers(), strict=True):
        if expected is not traced:  # the model itself has a number in its name
            assert state(got) == state(expected)


@pytest.mark.parametrize("choices", CHOICES)
def test_the_graph_tells_the_shapes_and_dtypes_of_traced_layers(choices):
    assert specs(untraced(**choices)) == specs(backbone(**choices))


def test_outputs_are_those_of_traced_layers():
    traced, ours = backbone(dropout=0.0), untraced(dropout=0.0)
    for theirs, own in zip(traced.weights, ours.weights, strict=True):
        own.assign(theirs)
    ids = np.array([[3, 4, 5, 0], [6, 7, 8, 9]], "int32")
    mask = (ids > 0).astype("int32")
    inputs = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": mask,
        "decoder_token_ids": ids,
        "decoder_padding_mask": mask,
    }

    expected, got = traced(inputs), ours(inputs)

    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_variant_is_built_alike():
    choices = {"num_decoder_layers": 1, "relative_attention_buckets": 8}
    traced, ours = backbone(T5VariantBackbone, **choices), untraced(T5VariantBackbone, **choices)

    assert [tuple(weight.shape) for weight in ours.weights] == [tuple(weight.shape) for weight in traced.weights]
    assert specs(ours) == specs(traced)


@pytest.fixture
def no_layer_runs(monkeypatch):
    @functools.wraps(T5TransformerLayer.call)  # Keras reads its arguments from it
    def call(*args, **kwargs):
        raise AssertionError("a layer was traced")

    monkeypatch.setattr(T5TransformerLayer, "call", call)


@pytest.mark.usefixtures("no_layer_runs")
def test_no_code_of_a_layer_runs():
    assert all(layer.built for layer in untraced()._flatten_layers())


@pytest.mark.usefixtures("no_layer_runs")
@pytest.mark.parametrize(
    "build",
    [
        lambda t5: build_backbone(BackboneShape(vocabulary_size=40, hidden_dim=16), dtype="float32", seed=1),
        lambda t5: ModelTuner(t5).t5.backbone,
        lambda t5: PromptedT5.from_config(PromptedT5(t5).get_config()).t5.backbone,
    ],
    ids=["for pretraining", "for model tuning", "of a saved model"],
)
def test_a_backbone_is_there_without_a_layer_that_runs(tiny_t5, build):
    assert all(layer.built for layer in build(tiny_t5)._flatten_layers())


def test_random_weights_are_those_of_traced_layers(monkeypatch):
    shape = BackboneShape(vocabulary_size=40, hidden_dim=16, intermediate_dim=24, num_layers=2, num_heads=2)
    ours = build_backbone(shape, dtype="float32", seed=5)
    monkeypatch.setattr(pretraining_backbone, "untraced_layers", contextlib.nullcontext)

    traced = build_backbone(shape, dtype="float32", seed=5)

    assert len(ours.weights) == len(traced.weights)
    for own, theirs in zip(ours.weights, traced.weights, strict=True):
        np.testing.assert_array_equal(own, theirs)


def test_a_layer_made_within_is_kerashubs_own_afterwards():
    layer = untraced(dropout=0.0).encoder_transformer_layers[0]
    states = np.ones((1, 4, 16), "float32")

    found, bias = layer(states)
    told = layer.compute_output_spec(keras.KerasTensor((1, 4, 16)))

    assert found.shape == (1, 4, 16)
    assert bias.shape == (1, 3, 4, 4)
    assert [tuple(spec.shape) for spec in told] == [
        (1, 4, 16),
        (1, 3, 4, 4),
    ]  # as its code says, not [B, N, T, T] of any T


def own_methods():
    return [set(vars(kind)) & {"build", "compute_output_spec"} for kind in (T5MultiHeadAttention, T5TransformerLayer)]


def test_the_classes_are_as_before_even_if_building_fails():
    before = own_methods()

    with pytest.raises(RuntimeError, match="interrupted"), untraced_layers(), untraced_layers():
        assert own_methods() != before
        raise RuntimeError("interrupted")

    assert own_methods() == before == [set(), set()]


def test_threads_build_one_after_another():
    before, found = own_methods(), []
    threads = [threading.Thread(target=lambda: found.append(untraced())) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert own_methods() == before


def test_a_layer_with_caches_is_told_as_its_code_says():
    layer = untraced(dropout=0.0).decoder_transformer_layers[0]
    states, cache = keras.KerasTensor((1, 2, 16)), keras.KerasTensor((1, 2, 6, 3, 5))

    with untraced_layers():
        told = layer.compute_output_spec(
            states, encoder_hidden_states=states, self_attention_cache=cache, self_attention_cache_update_index=0
        )

    assert len(told) == 4
    assert told[2].shape == (1, 2, 6, 3, 5)
