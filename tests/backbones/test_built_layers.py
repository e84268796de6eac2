"""Layers built from their sizes: KerasHub's own, traced as Keras does it, are what they must equal."""

import functools
import os
import re

import h5py
import keras
import keras_hub
import numpy as np
import pytest
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer
from tiny_t5 import tiny_vocabulary

from softprompt_tf import PromptedT5, prompt_tuning
from softprompt_tf.backbones import FrozenT5, write_preset
from softprompt_tf.backbones.loading import built_layers
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.loading.variant_backbone import T5VariantBackbone

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


@functools.cache
def backbone(**choices):
    """Return KerasHub's own, whose layers Keras traces; made once for all tests, and changed by none."""
    return keras_hub.models.T5Backbone(**{**SHAPE, **choices})


def untraced(**choices):
    return plain_backbone(**{**SHAPE, **choices})


def plain(path):
    """Return a path without the numbers by which Keras tells layers of one class apart."""
    return re.sub(r"(t5_layer_norm|dropout)(_\d+)?", r"\1", path or "")


def state(layer):
    return (
        type(layer).__name__,
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
    assert specs(T5VariantBackbone(**SHAPE)) == specs(backbone())


def no_code(monkeypatch):
    @functools.wraps(T5TransformerLayer.call)  # Keras reads its arguments from it
    def call(*args, **kwargs):
        raise AssertionError("a layer was traced")

    monkeypatch.setattr(T5TransformerLayer, "call", call)


def test_no_code_of_a_layer_runs(monkeypatch):
    no_code(monkeypatch)

    assert all(layer.built for layer in untraced()._flatten_layers())


def test_no_code_of_a_layer_runs_for_a_model_on_kerashubs_backbone(monkeypatch):
    theirs = keras_hub.models.T5Backbone(**{**SHAPE, "vocabulary_size": 128, "num_layers": 1})  # its layers are changed
    t5 = FrozenT5(theirs, keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()), name="theirs")
    no_code(monkeypatch)

    assert PromptedT5(t5, prompt_tuning(length=3)).built


@pytest.mark.parametrize("choices", [{}, {"attention_mask": keras.KerasTensor((5, 1, 4))}, {"use_causal_mask": True}])
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_layer_tells_the_outputs_of_its_code(stack, choices):
    states = keras.KerasTensor((5, 4, 16))
    if stack == "decoder":
        choices = {**choices, "encoder_hidden_states": states}
    ours, theirs = (getattr(made, f"{stack}_transformer_layers")[0] for made in (untraced(), backbone()))

    told, expected = (layer.compute_output_spec(states, **choices) for layer in (ours, theirs))

    assert [(spec.shape, spec.dtype) for spec in told] == [(spec.shape, spec.dtype) for spec in expected]


def test_a_layer_with_caches_is_told_as_its_code_says():
    layer = untraced(dropout=0.0).decoder_transformer_layers[0]
    states, cache = keras.KerasTensor((1, 2, 16)), keras.KerasTensor((1, 2, 6, 3, 5))

    told = layer.compute_output_spec(
        states, encoder_hidden_states=states, self_attention_cache=cache, self_attention_cache_update_index=0
    )

    assert len(told) == 4
    assert told[2].shape == (1, 2, 6, 3, 5)


def test_kerashubs_classes_stay_as_they_are(monkeypatch):
    def methods():
        return {kind: dict(vars(kind)) for kind in (T5MultiHeadAttention, T5TransformerLayer)}

    before, connect, within = methods(), built_layers._connect, []
    monkeypatch.setattr(built_layers, "_connect", lambda model: within.append(methods()) or connect(model))

    untraced()

    assert within == [before]
    assert methods() == before


def test_a_backbone_is_an_object_of_kerashubs_class_and_saves_as_one(tmp_path):
    ours = untraced(vocabulary_size=128, activation="gelu")
    write_preset(ours, tiny_vocabulary(), tmp_path / "preset", dtype="float32")

    theirs = keras_hub.models.T5Backbone.from_preset(str(tmp_path / "preset"))

    assert type(ours) is type(theirs) is keras_hub.models.T5Backbone
    assert {**ours.get_config(), "name": ""} == {**theirs.get_config(), "name": ""}
    assert {type(layer) for layer in theirs.encoder_transformer_layers} == {T5TransformerLayer}
    for got, expected in zip(theirs.weights, ours.weights, strict=True):
        np.testing.assert_array_equal(got, expected, err_msg=expected.path)


def test_a_preset_that_cannot_be_put_in_place_leaves_the_one_that_was_there(tmp_path, monkeypatch):
    write_preset(untraced(), tiny_vocabulary(), tmp_path / "preset", dtype="float32")
    content = {path.name: path.read_bytes() for path in (tmp_path / "preset").rglob("*") if path.is_file()}
    rename = os.rename

    def interrupt(source, target):
        if source.name.endswith(".writing"):
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", interrupt)
        patch.setattr(os, "replace", interrupt)
        write_preset(untraced(), tiny_vocabulary(), tmp_path / "preset", dtype="float32")

    assert {path.name: path.read_bytes() for path in (tmp_path / "preset").rglob("*") if path.is_file()} == content
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]


def test_weights_in_a_file_have_kerashubs_names(tmp_path):
    def names(model, file):
        model.save_weights(tmp_path / file)
        found = []
        with h5py.File(tmp_path / file) as opened:
            opened.visititems(lambda name, item: found.append(name))
        return found

    assert names(untraced(), "ours.weights.h5") == names(backbone(), "theirs.weights.h5")
