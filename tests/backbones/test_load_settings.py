"""Dropout and activation of a loaded T5: what is stored, what is asked for, and what is said of it."""

import json
import shutil
import warnings

import keras
import keras_hub
import numpy as np
import pytest

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.loading.variant_backbone import T5VariantBackbone, T5VariantTokenizer
from softprompt_tf.backbones.passes.activations import activation_of
from softprompt_tf.errors import BackboneError

pytestmark = pytest.mark.thorough

EXACT = pytest.warns(
    UserWarning, match=r"gated GELU in its exact form.*load_t5\(\.\.\., activation='gelu_approximate'\)"
)


def write(backbone, tokenizer, directory, **config):
    """Write a preset as KerasHub's converter wrote T5's: with settings of its own in config.json."""
    backbone.save_to_preset(str(directory))
    tokenizer.save_to_preset(str(directory))
    file = directory / "config.json"
    stored = json.loads(file.read_text())
    stored["config"].update(config)
    file.write_text(json.dumps(stored))
    return directory


@pytest.fixture(scope="module")
def preset(tiny_t5, tmp_path_factory):
    directory = tmp_path_factory.mktemp("presets") / "kerashub"
    return write(tiny_t5.backbone, tiny_t5.tokenizer, directory, dropout=0.1, activation="gelu")


def rates(t5):
    return {layer.rate for layer in t5.backbone._flatten_layers() if isinstance(layer, keras.layers.Dropout)}


def activations(t5):
    layers = (*t5.backbone.encoder_transformer_layers, *t5.backbone.decoder_transformer_layers)
    functions = [t5.backbone.activation, *(layer.input_projector.activation for layer in layers)]
    return {activation_of(function).name for function in functions}


def quietly(source, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_t5(source, **settings)


def pair(tiny_t5, **settings):
    config = {**tiny_t5.backbone.get_config(), "dtype": "float32", **settings}
    backbone = plain_backbone(**config)
    for ours, theirs in zip(backbone.weights, tiny_t5.backbone.weights, strict=True):
        ours.assign(theirs)
    return backbone, tiny_t5.tokenizer


# === Dropout ===


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_a_preset_with_dropout_loads_without(preset, tiny_t5, quantization):
    t5 = quietly(preset, activation="gelu", quantization=quantization)

    assert (t5.dropout, rates(t5), t5.backbone.get_config()["dropout"]) == (0.0, {0.0}, 0.0)
    assert t5.training_pass.name == ("layers" if quantization else "fused")
    assert t5.fingerprint == tiny_t5.fingerprint


def test_dropout_is_there_if_it_is_asked_for(preset, tiny_t5):
    t5 = quietly(preset, dropout=0.25, activation="gelu")

    assert (t5.dropout, rates(t5)) == (0.25, {0.25})
    assert t5.fingerprint == tiny_t5.fingerprint


def test_a_bundled_t5_takes_dropout():
    assert quietly("mini", dropout=0.25).dropout == 0.25
    assert quietly("mini").fingerprint == "t5:838c18dc51ed4b31"  # as prompts trained on it say


def test_a_checkpoint_takes_dropout_and_activation(hugging_face, loaded):
    t5 = load_t5(hugging_face("t5_1_1"), dropout=0.25, activation="gelu")

    assert (t5.dropout, activations(t5)) == (0.25, {"gelu"})
    assert activations(loaded("t5_1_1")) == {"gelu_approximate"}
    assert t5.fingerprint == loaded("t5_1_1").fingerprint


def test_a_preset_of_other_buckets_loads_without_dropout(tiny_t5, tmp_path):
    config = {**tiny_t5.backbone.get_config(), "dtype": "float32", "dropout": 0.1}
    backbone = T5VariantBackbone(**config, relative_attention_buckets=8)
    directory = write(backbone, T5VariantTokenizer(proto=tiny_t5.tokenizer.proto), tmp_path / "variant")

    assert rates(quietly(directory)) == {0.0}
    assert activations(quietly(directory, activation="relu")) == {"relu"}


def test_a_pair_keeps_its_dropout_unless_it_is_taken_out(tiny_t5):
    own = pair(tiny_t5, dropout=0.1)

    assert rates(quietly(own)) == rates(quietly(own, dropout=0.1)) == {0.1}
    assert (quietly(own, dropout=0.0).dropout, rates(FrozenT5(*own, name="same"))) == (0.0, {0.0})
    assert own[0].get_config()["dropout"] == 0.0


def test_a_pair_cannot_be_given_dropout(tiny_t5):
    with pytest.raises(BackboneError, match=r"can only be taken out. Received: dropout=0.2 for a backbone with 0.0"):
        load_t5(pair(tiny_t5), dropout=0.2)


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5, float("nan"), "0.1", True])
def test_a_dropout_that_is_no_probability_is_refused(dropout):
    with pytest.raises(BackboneError, match="`dropout` must be None or a probability"):
        load_t5("mini", dropout=dropout)


