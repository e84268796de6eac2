"""Loading a T5: each kind of source, and one clear line for each that does not work."""

import re
import shutil

import h5py
import keras
import keras_hub
import numpy as np
import pytest

from softprompt_tf.backbones import bundled_backbones, load_t5
from softprompt_tf.backbones.loading import load as load_module
from softprompt_tf.backbones.loading.built_layers import backbone_like
from softprompt_tf.errors import BackboneError


@pytest.fixture(scope="module")
def preset(tiny_t5, tmp_path_factory):
    """Return a preset directory as KerasHub writes it."""
    directory = tmp_path_factory.mktemp("presets") / "small-one"
    tiny_t5.backbone.save_to_preset(str(directory))
    tiny_t5.tokenizer.save_to_preset(str(directory))
    return directory


@pytest.fixture
def broken(preset, tmp_path):
    return shutil.copytree(preset, tmp_path / "broken")


def test_a_preset_directory_answers_as_the_model_that_was_saved(preset, tiny_t5):
    ids = np.array([[9, 80, 33, 1]])

    t5 = load_t5(preset)

    assert (t5.name, t5.compute_dtype) == ("small-one", "float32")
    assert (t5.fingerprint, t5.tokenizer_fingerprint) == (tiny_t5.fingerprint, tiny_t5.tokenizer_fingerprint)
    assert t5.backbone.trainable_variables == []
    output = t5.encode(tiny_t5.embed(ids), np.ones_like(ids))
    np.testing.assert_allclose(output, tiny_t5.encode(tiny_t5.embed(ids), np.ones_like(ids)), atol=1e-6)


def test_a_preset_loads_as_bfloat16_and_leaves_the_global_dtype_as_it_was(preset, tiny_t5):
    t5 = load_t5(str(preset), dtype="bfloat16", name="other")

    assert (t5.name, t5.compute_dtype, t5.fingerprint) == ("other", "bfloat16", tiny_t5.fingerprint)
    assert keras.config.dtype_policy().name == "float32"


def test_a_pair_loads_with_the_name_given(tiny_t5):
    assert load_t5((tiny_t5.backbone, tiny_t5.tokenizer), name="mine").name == "mine"
    assert load_t5((tiny_t5.backbone, tiny_t5.tokenizer)).name == tiny_t5.backbone.name


def test_a_pair_must_have_two_parts(tiny_t5):
    with pytest.raises(BackboneError, match=r"must be \(backbone, tokenizer\)\. Received: 1 object"):
        load_t5((tiny_t5.backbone,))


@pytest.mark.parametrize(
    ("of", "told"),
    [(lambda t5: t5, "FrozenT5."), (lambda t5: t5.backbone, "T5Backbone alone."), (lambda t5: None, "NoneType.")],
    ids=["loaded already", "backbone alone", "nothing"],
)
def test_what_is_no_source_is_refused(tiny_t5, of, told):
    with pytest.raises(BackboneError, match=rf"a pair \(T5Backbone, T5Tokenizer\). Received: a {told}$"):
        load_t5(of(tiny_t5))


def test_a_pair_of_something_else_is_refused(tiny_t5):
    with pytest.raises(BackboneError, match="must be a KerasHub T5Backbone. Received: str"):
        load_t5(("t5_1.1_base", tiny_t5.tokenizer))
    with pytest.raises(BackboneError, match="must be a KerasHub T5Tokenizer. Received: str"):
        load_t5((tiny_t5.backbone, "t5_1.1_base"))


@pytest.mark.parametrize("dtype", ["float16", "int8", "float64"])
def test_other_dtypes_are_refused(preset, dtype):
    with pytest.raises(BackboneError, match=f"one of float32, bfloat16. Received: dtype='{dtype}'"):
        load_t5(preset, dtype=dtype)


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(BackboneError, match=r"No backbone 't5_1.1_smal'.*t5_1.1_base.*Did you mean 't5_1.1_small'\?"):
        load_t5("t5_1.1_smal")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.weights.h5"])
def test_a_directory_without_a_file_is_refused_by_the_name_of_the_file(broken, file):
    (broken / file).unlink()

    with pytest.raises(BackboneError, match=f"must hold {re.escape(file)}. Received: .*broken"):
        load_t5(broken)


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(
        BackboneError, match="must be a KerasHub preset directory .* a Hugging Face T5 directory .* with \\[\\]"
    ):
        load_t5(tmp_path)


def test_a_directory_with_a_damaged_config_is_refused(broken):
    (broken / "config.json").write_bytes(b"damaged")

    with pytest.raises(BackboneError, match=r"config\.json must be a JSON file\. Received: "):
        load_t5(broken)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", b"damaged"),
        ("tokenizer.json", b"[" * 100_000),
        ("model.weights.h5", b"damaged"),
        ("assets/tokenizer/vocabulary.spm", b"damaged"),
    ],
    ids=["tokenizer", "nested too deep", "weights", "vocabulary"],
)
def test_a_directory_with_a_damaged_file_is_refused(broken, file, content):
    (broken / file).write_bytes(content)

    with pytest.raises(BackboneError, match="cannot be read as a T5: .+"):
        load_t5(broken)


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_a_preset_with_weights_that_the_model_has_not_is_refused(broken, quantization):
    with h5py.File(broken / "model.weights.h5", "a") as file:
        file["layers/another/vars/0"] = np.zeros((2, 3), np.float32)

    with pytest.raises(BackboneError, match=r"no place for 1 of the file's weights \(layers/another/vars/0\)"):
        load_t5(broken, quantization=quantization)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", [None, "int8"])
