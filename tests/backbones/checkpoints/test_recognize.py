"""What lies at a path is told by its content, and what is no T5 is refused in one line."""

import json
import shutil

import google_writers
import keras_hub
import numpy as np
import pytest
import t5_models

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import is_preset_directory, open_checkpoint
from softprompt_tf.backbones.checkpoints.recognize import FORMATS
from softprompt_tf.errors import BackboneError


def test_a_preset_and_a_hugging_face_directory_are_told_by_their_config(tiny_t5, hugging_face, tmp_path):
    tiny_t5.backbone.save_to_preset(str(tmp_path))

    assert is_preset_directory(tmp_path)
    assert not is_preset_directory(hugging_face("t5_1_0"))


def test_a_hugging_face_directory_with_a_tokenizer_json_is_no_preset(hugging_face, tmp_path):
    directory = shutil.copytree(hugging_face("t5_1_0"), tmp_path / "copy")
    (directory / "tokenizer.json").write_text("{}")

    assert not is_preset_directory(directory)


def test_a_tokenizer_json_alone_is_half_a_preset(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(BackboneError, match=r"A preset directory must hold config\.json, model\.weights\.h5\."):
        load_t5(tmp_path)


def test_each_format_is_recognized(hugging_face, tmp_path):
    weights = t5_models.weights("t5_1_0")
    prefix = google_writers.write_mesh_tensorflow(tmp_path / "mesh", weights)
    step = google_writers.write_t5x(tmp_path / "t5x" / "checkpoint_2", weights)
    expected = open_checkpoint(hugging_face("t5_1_0")).architecture

    for path in (prefix, prefix.parent, step, step.parent):
        assert open_checkpoint(path).architecture == expected


def test_the_text_file_that_tensorflow_calls_checkpoint_is_no_t5x_index(tmp_path):
    prefix = google_writers.write_mesh_tensorflow(tmp_path, t5_models.weights("t5_1_0"))
    assert (tmp_path / "checkpoint").read_text().startswith("model_checkpoint_path")

    assert open_checkpoint(tmp_path).path == prefix


def test_an_empty_directory_is_refused_with_what_could_lie_there(tmp_path):
    with pytest.raises(BackboneError) as error:
        load_t5(tmp_path)

    assert str(error.value) == f"A backbone's directory must be {FORMATS}. Received: {tmp_path} with []."
    for word in ("KerasHub preset", "Hugging Face", "T5X", "Mesh TensorFlow"):
        assert word in str(error.value)


def test_weights_without_a_config_say_that_it_is_missing(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")

    with pytest.raises(
        BackboneError, match=r"with \['model\.safetensors'\]\. config\.json is missing beside the weights\.$"
    ):
        load_t5(tmp_path)


def test_the_folder_of_an_adapter_is_no_t5(tmp_path):
    (tmp_path / "adapter_config.json").touch()

    with pytest.raises(
        BackboneError, match=r"It holds an adapter, .* the directory of the T5 that it was trained on\.$"
    ):
        load_t5(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        BackboneError, match=r"A backbone's path must be a KerasHub preset directory .* Received: .*absent\."
    ):
        open_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize(
    "content", ["", "{", "model_type: t5", b"\xff\xfe{}", '{"a":' * 50_000], ids=lambda text: ascii(text[:9])
)
def test_a_config_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(BackboneError, match=r"config\.json must be a JSON file\. Received: .+") as error:
        load_t5(tmp_path)
    assert "\n" not in str(error.value)


def test_a_config_that_is_a_list_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[]")

    with pytest.raises(BackboneError, match=r"config\.json must hold a JSON object\. Received: list\."):
        load_t5(tmp_path)


@pytest.mark.parametrize(
    ("model_type", "difference"),
    [
        ("bert", ""),
        ("gpt2", ""),
        (
            "umt5",
            " Each layer of umT5 has relative positions of its own; in a T5 all share the first layer's. Use an mT5.",
        ),
        ("longt5", " The encoder of a LongT5 attends to near tokens only, or to summaries of blocks. Use a T5 1.1."),
        (None, ""),
        (["t5"], ""),
    ],
)
def test_a_hugging_face_model_of_another_type_is_refused_by_its_type(tmp_path, model_type, difference):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "hidden_size": 8}))

    with pytest.raises(BackboneError) as error:
        load_t5(tmp_path)

    expected = (
        f"A Hugging Face checkpoint must be a T5 (model_type t5 or mt5). Received: model_type={model_type!r} in "
        f"{tmp_path / 'config.json'}.{difference}"
    )
    assert str(error.value) == expected


def test_a_preset_of_another_class_is_refused(tiny_t5, tmp_path):
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=10, num_layers=1, num_heads=1, hidden_dim=2, intermediate_dim=2
    )
    bert.save_to_preset(str(tmp_path))
    tiny_t5.tokenizer.save_to_preset(str(tmp_path))

    with pytest.raises(BackboneError, match=r"The preset in .* cannot be read as a T5: .*BertBackbone"):
        load_t5(tmp_path)


def test_a_vocabulary_for_a_bundled_backbone_is_refused(vocabulary_file):
    with pytest.raises(
        BackboneError, match=r"`vocabulary` is for checkpoints of other tools\. Received: .* for mini\."
    ):
        load_t5("mini", vocabulary=vocabulary_file)


def test_a_vocabulary_for_a_pair_is_refused(tiny_t5, vocabulary_file):
    with pytest.raises(BackboneError, match=r"`vocabulary` is for checkpoints of other tools\. Received: "):
        load_t5((tiny_t5.backbone, tiny_t5.tokenizer), vocabulary=vocabulary_file)


def test_an_unknown_quantization_is_refused(hugging_face):
    message = r"`quantization` must be None, 'int8' or 'int4'\. Received: quantization='int2'\."
    with pytest.raises(BackboneError, match=message):
        load_t5(hugging_face("t5_1_0"), quantization="int2")


def test_a_name_that_is_given_is_the_backbones(hugging_face, loaded):
    assert loaded("byt5").name == "byt5"
    assert load_t5(hugging_face("byt5"), name="google/byt5-tiny").name == "google/byt5-tiny"


def test_a_checkpoint_is_frozen(loaded):
    assert loaded("byt5").backbone.trainable_variables == []
    assert np.isfinite(loaded("byt5").embedding_table).all()