def test_a_preset_of_kerashub_by_name_is_made_without_dropout(tiny_t5, monkeypatch):
    asked, made = {}, pair(tiny_t5)[0]

    def from_preset(preset, **settings):
        asked.update(settings)
        return made

    monkeypatch.setattr(keras_hub.models.T5Backbone, "from_preset", from_preset)
    monkeypatch.setattr(keras_hub.models.T5Tokenizer, "from_preset", lambda preset: tiny_t5.tokenizer)

    quietly("t5_1.1_base", activation="gelu_approximate")

    assert (asked["dtype"], asked["dropout"], activation_of(asked["activation"]).name) == (
        "float32",
        0.0,
        "gelu_approximate",
    )


# === Activation ===


def test_exact_gelu_in_a_t5_1_1_is_said_once_with_the_way_to_the_tanh_form(preset):
    with EXACT as told:
        t5 = load_t5(preset)

    assert [str(each.message).count("exact form") for each in told if each.category is UserWarning] == [2]
    assert activations(t5) == {"gelu"}


def test_a_pair_with_exact_gelu_is_told_too(tiny_t5):
    with EXACT:
        load_t5(pair(tiny_t5, activation="gelu"))


@pytest.mark.parametrize("activation", ["gelu_approximate", "gelu", "relu"])
def test_the_chosen_activation_is_there_and_nothing_is_said(preset, tiny_t5, activation):
    t5, changed = quietly(preset, activation=activation), quietly(pair(tiny_t5), activation=activation)

    assert activations(t5) == activations(changed) == {activation}
    assert t5.fingerprint == changed.fingerprint == tiny_t5.fingerprint
    assert t5.training_pass.name == changed.training_pass.name == "fused"
    ids = np.array([[9, 80, 33, 1]])
    found, expected = (each.encode(each.embed(ids), np.ones_like(ids)) for each in (t5, changed))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    stored = keras.saving.serialize_keras_object(t5.backbone)["config"]["activation"]
    assert keras.activations.get(stored) is t5.backbone.activation


def test_ungated_exact_gelu_is_not_t5_1_1s(tiny_t5, tmp_path):
    backbone = plain_backbone(
        **{**tiny_t5.backbone.get_config(), "dtype": "float32", "use_gated_activation": False, "activation": "gelu"}
    )

    assert activations(quietly(write(backbone, tiny_t5.tokenizer, tmp_path / "plain"))) == {"gelu"}


@pytest.mark.parametrize("activation", ["gelu_tanh", "swish", 3, ["gelu"]])
def test_another_activation_is_refused_by_name(activation):
    with pytest.raises(BackboneError, match=r"one of gelu_approximate, gelu, relu\. Received: activation="):
        load_t5("mini", activation=activation)


def test_prompts_of_a_preset_load_on_it_whatever_is_chosen(preset, tiny_t5, tmp_path):
    from softprompt_tf import PromptedT5, load_prompt, prompt_tuning

    PromptedT5(tiny_t5, prompt_tuning(length=3)).save_prompt(tmp_path / "prompt.safetensors", task_id="task")

    for settings in ({"activation": "gelu"}, {"activation": "gelu_approximate", "dropout": 0.1}):
        model = PromptedT5(quietly(preset, **settings), load_prompt(tmp_path / "prompt.safetensors"))
        assert model.prompt_value().shape == (3, 16)


# === Stored as KerasHub's ===


def test_a_preset_that_is_read_and_written_again_is_kerashubs(preset, tmp_path):
    t5 = quietly(preset, activation="gelu_approximate")
    t5.backbone.save_to_preset(str(tmp_path / "again"))

    shutil.copy(preset / "tokenizer.json", tmp_path / "again")
    theirs = keras_hub.models.T5Backbone.from_preset(str(tmp_path / "again"))

    assert type(theirs) is keras_hub.models.T5Backbone
    assert activation_of(theirs.activation).name == "gelu_approximate"
    for ours, own in zip(t5.backbone.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(ours, own, err_msg=own.path)