def test_a_preset_with_nan_is_refused(broken, dtype, quantization):
    with h5py.File(broken / "model.weights.h5", "a") as file:
        kernel = file["layers/t5_transformer_layer/input_projector/vars/0"]
        values = np.array(kernel)
        values[1, 2] = np.nan
        kernel[...] = values

    with pytest.raises(BackboneError, match="NaN or infinite"):
        load_t5(broken, dtype=dtype, quantization=quantization)


def test_a_pair_with_nan_is_refused(tiny_t5):
    backbone = backbone_like(tiny_t5.backbone)
    variable = backbone.weights[3]
    variable.assign(np.full(variable.shape, np.inf))

    with pytest.raises(BackboneError, match=r"must be finite\. Received: NaN or infinite values in .*Load it again"):
        load_t5((backbone, tiny_t5.tokenizer))


def test_a_directory_without_the_vocabulary_is_refused(broken):
    (broken / "assets/tokenizer/vocabulary.spm").unlink()

    with pytest.raises(BackboneError, match="cannot be read as a T5: .*vocabulary.spm"):
        load_t5(broken)


def test_a_directory_of_another_model_is_refused(tmp_path, tiny_t5):
    other = keras_hub.models.BertBackbone(
        vocabulary_size=10, num_layers=1, num_heads=1, hidden_dim=2, intermediate_dim=2
    )
    other.save_to_preset(str(tmp_path))
    tiny_t5.tokenizer.save_to_preset(str(tmp_path))

    with pytest.raises(BackboneError, match="cannot be read as a T5"):
        load_t5(tmp_path)


@pytest.mark.parametrize("source", ["t5_1.1_small", "hf://someone/some-t5"])
def test_a_preset_out_of_reach_gives_one_line_that_says_what_to_do(monkeypatch, source):
    def unreachable(preset, **kwargs):
        raise ConnectionError("Max retries exceeded\nwith url: /api/v1/models")

    monkeypatch.setattr(keras_hub.models.T5Backbone, "from_preset", unreachable)

    with pytest.raises(BackboneError) as error:
        load_t5(source)

    message = str(error.value)
    assert "\n" not in message
    assert f"{source!r} could not be fetched (ConnectionError: Max retries exceeded)" in message
    assert "pass that path" in message
    assert isinstance(error.value.__cause__, ConnectionError)


def test_bundled_names_load_from_the_package(preset, monkeypatch, tiny_t5):
    monkeypatch.setattr(load_module, "bundled_backbones", lambda: ("pocket",))
    monkeypatch.setattr(load_module, "bundled_directory", lambda name: {"pocket": preset}[name])

    t5 = load_t5("pocket")

    assert (t5.name, t5.fingerprint) == ("pocket", tiny_t5.fingerprint)


def test_every_bundled_backbone_has_a_directory():
    for name in bundled_backbones():
        assert (load_module.bundled_directory(name) / "model.weights.h5").exists()


@pytest.fixture(scope="module")
def sharded(tiny_t5, tmp_path_factory):
    """Return a preset directory whose weights lie in several files."""
    directory = tmp_path_factory.mktemp("presets") / "in-shards"
    tiny_t5.backbone.save_to_preset(str(directory), max_shard_size=20e-6)  # in GB: 20 kB
    tiny_t5.tokenizer.save_to_preset(str(directory))
    return directory


def test_a_sharded_preset_needs_no_single_weights_file(sharded, tiny_t5):
    assert not (sharded / "model.weights.h5").exists()

    assert load_t5(sharded).fingerprint == tiny_t5.fingerprint


# === Straight into int8 and int4 ===


@pytest.mark.parametrize(("kind", "mode"), [("preset", "int8"), ("sharded", "int8"), ("preset", "int4")])
def test_quantized_weights_are_those_of_quantizing_the_loaded_model(kind, mode, request, tiny_t5):
    directory = request.getfixturevalue(kind)
    expected = load_t5(directory)
    expected.quantize(mode)

    t5 = load_t5(directory, quantization=mode)

    assert t5.fingerprint == tiny_t5.fingerprint
    assert t5.backbone.trainable_variables == []
    assert sum(weight.dtype == "int8" for weight in t5.backbone.weights) > 20
    for ours, theirs in zip(t5.backbone.weights, expected.backbone.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_int8_and_bfloat16_go_together(preset, tiny_t5):
    t5 = load_t5(preset, dtype="bfloat16", quantization="int8")

    assert t5.fingerprint == tiny_t5.fingerprint
    assert {weight.dtype for weight in t5.backbone.weights if weight.name == "kernel"} == {"int8"}
    assert {weight.dtype for weight in t5.backbone.weights if weight.name != "kernel"} == {"bfloat16"}
