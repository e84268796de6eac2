"""`convert`: a backbone becomes a preset with the same answers, a prompt changes its format, and nothing is overwritten."""

import h5py
import keras
import keras_hub
import numpy as np
import pytest
import t5_models
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import load_t5
from softprompt_tf.cli.convert import convert
from softprompt_tf.errors import BackboneError, ConfigError, PromptFileError
from softprompt_tf.methods import TaskPrompt, load_prompt, write_peft_adapter, write_prompt

pytestmark = pytest.mark.thorough


@pytest.fixture
def checkpoint(tmp_path):
    """A Hugging Face T5 1.1 directory with its vocabulary."""
    directory = t5_models.write_model(tmp_path / "theirs", "t5_1_1")
    (directory / "spiece.model").write_bytes(tiny_vocabulary())
    return directory


def weights(t5):
    return [keras.ops.convert_to_numpy(weight).astype(np.float32) for weight in t5.backbone.weights]


def test_a_preset_has_the_checkpoints_weights_and_fingerprint(checkpoint, tmp_path):
    line = convert(checkpoint, tmp_path / "preset")

    theirs, ours = load_t5(checkpoint), load_t5(tmp_path / "preset")
    for one, other in zip(weights(theirs), weights(ours), strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours.fingerprint == theirs.fingerprint
    assert ours.tokenizer.proto.startswith(tiny_vocabulary())  # behind it the added tokens of the checkpoint
    assert f"fingerprint {ours.fingerprint}" in line


def value_bytes(path):
    """Return how many bytes the values of the file's weights have."""
    widths = set()
    with h5py.File(path) as file:
        file.visititems(lambda _, item: widths.add(item.dtype.itemsize) if isinstance(item, h5py.Dataset) else None)
    return widths


@pytest.mark.parametrize("case", ["byt5", "other_buckets"])
def test_a_preset_keeps_what_keras_hubs_own_class_cannot_say(case, tmp_path):
    theirs = t5_models.write_model(tmp_path / "theirs", case)
    (theirs / "spiece.model").write_bytes(tiny_vocabulary())

    convert(theirs, tmp_path / "preset")

    one, other = load_t5(theirs), load_t5(tmp_path / "preset")
    assert other.backbone.get_config()["relative_attention_max_distance"] == (40 if case == "other_buckets" else 128)
    assert len(other.backbone.decoder_transformer_layers) == len(one.backbone.decoder_transformer_layers)
    assert other.fingerprint == one.fingerprint


def test_bfloat16_halves_the_file_and_keeps_the_fingerprint(checkpoint, tmp_path):
    convert(checkpoint, tmp_path / "full")
    convert(checkpoint, tmp_path / "half", dtype="bfloat16")

    assert [value_bytes(tmp_path / name / "model.weights.h5") for name in ("full", "half")] == [{4}, {2}]
    assert load_t5(tmp_path / "half").fingerprint == load_t5(checkpoint).fingerprint


def test_float16_refuses_a_weight_that_does_not_fit(tmp_path):
    import safetensors.numpy

    directory = t5_models.write_model(tmp_path / "theirs", "t5_1_1")
    (directory / "spiece.model").write_bytes(tiny_vocabulary())
    drawn = t5_models.weights("t5_1_1")
    drawn["shared.weight"][3, 4] = 1e6
    safetensors.numpy.save_file(drawn, directory / "model.safetensors")

    with pytest.raises(
        BackboneError, match=r"float16 cannot hold values above 65,504. Received: 1e\+06 in token_embedding"
    ):
        convert(directory, tmp_path / "preset", dtype="float16")
    assert not (tmp_path / "preset").exists()


def test_a_prompt_goes_round_three_formats_bit_for_bit(tmp_path):
    value = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    first = write_prompt(tmp_path / "a.safetensors", TaskPrompt(prompt=value, task_id="a"))

    convert(first, tmp_path / "b.npy")
    convert(tmp_path / "b.npy", tmp_path / "adapter")
    convert(tmp_path / "adapter", tmp_path / "c.safetensors")

    assert load_prompt(tmp_path / "c.safetensors").prompt.tobytes() == value.tobytes()


def test_a_lora_goes_to_peft_and_back_bit_for_bit(tmp_path):
    value = np.random.default_rng(0).normal(size=(2, 1, 14)).astype(np.float32)
    task = TaskPrompt(tensors={"cross_value_delta": value}, method="lora", backbone_hidden_dim=6)
    write_prompt(tmp_path / "a.safetensors", task)

    convert(tmp_path / "a.safetensors", tmp_path / "adapter")
    line = convert(tmp_path / "adapter", tmp_path / "b.safetensors")

    assert line.endswith(": lora, cross_value_delta")
    assert load_prompt(tmp_path / "b.safetensors").tensors["cross_value_delta"].tobytes() == value.tobytes()


def test_an_adapter_is_not_written_into_a_folder_of_other_things(checkpoint, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))

    with pytest.raises(ConfigError, match="folder must be new, empty or an adapter already. Received: .*theirs"):
        convert(tmp_path / "a.npy", checkpoint)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("b.npy", {"dtype": "float32"}, "`dtype` and `vocabulary` are for backbones. Received: the prompt"),
        ("b.bin", {}, "must end in .safetensors or .npy, or be a folder. Received: .*b.bin"),
    ],
)
def test_what_does_not_go_with_a_prompt_is_refused(tmp_path, target, options, message):
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))

    with pytest.raises(ConfigError, match=message):
        convert(tmp_path / "a.npy", tmp_path / target, **options)


def test_a_backbone_does_not_become_a_prompt(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="becomes a preset directory. Received: the output .*a.npy"):
        convert(checkpoint, tmp_path / "a.npy")


def test_a_folder_of_several_adapters_is_no_backbone(tmp_path):
    write_peft_adapter(tmp_path / "adapters" / "film", TaskPrompt(np.ones((2, 4), np.float32)))

    with pytest.raises(PromptFileError, match=r"It holds folders of adapters\. Did you mean `.*film`\?$"):
        convert(tmp_path / "adapters", tmp_path / "film.safetensors")


def test_a_directory_with_files_is_not_overwritten(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="must be a new or an empty directory. Received: .*theirs"):
        convert(checkpoint, checkpoint)


def test_an_address_reaches_kerashub_as_it_was_given(tmp_path, monkeypatch):
    asked = []

    def fetch(preset, **keywords):
        asked.append(preset)
        raise ConnectionError("no network")

    monkeypatch.setattr(keras_hub.models.T5Backbone, "from_preset", fetch)

    with pytest.raises(BackboneError, match="'hf://someone/some-t5' could not be fetched"):
        convert("hf://someone/some-t5", tmp_path / "new")

    assert asked == ["hf://someone/some-t5"]
