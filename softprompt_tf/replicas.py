"""Sums over the replicas of a `tf.distribute` strategy and over workers, and nothing to do where there is one device."""

import keras

from softprompt_tf.typing import Tensor
from softprompt_tf.workers.cluster import joined, own_part


def sum_over_replicas(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all replicas of all workers; outside of a replica, the tensor itself."""
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    # Keras builds its symbols outside of any replica: there is nothing to sum there.
    replica = tf.distribute.get_replica_context()
    if replica is None:
        return value
    if replica.num_replicas_in_sync > 1:
        value = replica.all_reduce(tf.distribute.ReduceOp.SUM, value)
    workers = joined()
    return value if workers is None else workers.sum(value)


def sum_of_shares(value: Tensor) -> Tensor:
    """Return a batch's loss from the shares of all replicas, which Keras has multiplied by the number of a worker's own."""
    return sum_over_replicas(value / _own_replicas())


def num_replicas() -> int:
    """Return how many replicas, of all workers, share a batch; 1 outside of a replica."""
    return _own_replicas() * own_part()[1]


def on_tpu() -> bool:
    """Return whether the strategy in use runs on TPUs, for which XLA compiles all."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def _own_replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else int(replica.num_replicas_in_sync)


def replica_number() -> Tensor | int:
    """Return which of the replicas of all workers this is, from 0; 0 outside of a replica."""
    if keras.backend.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return own_part()[0]
    return own_part()[0] * _own_replicas() + tf.cast(replica.replica_id_in_sync_group, tf.int64)
