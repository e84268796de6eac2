"""Files that Git LFS has not downloaded are named, wherever they are read."""

import json

import pytest
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import find_vocabulary
from softprompt_tf.errors import BackboneError, PromptFileError
from softprompt_tf.files.large_file_pointer import refuse_pointer
from softprompt_tf.methods import load_prompt

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4a" * 32 + b"\nsize 990345061\n"
MESSAGE = r"{} must be the file itself\. Received: a Git LFS pointer.* `git lfs pull`"


@pytest.mark.parametrize("name", ["prompt.safetensors", "prompt.npy"])
def test_a_prompt_that_is_a_pointer_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(POINTER)

    with pytest.raises(PromptFileError, match=MESSAGE.format(name)):
        load_prompt(tmp_path / name)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_with_a_pointer_is_refused(name, tmp_path):
    config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 5}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / name).write_bytes(POINTER)

    with pytest.raises(PromptFileError, match=MESSAGE.format(name)):
        load_prompt(tmp_path)


def write_hugging_face(directory):
    (directory / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (directory / "spiece.model").write_bytes(tiny_vocabulary())


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"],
)
def test_a_hugging_face_directory_with_a_pointer_is_refused(name, tmp_path):
    write_hugging_face(tmp_path)
    (tmp_path / name).write_bytes(POINTER)

    with pytest.raises(BackboneError, match=MESSAGE.format(name)):
        load_t5(tmp_path)


@pytest.mark.parametrize("name", ["model.ckpt-5.index", "model.ckpt-5.data-00000-of-00001"])
def test_a_mesh_tensorflow_checkpoint_with_a_pointer_is_refused(name, tmp_path):
    for other in ("model.ckpt-5.index", "model.ckpt-5.data-00000-of-00001"):
        (tmp_path / other).write_bytes(b"")
    (tmp_path / name).write_bytes(POINTER)

    with pytest.raises(BackboneError, match=MESSAGE.format(name)):
        load_t5(tmp_path)


def test_a_vocabulary_that_is_a_pointer_is_refused(tmp_path):
    (tmp_path / "vocabulary.spm").write_bytes(POINTER)

    with pytest.raises(BackboneError, match=MESSAGE.format("vocabulary.spm")):
        find_vocabulary(tmp_path, tmp_path / "vocabulary.spm")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/tokenizer/vocabulary.spm"])
def test_a_preset_with_a_pointer_is_refused(name, tiny_t5, tmp_path):
    tiny_t5.backbone.save_to_preset(str(tmp_path / "preset"))
    tiny_t5.tokenizer.save_to_preset(str(tmp_path / "preset"))
    (tmp_path / "preset" / name).write_bytes(POINTER)

    with pytest.raises(BackboneError, match=MESSAGE.format(name)):
        load_t5(tmp_path / "preset")


def test_a_small_file_and_a_missing_one_are_no_pointers(tmp_path):
    (tmp_path / "small").write_bytes(b"version 1")

    refuse_pointer(tmp_path / "small", error_type=ValueError)
    refuse_pointer(tmp_path / "missing", error_type=ValueError)
