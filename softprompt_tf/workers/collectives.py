"""Sums and exchanges over all workers, by TensorFlow's collective operations, which need no process that all others ask.

A sum goes around in a ring: each worker sends twice the tensor's bytes, however many workers there are. All workers get the same
bits.
"""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensorflow_server_pb2
from tensorflow.python.eager import context  # has no public name

from softprompt_tf.errors import TrainingError, WorkerLostError
from softprompt_tf.workers.lost import told_of_loss
from softprompt_tf.workers.tf_config import JOBS, Cluster
from softprompt_tf.workers.watch import Watch

_GROUP = 7_301  # the number of the group of all workers; any that nobody else uses
_LENGTHS, _CHUNKS, _FIRST_SUM = 1, 2, 10  # numbers of operations in it, the same on each worker
_CHUNK = 4_096  # whole numbers of 4 bytes that are exchanged at once


def start_server(cluster: Cluster) -> None:
    """Make TensorFlow of this process one of the cluster's workers; others need not be there yet.

    Raises:
      TrainingError: if TensorFlow has run in this process before, or cannot listen at the worker's address.
    """
    _check_port(cluster)
    leader = next(job for job in JOBS if job in cluster.jobs)
    own = context.context()
    try:
        own.configure_collective_ops(
            collective_leader=f"/job:{leader}/replica:0/task:0",
            device_filters=(f"/job:{cluster.job}/task:{cluster.index}",),
        )
    except RuntimeError as error:
        raise TrainingError(
            "Workers are joined before TensorFlow does anything else. Received: a process in which it has run. Call "
            "`make_strategy('multi_worker')` first, before a T5 is loaded."
        ) from error
    own.enable_collective_ops(
        tensorflow_server_pb2.ServerDef(
            cluster=tf.train.ClusterSpec({job: list(each) for job, each in cluster.jobs.items()}).as_cluster_def(),
            default_session_config=own.config,
            job_name=cluster.job,
            task_index=cluster.index,
            protocol="grpc",
        )
    )
    try:
        own.ensure_initialized()
    except tf.errors.OpError as error:
        raise _cannot_listen(cluster, error) from error


