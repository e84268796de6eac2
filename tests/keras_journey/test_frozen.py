"""Whatever a Keras user touches, the T5 stays as it was, or `fit` and `save_prompt` say no."""

import copy

import keras
import numpy as np
import pytest
from keras_user import INPUTS, TARGETS, make_model
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import BackboneError


@pytest.fixture(scope="module")
def own():
    """A T5 and a compiled model of it that tests of this file change, and put right again."""
    t5 = make_tiny_t5(num_layers=1)
    model = make_model(t5)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=sp.TargetCrossEntropy(), run_eagerly=True)
    return t5, model


def test_switching_the_model_off_and_on_trains_the_prompt_alone(own):
    _, model = own

    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True

    assert [variable.path for variable in model.trainable_variables] == [model.prompt_variable.path]
    assert model.trainable_weights == model.trainable_variables


@pytest.mark.parametrize(
    "thaw",
    [
        lambda t5, model: setattr(t5.backbone, "trainable", True),
        lambda t5, model: setattr(t5.backbone.encoder_transformer_layers[0], "trainable", True),
        lambda t5, model: setattr(t5.backbone.token_embedding, "trainable", True),
        lambda t5, model: setattr(model.get_layer(t5.backbone.decoder_layer_norm.name), "trainable", True),
        lambda t5, model: setattr(t5.backbone.weights[3], "trainable", True),
    ],
    ids=["backbone", "encoder layer", "embedding", "layer of the model", "variable"],
)
def test_a_thawed_layer_is_refused_before_anything_changes(own, thaw, tmp_path):
    t5, model = own
    before = [variable.numpy() for variable in model.weights]

    thaw(t5, model)

    try:
        for ask in (
            lambda: model.fit(INPUTS, TARGETS, verbose=0),
            lambda: model.train_on_batch(INPUTS, TARGETS),
            lambda: model.save_prompt(tmp_path / "p.safetensors", task_id="mood"),
        ):
            with pytest.raises(
                BackboneError, match=r"must stay frozen. Received: \d+ trainable ones?, such as .*t5.freeze"
            ):
                ask()
    finally:
        t5.freeze()
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    assert list(tmp_path.iterdir()) == []


def test_changed_weights_are_refused_where_a_prompt_was_tied_to_the_old_ones(own, tmp_path):
    t5, model = own
    model.fit(INPUTS, TARGETS, verbose=0)
    old = t5.backbone.get_weights()

    t5.backbone.set_weights([value * 1.5 for value in old])
    try:
        with pytest.raises(BackboneError, match="must stay as they were. Received: weights with the fingerprint t5:"):
            model.save_prompt(tmp_path / "p.safetensors", task_id="mood")
        with pytest.raises(BackboneError, match="must stay as they were"):
            model.fit(INPUTS, TARGETS, verbose=0)
    finally:
        t5.backbone.set_weights(old)
    model.save_prompt(tmp_path / "p.safetensors", task_id="mood")


def test_a_quantized_t5_still_trains_and_saves(tmp_path):
    model = make_model(make_tiny_t5(num_layers=1))
    fingerprint = model.t5.fingerprint

    model.quantize("int8")
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=sp.TargetCrossEntropy(), run_eagerly=True)
    model.fit(INPUTS, TARGETS, verbose=0)
    model.save_prompt(tmp_path / "p.safetensors", task_id="mood")

    assert sp.load_prompt(tmp_path / "p.safetensors").backbone_fingerprint == fingerprint
    again = copy.deepcopy(model)  # through a `.keras` file
    assert again.t5.fingerprint == fingerprint
    again.t5.check_frozen()


def test_a_t5_with_lora_weights_of_keras_keeps_its_fingerprint_though_a_file_merges_them():
    t5 = make_tiny_t5(num_layers=1)
    plain = t5.fingerprint
    assert make_model(t5).get_config()["t5_fingerprint"] is None  # its weights tell
    projection = t5.backbone.encoder_transformer_layers[0].self_attention.query_projector
    projection.enable_lora(2)
    projection.lora_kernel_b.assign(np.ones(projection.lora_kernel_b.shape))

    adapted = sp.load_t5((t5.backbone, t5.tokenizer))
    again = sp.PromptedT5.from_config(make_model(adapted).get_config())

    assert again.t5.fingerprint == adapted.fingerprint != plain
