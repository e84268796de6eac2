"""Tell of a worker that was lost, in one line, where TensorFlow says that a sum or an exchange has failed."""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from softprompt_tf.errors import WorkerLostError
from softprompt_tf.workers.tf_config import Cluster

if TYPE_CHECKING:
    from softprompt_tf.workers.collectives import Collectives

_LOST = {
    "UnavailableError",
    "DeadlineExceededError",
    "AbortedError",
    "CancelledError",
    "FailedPreconditionError",
}
_OF_SUMS = re.compile("[Cc]ollective|RecvBuf")
_REMOTE = re.compile(r"/job:(\w+)/replica:0/task:(\d+)\b")


@contextlib.contextmanager
def told_of_loss(collectives: "Collectives | None") -> Iterator[None]:
    """Say in one line which worker was lost, where a sum or an exchange within this context failed for it."""
    if collectives is None:
        yield
        return
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if type(error).__name__ not in _LOST or not _OF_SUMS.search(str(error)):
            raise
        raise _lost(collectives, error) from error


def _lost(collectives: "Collectives", error: Exception) -> WorkerLostError:
    if type(error).__name__ == "DeadlineExceededError":
        why = f"one that has not taken part for {collectives.timeout_s:g} seconds"
    else:
        why = _peer(collectives.cluster, str(error))
    return WorkerLostError(
        f"All {collectives.size} workers train together to the end. Received: {why}. Look at what it says, then start all of them "
        "again: the run goes on from its last checkpoint."
    )


def _peer(cluster: Cluster, text: str) -> str:
    """Return the worker whose loss an error of TensorFlow tells of."""
    named = _REMOTE.search(text)  # the first one is the innermost: others have heard of it from their neighbours
    if named is None or named[1] not in cluster.jobs or int(named[2]) >= len(cluster.jobs[named[1]]):
        return "the loss of a worker"
    rank = Cluster(cluster.jobs, named[1], int(named[2])).rank
    return f"the loss of worker {rank}{' (the chief)' if rank == 0 else ''} at {cluster.addresses[rank]}"