def _check_port(cluster: Cluster) -> None:
    port = int(cluster.addresses[cluster.rank].rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise _cannot_listen(cluster, error) from error


def _cannot_listen(cluster: Cluster, error: Exception) -> TrainingError:
    return TrainingError(
        f"Worker {cluster.rank} must be able to listen at {cluster.addresses[cluster.rank]}. Received: {error}. End the process "
        "that has this port, or give another one in TF_CONFIG."
    )


class Collectives:
    """What the workers of one cluster do together. Each worker calls the same methods in the same order.

    Args:
      cluster: whose servers are all there.
      timeout_s: seconds that a worker is waited for.

    Attributes:
      rank, size, is_chief: this worker's number, how many there are, and whether it is number 0.
      bytes_in_sums: of the tensors that graphs traced so far sum up; a training step counts anew.
    """

    def __init__(self, cluster: Cluster, *, timeout_s: float):
        self.cluster = cluster
        self.rank, self.size, self.is_chief = cluster.rank, cluster.size, cluster.rank == 0
        self.bytes_in_sums = 0
        self.timeout_s = timeout_s
        self._next_key = _FIRST_SUM
        self._watch: Watch | None = None
        spec = tf.TensorSpec([1], tf.int32), tf.TensorSpec([_CHUNK], tf.int32)
        self._gather_lengths = self._gather_function(_LENGTHS, spec[0])
        self._gather_chunk = self._gather_function(_CHUNKS, spec[1])

    def begin(self) -> None:
        """Look after all workers from here on, and return when every one has come to this point."""
        if self._watch is None:
            others = [address for rank, address in enumerate(self.cluster.addresses) if rank != self.rank]
            self._watch = Watch(others, self._abort)
            self._watch.start()
        self.exchange(None)

    def part(self) -> None:
        """Return when every worker has come to this point; one that ends afterwards is not lost."""
        self.exchange(None)
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        # A worker ends after this, when no other one looks after it any more; some may be gone before all have heard of it.
        with contextlib.suppress(WorkerLostError):
            self.exchange(None)

    @contextlib.contextmanager
    def left_by_errors(self) -> Iterator[None]:
        """Let what the others wait for fail where an error leaves the `with` block."""
        try:
            yield
        except BaseException:
            self._abort(self.cluster.addresses[self.rank])
            raise

    def _abort(self, address: str) -> None:
        """Let what this worker and its neighbours wait for fail, as one has ended."""
        text = f"Collective operations need all workers; {self.cluster.name(address)} has ended."
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, text)

    def sum(self, value: Any) -> Any:
        """Return the sum of a tensor over all workers; also inside of a graph, which each worker traces alike."""
        value = tf.convert_to_tensor(value)
        key, self._next_key = self._next_key, self._next_key + 1
        if not tf.executing_eagerly():
            self.bytes_in_sums += value.dtype.size * (value.shape.num_elements() or 0)
        with tf.device("CPU:0"):
            return tf.raw_ops.CollectiveReduceV2(
                input=value, instance_key=key, merge_op="Add", final_op="Id", **self._group()
            )

    def sum_all(self, values: Sequence[Any]) -> list[Any]:
        """Return the sum of each tensor, by one exchange of all of them; None stays."""
        tensors = [tf.convert_to_tensor(value) for value in values if value is not None]
        if not tensors:
            return list(values)
        flat = self.sum(tf.concat([tf.reshape(tf.cast(tensor, tf.float32), [-1]) for tensor in tensors], 0))
        parts = iter(tf.split(flat, [tensor.shape.num_elements() for tensor in tensors]))
        pairs = iter([(tensor, next(parts)) for tensor in tensors])
        return [None if value is None else _like(*next(pairs)) for value in values]

    def exchange(self, value: Any) -> list[Any]:
        """Return what each worker has given, JSON values, the chief's first."""
        with told_of_loss(self):
            return [json.loads(content) for content in self._gather(json.dumps(value).encode())]

    def from_chief(self, content: bytes) -> bytes:
        """Return what the chief has given."""
        with told_of_loss(self):
            return self._gather(content if self.is_chief else b"")[0]

    def check_same(self, values: dict[str, str]) -> None:
        """Refuse workers that do not train the same.

        Args:
          values: what must be the same on all workers -> it, in short.

        Raises:
          TrainingError: names what differs, and where.
        """
        given = self.exchange(values)
        for rank, each in enumerate(given):
            differing = [name for name in given[0] if each.get(name) != given[0][name]]
            if differing:
                name = differing[0]
                raise TrainingError(
                    f"All workers must have the same {name}. Received: {given[0][name]} at the chief, {each.get(name)} at worker "
                    f"{rank} ({self.cluster.addresses[rank]}). Start all of them with the same files and settings."
                )

    def _gather(self, content: bytes) -> list[bytes]:
        lengths = self._gather_lengths(np.array([len(content)], np.int32)).numpy()
        parts: list[list[np.ndarray]] = [[] for _ in range(self.size)]
        numbers = np.frombuffer(content.ljust(-(-int(lengths.max()) // (4 * _CHUNK)) * 4 * _CHUNK, b"\0"), np.int32)
        for start in range(0, len(numbers), _CHUNK):
            gathered = self._gather_chunk(numbers[start : start + _CHUNK]).numpy().reshape(self.size, _CHUNK)
            for part, row in zip(parts, gathered, strict=True):
                part.append(row)
        joined = [np.concatenate([np.zeros(0, np.int32), *part]).tobytes() for part in parts]
        return [each[:length] for each, length in zip(joined, lengths, strict=True)]

    def _gather_function(self, key: int, spec: tf.TensorSpec) -> Any:
        def gather(value: Any) -> Any:
            with tf.device("CPU:0"):
                return tf.raw_ops.CollectiveGatherV2(input=value, instance_key=key, **self._group())

        return tf.function(gather, input_signature=[spec], autograph=False)

    def _group(self) -> dict[str, Any]:
        return {
            "group_size": self.size,
            "group_key": _GROUP,
            "ordering_token": [],
            "communication_hint": "ring",
            "timeout_seconds": self.timeout_s,
        }


def _like(tensor: Any, flat: Any) -> Any:
    return tf.cast(tf.reshape(flat, tensor.shape), tensor.dtype)
