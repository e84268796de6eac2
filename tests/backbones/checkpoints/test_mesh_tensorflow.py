"""Mesh TensorFlow checkpoints: the same weights as in Hugging Face's form, whatever else lies in the file."""

import google_writers
import numpy as np
import pytest
import t5_models

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import open_checkpoint
from softprompt_tf.errors import BackboneError

CASE = "t5_1_1"


@pytest.fixture(scope="module")
def weights():
    return t5_models.weights(CASE)


def assert_same_checkpoint(one, other):
    assert one.architecture == other.architecture
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor.array(), other.tensors[name].array(), err_msg=name)


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("case", ["t5_1_0", "t5_1_1", "flan_t5", "mt5", "byt5"])
def test_each_family_is_read_as_its_hugging_face_directory_is(case, norm, hugging_face, tmp_path):
    google_writers.write_mesh_tensorflow(tmp_path, t5_models.weights(case), norm=norm)

    assert_same_checkpoint(open_checkpoint(tmp_path), open_checkpoint(hugging_face(case)))


def test_the_backbone_has_the_weights_and_the_fingerprint_of_the_hugging_face_one(
    weights, loaded, vocabulary_file, tmp_path
):
    google_writers.write_mesh_tensorflow(tmp_path / "t5.1.1.tiny", weights)

    t5 = load_t5(tmp_path / "t5.1.1.tiny", vocabulary=vocabulary_file)

    expected = loaded(CASE)
    assert (t5.name, t5.fingerprint, t5.tokenizer_fingerprint) == (
        "t5.1.1.tiny",
        expected.fingerprint,
        expected.tokenizer_fingerprint,
    )
    for ours, theirs in zip(t5.backbone.weights, expected.backbone.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_the_files_hold_slots_and_a_step_beside_the_weights(weights, tmp_path):
    import tensorflow as tf

    prefix = google_writers.write_mesh_tensorflow(tmp_path, weights)

    names = dict(tf.train.list_variables(str(prefix)))
    assert {
        "global_step",
        "shared/embedding",
        "shared/embedding_slot_vr",
        "encoder/rms_norm/scale_slot_v",
    } <= names.keys()
    assert len(names) > 2 * len(weights)


def test_of_several_steps_the_newest_is_taken(weights, tmp_path):
    for step in (900, 1000, 1100):  # as text, 900 is the last of them
        changed = {**weights, "encoder.final_layer_norm.weight": np.full(24, step, np.float32)}
        google_writers.write_mesh_tensorflow(tmp_path, changed, step=step)

    checkpoint = open_checkpoint(tmp_path)

    assert checkpoint.path == tmp_path / "model.ckpt-1100"
    assert checkpoint.tensors["encoder.norm"].array()[0] == 1100


def test_a_prefix_names_one_step(weights, tmp_path):
    for step in (900, 1000):
        changed = {**weights, "encoder.final_layer_norm.weight": np.full(24, step, np.float32)}
        google_writers.write_mesh_tensorflow(tmp_path, changed, step=step)

    assert open_checkpoint(tmp_path / "model.ckpt-900").tensors["encoder.norm"].array()[0] == 900


def test_a_prefix_finds_the_vocabulary_beside_it(weights, loaded, vocabulary_file, tmp_path):
    prefix = google_writers.write_mesh_tensorflow(tmp_path, weights)
    (tmp_path / "sentencepiece.model").write_bytes(vocabulary_file.read_bytes())

    t5 = load_t5(str(prefix))

    assert (t5.name, t5.fingerprint) == ("model.ckpt-1100000", loaded(CASE).fingerprint)


def test_blocks_of_two_weights_read_by_turns_are_theirs(weights, tmp_path):
    google_writers.write_mesh_tensorflow(tmp_path, weights)
    tensors = open_checkpoint(tmp_path).tensors
    names = ("token_embedding", "encoder.0.feed_forward.input")

    by_turns = zip(*(tensors[name].blocks(300) for name in names), strict=False)

    for pair in by_turns:
        for name, (place, block) in zip(names, pair, strict=True):
            np.testing.assert_array_equal(block, tensors[name].array()[place])


# === What is refused ===


def test_a_checkpoint_without_its_data_is_refused(weights, vocabulary_file, tmp_path):
    prefix = google_writers.write_mesh_tensorflow(tmp_path, weights)
    for data in tmp_path.glob("*.data-*"):
        data.unlink()

    with pytest.raises(
        BackboneError, match=r"must have files \.data-\* beside .*model\.ckpt-1100000\.index\. Received: none"
    ):
        load_t5(prefix, vocabulary=vocabulary_file)


def test_a_checkpoint_with_cut_data_is_refused(weights, vocabulary_file, tmp_path):
    google_writers.write_mesh_tensorflow(tmp_path, weights)
    (data,) = tmp_path.glob("*.data-*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])

    with pytest.raises(
        BackboneError, match=r"Weight .* of checkpoint .*model\.ckpt-1100000 cannot be read: .+"
    ) as error:
        load_t5(tmp_path, vocabulary=vocabulary_file)
    assert "\n" not in str(error.value)


def test_a_damaged_index_is_refused(weights, vocabulary_file, tmp_path):
    prefix = google_writers.write_mesh_tensorflow(tmp_path, weights)
    prefix.with_name(f"{prefix.name}.index").write_bytes(b"damaged")

    with pytest.raises(BackboneError, match=r"model\.ckpt-1100000 must be a TensorFlow checkpoint\. Received: .+"):
        load_t5(tmp_path, vocabulary=vocabulary_file)


def test_a_checkpoint_of_another_model_is_refused_with_some_of_its_names(vocabulary_file, tmp_path):
    tensors = {"bert/pooler/dense/kernel": np.ones((2, 2), np.float32), "global_step": np.int64(1)}
    google_writers.write_tf_checkpoint(tmp_path / "model.ckpt-7", tensors)

    message = r"must be an encoder-decoder T5\. Received: no matrix shared/embedding, .* among 2 weights \(bert/pooler"
    with pytest.raises(BackboneError, match=message):
        load_t5(tmp_path, vocabulary=vocabulary_file)


def test_a_decoder_only_model_is_refused(weights, vocabulary_file, tmp_path):
    tensors = google_writers.google_layout(weights, lambda name: google_writers.mesh_tensorflow_name(name, "rms_norm"))
    kept = {name: value for name, value in tensors.items() if not name.startswith("encoder/")}
    google_writers.write_tf_checkpoint(tmp_path / "model.ckpt-7", kept)

    with pytest.raises(BackboneError, match=r"must be an encoder-decoder T5\. Received: no matrix encoder/block_000"):
        load_t5(tmp_path, vocabulary=vocabulary_file)


def test_a_missing_weight_is_named(weights, vocabulary_file, tmp_path):
    kept = {
        name: value for name, value in weights.items() if name != "decoder.block.1.layer.1.EncDecAttention.k.weight"
    }
    google_writers.write_mesh_tensorflow(tmp_path, kept)

    message = r"1 missing \(decoder/block_001/layer_001/EncDecAttention/k\); nothing left over\."
    with pytest.raises(BackboneError, match=message):
        load_t5(tmp_path, vocabulary=vocabulary_file)


def test_a_weight_too_many_is_named(weights, vocabulary_file, tmp_path):
    tensors = google_writers.google_layout(weights, lambda name: google_writers.mesh_tensorflow_name(name, "rms_norm"))
    adapter = {"encoder/block_000/layer_001/adapter/kernel": np.ones((2, 2), np.float32)}
    google_writers.write_tf_checkpoint(tmp_path / "model.ckpt-7", {**tensors, **adapter})

    with pytest.raises(BackboneError, match=r"1 left over \(encoder/block_000/layer_001/adapter/kernel\)\."):
        load_t5(tmp_path, vocabulary=vocabulary_file)


def test_no_vocabulary_says_how_to_give_one(weights, tmp_path):
    google_writers.write_mesh_tensorflow(tmp_path, weights)

    message = r"needs a vocabulary: .*`vocabulary=` in Python.*Received: none in .*T5X and Mesh TensorFlow keep none"
    with pytest.raises(BackboneError, match=message):
        load_t5(tmp_path)
