"""Where the weights of a loaded checkpoint lie, and how little is held beside them."""

import dataclasses
import mmap

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.backbones.checkpoints import assemble_backbone, checkpoint, int8_kernel, open_checkpoint
from softprompt_tf.backbones.checkpoints.architecture import build_backbone
from softprompt_tf.backbones.checkpoints.weight_memory import (
    as_array,
    as_tensor,
    unwritten,
    without_initializers,
)

KINDS = [("float32", None), ("bfloat16", None), ("bfloat16", "int8")]


def address(tensor) -> int:
    if tensor.dtype == tf.bfloat16:  # which Python's buffers do not know
        tensor = tf.bitcast(tensor, tf.uint16)
    return np.frombuffer(memoryview(tensor), np.uint8).__array_interface__["data"][0]


@pytest.fixture
def opened(hugging_face):
    return open_checkpoint(hugging_face("t5_1_1"))


@pytest.fixture
def reads(opened):
    """The checkpoint, and a list that gets the name and the shape of each block that is read of it."""
    seen = []

    def watched(tensor):
        def read(rows):
            block = tensor.read(rows)
            seen.append((tensor.name, block.shape))
            return block

        return dataclasses.replace(tensor, read=read)

    tensors = {name: watched(tensor) for name, tensor in opened.tensors.items()}
    return dataclasses.replace(opened, tensors=tensors), seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_tensor_is_the_arrays_own_memory(dtype):
    value = unwritten((3, 5), dtype)
    tensor = as_tensor(value)

    value[1, 2] = 7  # after the tensor was made

    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.numpy().astype(np.float32).nonzero(), ([1], [2]))


def test_bfloat16_keeps_its_values():
    value = unwritten((2,), "bfloat16")
    value[:] = [1.5, -0.25]

    assert value.dtype == ml_dtypes.bfloat16
    assert as_tensor(value).numpy().astype(np.float32).tolist() == [1.5, -0.25]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_array_is_the_variables_own_memory_and_keeps_its_values(dtype):
    variable = keras.Variable([[1.5, -2.0]], dtype=dtype)

    array = as_array(variable)
    held_at = address(variable.value.read_value())
    variable.assign([[3.0, 4.0]])

    assert array.__array_interface__["data"][0] == held_at
    np.testing.assert_array_equal(array.astype(np.float32), [[1.5, -2.0]])
    np.testing.assert_array_equal(as_array(variable).astype(np.float32), [[3.0, 4.0]])


def test_an_array_of_weights_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        as_array(keras.Variable([1.0]))[0] = 2.0


def test_an_array_can_be_of_a_tensor():
    np.testing.assert_array_equal(as_array(tf.constant([1.0, 2.0])), [1.0, 2.0])


@pytest.mark.parametrize("shape", [(), (0, 4), (1,)], ids=str)
def test_small_and_empty_arrays_are_zeros(shape):
    np.testing.assert_array_equal(unwritten(shape, "float32"), np.zeros(shape, np.float32))


def test_a_model_that_is_not_filled_is_zeros(opened):
    backbone = without_initializers(lambda: build_backbone(opened.architecture, dtype="float32"))

    assert len(backbone.weights) == len(opened.tensors)
    assert not any(keras.ops.convert_to_numpy(weight).any() for weight in backbone.weights)


def test_no_random_number_is_drawn(opened, monkeypatch):
    drawn = []

    def watched(self, shape, dtype=None, **kwargs):
        if tf.executing_eagerly():  # Keras asks for symbolic values too, which are never computed
            drawn.append(shape)
        return tf.zeros(shape, dtype)

    for kind in (keras.initializers.RandomNormal, keras.initializers.TruncatedNormal, keras.initializers.GlorotUniform):
        monkeypatch.setattr(kind, "__call__", watched)

    assemble_backbone(opened, dtype="float32")

    assert drawn == []


@pytest.mark.parametrize(("dtype", "quantization"), KINDS, ids=str)
def test_every_weight_lies_in_a_mapping_of_its_own(opened, dtype, quantization):
    backbone, _ = assemble_backbone(opened, dtype=dtype, quantization=quantization)

    weights = [weight for weight in backbone.weights if not weight.path.endswith("kernel_scale")]
    addresses = [address(weight.value.read_value()) for weight in weights]
    assert {place % mmap.PAGESIZE for place in addresses} == {0}
    assert len(set(addresses)) == len(opened.tensors)


@pytest.mark.parametrize(("dtype", "quantization"), KINDS, ids=str)
def test_the_largest_weights_are_read_first(reads, dtype, quantization):
    watched, seen = reads

    assemble_backbone(watched, dtype=dtype, quantization=quantization)

    by_name = {tensor.name: int(np.prod(tensor.shape)) for tensor in watched.tensors.values()}
    sizes = [by_name[name] for name, _ in seen]
    assert sizes == sorted(sizes, reverse=True)
    assert len({name for name, _ in seen}) == len(by_name)


@pytest.mark.parametrize(("dtype", "quantization"), KINDS, ids=str)
def test_no_block_is_larger_than_the_limit(reads, monkeypatch, dtype, quantization):
    watched, seen = reads
    widest = max(tensor.shape[-1] for tensor in watched.tensors.values())
    blocks = checkpoint.StoredTensor.blocks
    monkeypatch.setattr(checkpoint.StoredTensor, "blocks", lambda self: blocks(self, 2 * widest))

    assemble_backbone(watched, dtype=dtype, quantization=quantization)

    assert max(int(np.prod(shape)) for _, shape in seen) <= 2 * widest
    assert len(seen) > len(watched.tensors)


def test_int8_made_of_some_outputs_at_a_time_is_the_same(opened, monkeypatch):
    whole, _ = assemble_backbone(opened, dtype="float32", quantization="int8")
    monkeypatch.setattr(int8_kernel, "_BLOCK_COLUMNS", 3)

    parts, _ = assemble_backbone(opened, dtype="float32", quantization="int8")

    for ours, theirs in zip(parts.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))
