"""Join the workers of a training: a server of TensorFlow's collective operations in each process, and the sums over all.

Keras's `fit` does not run under `tf.distribute.MultiWorkerMirroredStrategy` (Keras 3.15, keras#20585). Its parts do: every process
fits a model of its own on one device, and this module sums up over the processes, by the same operations as the strategy.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from softprompt_tf.errors import ConfigError, TrainingError, WorkerLostError
from softprompt_tf.workers.tf_config import Cluster, read_cluster
from softprompt_tf.workers.watch import answers

if TYPE_CHECKING:
    from softprompt_tf.workers.collectives import Collectives

JOIN_VARIABLE = "SOFTPROMPT_JOIN_TIMEOUT_S"
JOIN_TIMEOUT_S = 300.0  # for all workers to be there
WORKER_VARIABLE = "SOFTPROMPT_WORKER_TIMEOUT_S"
WORKER_TIMEOUT_S = 600.0  # for a worker that is there to take part in a sum
_TRY_EVERY_S = 0.2
_TELL_AFTER_S = 10.0

_joined: "Collectives | None" = None  # of this process, to its end
_active: "Collectives | None" = None


def joined() -> "Collectives | None":
    """Return what sums over the workers of the training that is going on; None where one process trains alone."""
    return _active


def own_part() -> tuple[int, int]:
    """Return this worker's number, from 0, and how many workers there are: (0, 1) where one process trains alone."""
    return (0, 1) if _active is None else (_active.rank, _active.size)


def is_chief() -> bool:
    """Return whether this process writes files and speaks: the chief of several workers, or the one that trains alone."""
    return own_part()[0] == 0


def join_workers() -> "Collectives":
    """Join the workers that TF_CONFIG names, wait until all are there, and train together from here on.

    Raises:
      ConfigError: if TF_CONFIG does not describe a cluster and this process's place in it.
      BackendError: under another Keras backend than TensorFlow.
      TrainingError: if TensorFlow has run in this process before, or the worker's own address cannot be used.
      WorkerLostError: if a worker is not there in time: 300 seconds, or SOFTPROMPT_JOIN_TIMEOUT_S.
    """
    global _joined, _active
    from softprompt_tf.keras_backend import require_tensorflow

    require_tensorflow("Several workers")
    cluster = read_cluster()
    if _joined is None:
        _joined = _connected(cluster)
    elif _joined.cluster != cluster:
        raise TrainingError(
            "A process belongs to one cluster. Received: another TF_CONFIG than before. Start a new process."
        )
    _active = _joined
    return _joined


@contextlib.contextmanager
def working_together() -> Iterator["Collectives"]:
    """Train together with the workers that TF_CONFIG names in a `with` block, which all of them leave together.

    A worker that leaves it by an error ends the others, also where its process goes on. It cannot join again.
    """
    global _active
    before = _active
    try:
        workers = join_workers()
        with workers.left_by_errors():
            yield workers
        workers.part()
    finally:
        _active = before


def _connected(cluster: Cluster) -> "Collectives":
    from softprompt_tf.workers.collectives import Collectives, start_server

    limits = {name: _seconds(name, default) for name, default in _LIMITS.items()}
    start_server(cluster)
    _wait_for(cluster, limits[JOIN_VARIABLE])
    collectives = Collectives(cluster, timeout_s=limits[WORKER_VARIABLE])
    collectives.begin()
    return collectives


def _wait_for(cluster: Cluster, limit_s: float) -> None:
    """Return when every worker's address answers."""
    from softprompt_tf.progress import say  # here, as most commands never wait

    started, told, missing = time.monotonic(), False, list(cluster.addresses)
    while missing := [address for address in missing if not answers(address)]:
        waited = time.monotonic() - started
        if waited > limit_s:
            raise WorkerLostError(
                f"All {cluster.size} workers must be there within {limit_s:g} seconds. Received: no answer from "
                f"{', '.join(missing)}. Start these workers too, look at what they say, or set {JOIN_VARIABLE}."
            )
        if waited > _TELL_AFTER_S and not told:
            told = True
            say(f"Waiting for {len(missing)} of {cluster.size} workers: {', '.join(missing)}")
        time.sleep(_TRY_EVERY_S)


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} must be a number of seconds above 0. Received: {text!r}.")
    return value


_LIMITS = {JOIN_VARIABLE: JOIN_TIMEOUT_S, WORKER_VARIABLE: WORKER_TIMEOUT_S}
