"""An index that is read has TensorFlow's entries, and TensorFlow reads one that is written."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from softprompt_tf.errors import ExportError
from softprompt_tf.export.versions.checkpoint_index import masked_crc32c, read_index, write_index

NUM_TENSORS = 300  # so many that TensorFlow's index has several blocks


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of many tensors, tensor k holding the number k."""
    names = [f"layer/{k}/kernel" for k in range(NUM_TENSORS)]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "a"),
        tensor_names=names,
        shape_and_slices=[""] * NUM_TENSORS,
        tensors=[tf.constant([float(k)]) for k in range(NUM_TENSORS)],
    )
    return tmp_path / "a"


def test_every_tensor_of_a_checkpoint_has_its_entry(checkpoint):
    entries = read_index(checkpoint.with_name("a.index"))

    assert list(entries) == sorted(entries)
    assert set(entries) == {b"", *(f"layer/{k}/kernel".encode() for k in range(NUM_TENSORS))}
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(entries[b""])
    last = tensor_bundle_pb2.BundleEntryProto.FromString(entries[b"layer/299/kernel"])
    assert (header.num_shards, last.dtype, last.size, last.shape.dim[0].size) == (1, 1, 4, 1)


def test_tensorflow_reads_what_is_written(checkpoint):
    entries = read_index(checkpoint.with_name("a.index"))
    header = entries.pop(b"")
    kept = {key.replace(b"kernel", b"weight"): value for key, value in reversed(entries.items())}

    write_index(checkpoint.with_name("a.index"), {**kept, b"": header})

    reader = tf.train.load_checkpoint(str(checkpoint))
    found = [reader.get_tensor(f"layer/{k}/weight").tolist() for k in range(NUM_TENSORS)]
    assert found == [[float(k)] for k in range(NUM_TENSORS)]
    assert not reader.has_tensor("layer/0/kernel")


def test_what_is_written_is_read_again(tmp_path):
    entries = {b"": b"head", b"\x00slice": b"", b"a": b"1", b"aa": bytes(300), b"ab": b"\xff"}

    write_index(tmp_path / "index", entries)

    assert read_index(tmp_path / "index") == entries


def test_the_checksum_is_that_of_the_standard():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8a9136aa, kept rotated by 15 bits and shifted.
    crc = 0x8A9136AA

    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("damage", ["missing", "short", "magic", "block"])
def test_a_damaged_index_is_refused(checkpoint, damage):
    path = checkpoint.with_name("a.index")
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[{"short": 0, "magic": -1, "block": 40}[damage]] ^= 1
        path.write_bytes(content[:20] if damage == "short" else content)

    with pytest.raises(ExportError, match="The index of a checkpoint must be readable. Received: .*a.index: "):
        read_index(path)


def test_a_compressed_block_is_refused(tmp_path):
    write_index(tmp_path / "index", {b"": b"", b"a": b"1"})
    content = bytearray((tmp_path / "index").read_bytes())
    size = content.index(bytes([0]) + struct.pack("<I", masked_crc32c(bytes(content[: _first_block(content)]) + b"\0")))
    content[size] = 1
    content[size + 1 : size + 5] = struct.pack("<I", masked_crc32c(bytes(content[: size + 1])))
    (tmp_path / "index").write_bytes(content)

    with pytest.raises(ExportError, match="it is compressed"):
        read_index(tmp_path / "index")


def _first_block(content):
    """Return the length of the first block: its entries "" -> "" and a -> 1, one restart and their number."""
    expected = b"\0\0\0" + b"\0\1\1a1" + struct.pack("<II", 0, 1)
    assert content.startswith(expected)
    return len(expected)


def test_parts_of_a_tensor_have_keys_of_their_own(tmp_path):
    rows = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "a"),
        tensor_names=["table", "table"],
        shape_and_slices=["3 2 0,1:-", "3 2 1,2:-"],
        tensors=[rows[:1], rows[1:]],
    )

    entries = read_index(tmp_path / "a.index")

    assert sum(key.startswith(b"\0") for key in entries) == 2
    assert len(tensor_bundle_pb2.BundleEntryProto.FromString(entries[b"table"]).slices) == 2
