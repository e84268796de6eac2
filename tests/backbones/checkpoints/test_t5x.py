"""T5X checkpoints: written ones in each form that T5X has had, and a real one."""

import json
import os
import pickle
import shutil

import google_writers
import ml_dtypes
import msgpack
import numcodecs.pickles
import numpy as np
import pytest
import safetensors.numpy
import t5_models

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import open_checkpoint
from softprompt_tf.errors import BackboneError

pytestmark = pytest.mark.thorough

CASE = "t5_1_1"
HEAD = "target.decoder.logits_dense.kernel"


@pytest.fixture(scope="module")
def weights():
    return t5_models.weights(CASE)


@pytest.fixture
def written(weights, tmp_path):
    """A directory checkpoint_7 that a test may damage."""
    return google_writers.write_t5x(tmp_path / "tiny" / "checkpoint_7", weights)


def assert_same_checkpoint(one, other, dtype="float32"):
    assert one.architecture == other.architecture
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        expected = other.tensors[name].array().astype(dtype)
        read = tensor.array()
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected, err_msg=name)


@pytest.mark.parametrize("case", ["t5_1_0", "t5_1_1", "flan_t5", "mt5", "byt5"])
def test_each_family_is_read_as_its_hugging_face_directory_is(case, hugging_face, tmp_path):
    directory = google_writers.write_t5x(tmp_path / "checkpoint_1", t5_models.weights(case))

    assert_same_checkpoint(open_checkpoint(directory), open_checkpoint(hugging_face(case)))


