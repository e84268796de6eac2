"""Tensors of several requests to one batch and back: rows are merged along dim 0 and the answers split again.

Every function is pure. Refusals have TF Serving's statuses and texts, its missing spaces included.

Source: tensorflow/serving batching/batching_session.cc (MergeInputTensors, SplitOutputTensors, SplitInputTask) and
batching/batching_util.{h,cc} (ComputeTensorBatchSize, AddPadding).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

from softprompt_tf.errors import ServingError

Tensors: TypeAlias = Mapping[str, tf.Tensor]

_MAX_PADDED_RANK = 6


def count_rows(shapes: Iterable[Sequence[int]]) -> int:
    """Return the dim 0 that all inputs of a request share.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if there is no input, one is a scalar, or the sizes differ.
    """
    sizes = set()
    for shape in shapes:
        if not len(shape):
            raise _refusal("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension")
        sizes.add(int(shape[0]))
    if not sizes:
        raise _refusal("INVALID_ARGUMENT", "Batching Run() must have at least one input tensor")
    if len(sizes) > 1:
        raise _refusal("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def merge_rows(requests: Sequence[Tensors], *, padding_rows: int, pad_shapes: bool) -> dict[str, tf.Tensor]:
    """Return one tensor per input with the rows of all requests, and `padding_rows` more at the end.

    Args:
      requests: inputs by name; all requests have the same names and ranks.
      padding_rows: how often the first row of the last request that has one is repeated at the end.
      pad_shapes: fill up dimensions other than the first where requests differ; else they must be equal.

    Raises:
      ServingError: with status FAILED_PRECONDITION, if shapes differ and are not to be filled up.
    """
    merged = {}
    for name in requests[0]:
        tensors = [request[name] for request in requests]
        if pad_shapes and len({tensor.shape.rank for tensor in tensors}) > 1:
            raise _refusal("INTERNAL", f"Tensors with name '{name}' from different tasks have different ranks.")
        if pad_shapes:
            dims = [max(sizes) for sizes in zip(*(tensor.shape.as_list() for tensor in tensors), strict=False)]
            tensors = [_fill_up(tensor, dims) for tensor in tensors]
        elif any(tensor.shape[1:] != tensors[0].shape[1:] for tensor in tensors):
            raise _refusal(
                "FAILED_PRECONDITION",
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
                "have equal dimensions starting with the first dim.",
            )
        if padding_rows:
            last = next(tensor for tensor in reversed(tensors) if tensor.shape[0])
            tensors.append(tf.repeat(last[:1], padding_rows, axis=0))
        merged[name] = tensors[0] if len(tensors) == 1 else _concat(tensors)
    return merged


def split_rows(outputs: Tensors, sizes: Sequence[int], *, padding_rows: int) -> list[dict[str, tf.Tensor]]:
    """Return each request's rows of the outputs; the padding rows at the end are dropped.

    Raises:
      ServingError: with status FAILED_PRECONDITION, if an output is a scalar or has another number of rows.
    """
    expected = sum(sizes) + padding_rows
    parts: list[dict[str, tf.Tensor]] = [{} for _ in sizes]
    for name, tensor in outputs.items():
        if not tensor.shape.rank:
            raise _refusal("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if tensor.shape[0] != expected:
            raise _refusal(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input"
                " tensors",
            )
        start = 0
        for part, size in zip(parts, sizes, strict=True):
            part[name] = tensor[start : start + size]
            start += size
    return parts


def cut_rows(inputs: Tensors, sizes: Sequence[int]) -> list[dict[str, tf.Tensor]]:
    """Return one request as several of the given numbers of rows."""
    return split_rows(inputs, sizes, padding_rows=0)


def join_rows(parts: Sequence[Tensors]) -> dict[str, tf.Tensor]:
    """Return the outputs of a request that ran in parts."""
    return {name: _concat([part[name] for part in parts]) for name in parts[0]}


def _fill_up(tensor: tf.Tensor, dims: Sequence[int]) -> tf.Tensor:
    missing = [0, *(dim - size for dim, size in zip(dims[1:], tensor.shape[1:], strict=True))]
    if not any(missing):
        return tensor
    if not 1 <= tensor.shape.rank <= _MAX_PADDED_RANK:
        raise _refusal("INVALID_ARGUMENT", "Only tensors with rank from 1 to 6 can be padded.")
    if not tf.size(tensor):
        raise _refusal("INVALID_ARGUMENT", "Got empty tensor in batch of non-empty tensors.")
    first = tf.reshape(tensor, [-1])[0]
    return tf.pad(tensor, [[0, count] for count in missing], constant_values=first)


def _concat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    for tensor in tensors:
        if tensor.dtype != tensors[0].dtype:
            raise _refusal(
                "INTERNAL",
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different data"
                f" types. Got {tensors[0].dtype.name} and {tensor.dtype.name}.",
            )
    try:
        return tf.concat(tensors, axis=0)
    except (tf.errors.OpError, TypeError, ValueError) as error:
        raise _refusal("INTERNAL", f"Tensor concat operation failed: {error}") from error


def _refusal(status: str, message: str) -> ServingError:
    return ServingError(message, status=status)
