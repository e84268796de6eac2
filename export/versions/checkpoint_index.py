"""Read and write the index of a TensorFlow checkpoint.

An index is an SSTable: the empty key holds a `BundleHeaderProto`, a tensor's name a `BundleEntryProto` that says in which data
file, at which byte, its values are, and a binary key one slice of a tensor. TensorFlow writes an index only with its data; here
the entries of data that is there already are put together anew.

Source: the formats of tensorflow/tensorflow:tensorflow/core/lib/io/format.cc, block_builder.cc and util/tensor_bundle.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from softprompt_tf.errors import ExportError

_FOOTER_BYTES = 48  # two handles, padded to 40 bytes, and the magic number
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # kind of compression, and the checksum
_UNCOMPRESSED = 0
_CRC32C_POLYNOMIAL = 0x82F63B78
_CHECKSUM_MASK = 0xA282EAD8


def read_index(path: Path) -> dict[bytes, bytes]:
    """Return the entries of an index, in their order.

    Raises:
      ExportError: if the file is missing, damaged or compressed.
    """
    try:
        content = path.read_bytes()
        if len(content) < _FOOTER_BYTES or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
            raise ValueError("no such table ends like that")
        _, place = _read_handle(content, len(content) - _FOOTER_BYTES)  # the first handle is of an empty block
        handle, _ = _read_handle(content, place)
        entries: dict[bytes, bytes] = {}
        for _, value in _entries(_block(content, *handle)):
            entries.update(_entries(_block(content, *_read_handle(value, 0)[0])))
        return entries
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ExportError(f"The index of a checkpoint must be readable. Received: {path}: {error}.") from error


def write_index(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Write an index of one block, its entries in the order of their keys."""
    content = bytearray()
    ordered = sorted(entries.items())
    data = _append_block(content, _new_block(ordered))
    empty = _append_block(content, _new_block([]))
    index = _append_block(content, _new_block([(ordered[-1][0], data)]))
    content += (empty + index).ljust(_FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", _MAGIC)
    path.write_bytes(content)


def masked_crc32c(content: bytes) -> int:
    """Return the checksum that TensorFlow keeps of a stretch of bytes: CRC-32C, rotated and shifted by a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _CHECKSUM_MASK) & 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CRC32C_POLYNOMIAL if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]


# === Blocks ===


def _block(content: bytes, offset: int, size: int) -> bytes:
    block, trailer = content[offset : offset + size], content[offset + size : offset + size + _TRAILER_BYTES]
    kind, checksum = struct.unpack("<BI", trailer)
    if checksum != masked_crc32c(block + trailer[:1]):
        raise ValueError("a block's checksum is wrong")
    if kind != _UNCOMPRESSED:
        raise ValueError("it is compressed")
    return block


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's keys and values; a key is stored as what differs from the one before it."""
    (num_restarts,) = struct.unpack("<I", block[-4:])
    end, place, key = len(block) - 4 * (num_restarts + 1), 0, b""
    while place < end:
        shared, place = _read_varint(block, place)
        unshared, place = _read_varint(block, place)
        size, place = _read_varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        yield key, block[place + unshared : place + unshared + size]
        place += unshared + size


def _new_block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a block; a reader starts at its first entry, the only one whose key is whole."""
    block, before = bytearray(), b""
    for key, value in entries:
        shared = next((k for k, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), len(before))
        block += b"".join(map(_varint, (shared, len(key) - shared, len(value)))) + key[shared:] + value
        before = key
    return bytes(block) + struct.pack("<II", 0, 1)


def _append_block(content: bytearray, block: bytes) -> bytes:
    """Append a block with its trailer; return its handle."""
    handle = _varint(len(content)) + _varint(len(block))
    kind = bytes([_UNCOMPRESSED])
    content += block + kind + struct.pack("<I", masked_crc32c(block + kind))
    return handle


def _read_handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    offset, place = _read_varint(content, place)
    size, place = _read_varint(content, place)
    return (offset, size), place


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