def test_the_backbone_has_the_weights_and_the_fingerprint_of_the_hugging_face_one(written, loaded, vocabulary_file):
    t5 = load_t5(written, vocabulary=vocabulary_file)

    expected = loaded(CASE)
    assert (t5.name, t5.fingerprint) == ("checkpoint_7", expected.fingerprint)
    for ours, theirs in zip(t5.backbone.weights, expected.backbone.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_small_weights_lie_in_the_index_and_large_ones_in_zarr(written):
    index = msgpack.unpackb((written / "checkpoint").read_bytes(), strict_map_key=False)

    target = index["optimizer"]["target"]
    assert target["encoder"]["encoder_norm"]["scale"].code == 1
    assert target["token_embedder"]["embedding"]["driver"] == "zarr"
    assert sorted(path.name for path in (written / HEAD).iterdir()) == [".zarray", "0.0", "0.1", "1.0", "1.1"]


@pytest.mark.parametrize("small", [0, 10**9], ids=["all in zarr", "all in the index"])
def test_where_a_weight_lies_does_not_matter(weights, hugging_face, tmp_path, small):
    directory = google_writers.write_t5x(tmp_path, weights, small=small)

    assert_same_checkpoint(open_checkpoint(directory), open_checkpoint(hugging_face(CASE)))


@pytest.mark.parametrize("dtype", ["bfloat16", "uint16"])
def test_bfloat16_is_read_as_bfloat16(weights, hugging_face, tmp_path, dtype):
    directory = google_writers.write_t5x(tmp_path, weights, dtype=dtype)

    assert_same_checkpoint(open_checkpoint(directory), open_checkpoint(hugging_face(CASE)), dtype=ml_dtypes.bfloat16)


def test_an_index_without_an_optimizer_is_read(weights, hugging_face, tmp_path):
    directory = google_writers.write_t5x(tmp_path, weights, top="target")

    assert_same_checkpoint(open_checkpoint(directory), open_checkpoint(hugging_face(CASE)))


def test_blocks_that_cut_chunks_are_the_weights_rows(written, weights):
    tensor = open_checkpoint(written).tensors["token_embedding"]

    starts = []
    for place, block in tensor.blocks(7 * 24):  # 7 rows of a table in chunks of 64
        starts.append(place[0].start)
        np.testing.assert_array_equal(block, weights["shared.weight"][place])

    assert starts == list(range(0, 128, 7))


def test_the_directory_around_the_steps_gives_the_newest(weights, tmp_path):
    for step in (900, 1000, 1100):  # as text, 900 is the last of them
        changed = {**weights, "encoder.final_layer_norm.weight": np.full(24, step, np.float32)}
        google_writers.write_t5x(tmp_path / f"checkpoint_{step}", changed)
    (tmp_path / "checkpoint_2000").mkdir()  # a step whose writing has not got to the index

    checkpoint = open_checkpoint(tmp_path)

    assert checkpoint.path == tmp_path / "checkpoint_1100"
    assert checkpoint.tensors["encoder.norm"].array()[0] == 1100


def test_a_vocabulary_beside_the_steps_serves_them(written, loaded, vocabulary_file):
    shutil.copy(vocabulary_file, written.parent / "sentencepiece.model")

    t5 = load_t5(written.parent)

    assert (t5.name, t5.fingerprint) == ("tiny", loaded(CASE).fingerprint)
    assert t5.tokenizer_fingerprint == loaded(CASE).tokenizer_fingerprint


# === A real one ===


@pytest.fixture(scope="module")
def real(shared_data):
    directory = shared_data / "t5" / "test_t5_1_1_tiny"
    return load_t5(directory, vocabulary=shared_data / "t5" / "t5_vocab.spm")


@pytest.mark.shared_data
def test_a_real_checkpoint_has_the_shapes_that_its_authors_gave_it(real):
    backbone = real.backbone
    bias = backbone.encoder_transformer_layers[0].self_attention.relative_attention_bias

    assert (real.name, real.vocabulary_size, real.hidden_dim, real.num_heads, real.head_dim) == (
        "test_t5_1_1_tiny",
        32128,
        4,
        2,
        2,
    )
    assert (len(backbone.encoder_transformer_layers), len(backbone.decoder_transformer_layers)) == (2, 2)
    assert (backbone.intermediate_dim, backbone.use_gated_activation, backbone.tie_embedding_weights) == (
        8,
        True,
        False,
    )
    assert (backbone.relative_attention_buckets, tuple(bias.shape)) == (4, (4, 2))
    attention, feed_forward, norm = 4 * 4 * 4, 3 * 4 * 8, 4
    encoder, decoder = attention + feed_forward + 2 * norm, 2 * attention + feed_forward + 3 * norm
    assert backbone.count_params() == 2 * 32128 * 4 + 2 * (encoder + decoder + norm + 4 * 2)


@pytest.mark.shared_data
def test_a_real_checkpoint_is_the_same_as_its_hugging_face_form(real, shared_data, tmp_path):
    checkpoint = open_checkpoint(shared_data / "t5" / "test_t5_1_1_tiny" / "checkpoint_3")
    safetensors.numpy.save_file(hugging_face_weights(checkpoint), tmp_path / "model.safetensors")
    config = {**t5_models.CASES[CASE], "vocab_size": 32128, "d_model": 4, "d_kv": 2, "d_ff": 8, "num_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps({**config, "relative_attention_num_buckets": 4}))
    ids, mask = np.array([[71, 1712, 13, 1, 0]]), np.array([[1, 1, 1, 1, 0]])
    targets = np.array([[0, 9, 31000]])

    again = load_t5(tmp_path, vocabulary=shared_data / "t5" / "t5_vocab.spm")

    assert again.fingerprint == real.fingerprint
    logits, expected = (t5.logits(t5.decode(targets, t5.encode(t5.embed(ids), mask), mask)) for t5 in (again, real))
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert np.abs(expected).max() > 1


def hugging_face_weights(checkpoint):
    """Return a T5X checkpoint's weights by Hugging Face's names, the reverse of what `google_writers` does to the drawn ones."""
    read = {tensor.name: tensor.read(slice(None)) for tensor in checkpoint.tensors.values()}
    names = [name for name in t5_models.weights(CASE) if google_writers.t5x_name(name) in read]
    assert len(names) == len(read)
    return {
        name: np.ascontiguousarray(value if name == "shared.weight" else value.T)
        for name in names
        for value in [read[google_writers.t5x_name(name)]]
    }


# === What is refused ===


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_half_an_index_is_refused(written, vocabulary_file, share):
    content = (written / "checkpoint").read_bytes()
    (written / "checkpoint").write_bytes(content[: int(len(content) * share)])

    with pytest.raises(
        BackboneError, match=r"checkpoint_7/checkpoint must be the msgpack index .* Received: ValueError: "
    ):
        load_t5(written, vocabulary=vocabulary_file)


@pytest.mark.parametrize(
    "content",
    [
        msgpack.packb({"version": 3}),
        msgpack.packb({"version": 3, "optimizer": {"state": {}}}),
        msgpack.packb({"optimizer": [1]}),
        b"\x81" + b"\xc1" * 40,
        msgpack.packb({"target": {"a": msgpack.ExtType(1, b"\x01")}}),
        msgpack.packb({"target": {"a": msgpack.ExtType(1, msgpack.packb(((3,), "float32", b"\0" * 4)))}}),
        msgpack.packb({"target": {"a": msgpack.ExtType(1, msgpack.packb(((1,), "no-dtype", b"\0" * 4)))}}),
    ],
    ids=["no weights", "no target", "a list", "no msgpack", "no array", "too few bytes", "no dtype"],
)
def test_an_index_that_is_no_t5x_index_is_refused_in_one_line(written, vocabulary_file, content):
    (written / "checkpoint").write_bytes(content)

    with pytest.raises(BackboneError, match=r"checkpoint_7/checkpoint must be the msgpack index of a T5X che") as error:
        load_t5(written, vocabulary=vocabulary_file)
    assert "\n" not in str(error.value)


def test_an_index_of_weights_that_are_no_arrays_is_refused(written, vocabulary_file):
    (written / "checkpoint").write_bytes(msgpack.packb({"target": {"token_embedder": {"embedding": "elsewhere"}}}))

    message = r"Weight token_embedder\.embedding of T5X checkpoint .* must be an array or .* Received: 'elsewhere'"
    with pytest.raises(BackboneError, match=message):
        load_t5(written, vocabulary=vocabulary_file)


def test_an_index_of_another_model_is_refused(written, vocabulary_file):
    weight = msgpack.ExtType(1, msgpack.packb(((1, 1), "float32", b"\0" * 4)))
    (written / "checkpoint").write_bytes(msgpack.packb({"target": {"Dense_0": {"kernel": weight}}}))

    message = r"must be an encoder-decoder T5\. Received: no matrix token_embedder\.embedding.* \(Dense_0\.kernel"
    with pytest.raises(BackboneError, match=message):
        load_t5(written, vocabulary=vocabulary_file)


def test_a_missing_chunk_is_no_zeros_but_an_error(written, vocabulary_file):
    (written / HEAD / "1.0").unlink()

    message = rf"Weight decoder\.logits_dense\.kernel of .* cannot be read: chunk 1\.0 of {HEAD} is missing"
    with pytest.raises(BackboneError, match=message):
        load_t5(written, vocabulary=vocabulary_file)


class _RunsCode:
    """An object whose pickle makes a directory when it is read."""

    def __init__(self, directory):
        self._directory = directory

    def __reduce__(self):
        return os.mkdir, (str(self._directory),)


def test_an_array_of_objects_is_refused_and_its_pickle_not_read(written, tmp_path, vocabulary_file, monkeypatch):
    monkeypatch.setattr(
        numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False
    )  # as in its older versions
    made = tmp_path / "made by the pickle"
    settings = json.loads((written / HEAD / ".zarray").read_text())
    filters = [{"id": "vlen-utf8"}, {"id": "pickle"}]
    settings |= {"dtype": "|O", "fill_value": None, "compressor": None, "filters": filters}
    (written / HEAD / ".zarray").write_text(json.dumps(settings))
    for chunk in (written / HEAD).glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps([_RunsCode(made), (1,)]))

    with pytest.raises(BackboneError, match=rf"must lie in {HEAD}/ as a zarr array.*dtype must be one of float32"):
        load_t5(written, vocabulary=vocabulary_file)
    assert not made.exists()


def test_a_damaged_chunk_is_refused(written, vocabulary_file):
    (written / HEAD / "1.0").write_bytes(b"damaged")

    with pytest.raises(
        BackboneError, match=r"Weight decoder\.logits_dense\.kernel of checkpoint .* cannot be read: .+"
    ):
        load_t5(written, vocabulary=vocabulary_file)


def test_a_missing_array_is_refused(written, vocabulary_file):
    shutil.rmtree(written / HEAD)

    message = (
        rf"Weight decoder\.logits_dense\.kernel of T5X checkpoint .* must lie in {HEAD}/ as a zarr array\. Received: "
    )
    with pytest.raises(BackboneError, match=message):
        load_t5(written, vocabulary=vocabulary_file)


def test_a_missing_array_description_is_refused(written, vocabulary_file):
    (written / HEAD / ".zarray").write_text("{")

    with pytest.raises(BackboneError, match=rf"must lie in {HEAD}/ as a zarr array\. Received: "):
        load_t5(written, vocabulary=vocabulary_file)


def test_an_array_that_the_index_does_not_name_is_refused(written, vocabulary_file):
    shutil.copytree(written / HEAD, written / "target.decoder.adapter.kernel")

    with pytest.raises(
        BackboneError, match=r"and no other\. Received: 1 left over \(target\.decoder\.adapter\.kernel\)"
    ):
        load_t5(written, vocabulary=vocabulary_file)


def test_mutable_state_beside_the_weights_is_refused(written, vocabulary_file):
    index = msgpack.unpackb((written / "checkpoint").read_bytes(), strict_map_key=False, raw=False)
    index["flax_mutables"] = {"batch_stats": {"mean": 1.0}}
    (written / "checkpoint").write_bytes(msgpack.packb(index))

    with pytest.raises(BackboneError, match=r"1 left over \(batch_stats\.mean\)"):
        load_t5(written, vocabulary=vocabulary_file)


def test_a_missing_weight_is_named(weights, vocabulary_file, tmp_path):
    kept = {name: value for name, value in weights.items() if name != "decoder.final_layer_norm.weight"}
    directory = google_writers.write_t5x(tmp_path / "checkpoint_1", kept)

    with pytest.raises(BackboneError, match=r"1 missing \(decoder\.decoder_norm\.scale\); nothing left over\."):
        load_t5(directory, vocabulary=vocabulary_file)


def test_a_weight_of_another_shape_is_refused(weights, vocabulary_file, tmp_path):
    name = "encoder.block.1.layer.0.SelfAttention.o.weight"
    changed = {**weights, name: weights[name][:, :-2]}
    directory = google_writers.write_t5x(tmp_path / "checkpoint_1", changed)

    message = (
        r"Weight encoder\.layers_1\.attention\.out\.kernel .* must have the shape \[30, 24\]\. Received: \[28, 24\]"
    )
    with pytest.raises(BackboneError, match=message):
        load_t5(directory, vocabulary=vocabulary_file)
