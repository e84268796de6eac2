"""Read and check TF Serving's file of batching parameters.

The file is a `BatchingParameters` message in protobuf's text format. tensorflow-serving-api does not carry its class,
so the message is described here, by its names alone: a text file holds no field numbers.

Source: tensorflow/serving servables/tensorflow/session_bundle_config.proto (fields), bundle_factory_util.{h,cc} and
batching/batching_session.cc (rules: the last allowed size is `max_batch_size`, also where requests are split);
tensorflow/tensorflow core/kernels/batching_util/shared_batch_scheduler.h (defaults).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from softprompt_tf.errors import ServingError

# In a message class of their own, so that a field which is left out differs from 0.
_WRAPPED = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged into one run; names, defaults and rules are TF Serving's.

    Attributes:
      max_batch_size: most rows of a request, and of a run where large requests are not split.
      batch_timeout_micros: how long the first request of a batch waits for others while a thread is free, in us.
      max_enqueued_batches: batches of one queue that may wait, the open one included.
      num_batch_threads: runs at the same time, over all queues; 0 means one per core.
      thread_pool_name: of those threads.
      allowed_batch_sizes: a run's rows are filled up to the next of these sizes; empty means that any size will do.
      pad_variable_length_inputs: fill up the other dimensions with a tensor's first element, where they differ.
      enable_large_batch_splitting: split a request over several runs.
      max_execution_batch_size: rows of a run where large requests are split; 0 means `max_batch_size`.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if a value is out of range.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches"):
            _require(getattr(self, name) > 0, f"{name} must be positive; was {getattr(self, name)}")
        for name in ("batch_timeout_micros", "num_batch_threads", "max_execution_batch_size"):
            _require(getattr(self, name) >= 0, f"{name} must be non-negative; was {getattr(self, name)}")
        _require(
            not self.enable_large_batch_splitting or self.rows_of_a_run <= self.max_batch_size,
            "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to"
            f" max_execution_batch_size. max_batch_size: {self.max_batch_size}; max_execution_batch_size:"
            f" {self.max_execution_batch_size}",
        )
        self._check_allowed_sizes()

    def _check_allowed_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        _require(
            list(sizes) == sorted(set(sizes)) and min(sizes, default=1) > 0,
            "allowed_batch_sizes entries must be monotonically increasing",
        )
        _require(
            not sizes or sizes[-1] == self.max_batch_size,
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1:] and sizes[-1]};"
            f" expected {self.max_batch_size}",
        )

    @property
    def rows_of_a_run(self) -> int:
        """Most rows of one run, before they are filled up."""
        if not self.enable_large_batch_splitting:
            return self.max_batch_size
        return self.max_execution_batch_size or self.max_batch_size

    @property
    def threads(self) -> int:
        return self.num_batch_threads or os.cpu_count() or 1

    def rows_with_padding(self, rows: int) -> int:
        """Return the smallest allowed size that holds `rows`; `rows` itself where none does."""
        return min((size for size in self.allowed_batch_sizes if size >= rows), default=rows)


def read_batching_parameters(path: str | Path) -> BatchingParameters:
    """Read a batching parameters file.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if the file is no such message or breaks a rule; NOT_FOUND, if it
        cannot be read.
    """
    message = read_text_proto(path, _message_class())
    values: dict[str, Any] = {
        name: getattr(message, name).value
        for name in _WRAPPED
        if name != "num_batch_threads" and message.HasField(name)
    }
    if message.HasField("num_batch_threads"):
        threads = message.num_batch_threads.value
        _require(threads > 0, f"num_batch_threads must be positive; was {threads}")
        values["num_batch_threads"] = threads
    return BatchingParameters(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        **values,
    )


def read_text_proto(path: str | Path, message_class: Callable[[], Any]) -> Any:
    """Return the message of `message_class` that a file holds in protobuf's text format.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if the file holds no such message; NOT_FOUND, if it cannot be read.
    """
    try:
        return text_format.Parse(Path(path).read_bytes(), message_class())
    except OSError as error:
        raise ServingError(f"{path}; {error.strerror}", status="NOT_FOUND") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(f"Invalid protobuf file: '{path}' (at {error})", status="INVALID_ARGUMENT") from error


def _message_class() -> Any:
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="batching_parameters.proto", package="batching", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for number, (name, kind) in enumerate(_WRAPPED.items(), start=1):
        field = message.field.add(name=name, number=number, label=types.LABEL_OPTIONAL)
        field.type, field.type_name = types.TYPE_MESSAGE, f".google.protobuf.{kind}"
    scalar = {"label": types.LABEL_OPTIONAL, "type": types.TYPE_BOOL}
    message.field.add(name="pad_variable_length_inputs", number=100, **scalar)
    repeated = {"label": types.LABEL_REPEATED, "type": types.TYPE_INT64}
    message.field.add(name="allowed_batch_sizes", number=101, **repeated)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("batching.BatchingParameters"))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ServingError(message, status="INVALID_ARGUMENT")
