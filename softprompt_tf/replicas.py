"""Sums over the replicas of a `tf.distribute` strategy, and nothing to do where there is one device."""

import keras

from softprompt_tf.typing import Tensor


def sum_over_replicas(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all replicas; outside of a replica, the tensor itself."""
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    # Keras builds its symbols outside of any replica: there is nothing to sum there.
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def mean_over_replicas(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all replicas; outside of a replica, the tensor itself."""
    return sum_over_replicas(value / num_replicas())


def num_replicas() -> int:
    """Return how many replicas share a batch; 1 outside of a replica."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else int(replica.num_replicas_in_sync)


def replica_number() -> Tensor | int:
    """Return which of the replicas this is, from 0; 0 outside of a replica."""
    if keras.backend.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return 0
    return tf.cast(replica.replica_id_in_sync_group, tf.int64)
