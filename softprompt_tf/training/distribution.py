"""Choose a `tf.distribute.Strategy` by name."""

import difflib

import tensorflow as tf

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.workers import join_workers

MULTI_WORKER = "multi_worker"


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Return the strategy of that name.

    Args:
      name: "default" (one device), "mirrored" (all accelerators of this machine, each holds a copy of the model) or
        "tpu" (the TPU of this machine, or the one that TPU_NAME names) or "multi_worker" (the processes that TF_CONFIG names,
        which are waited for and train together from here on; this process has one device of its own).

    Raises:
      ConfigError: if the name is unknown, or TF_CONFIG does not describe a cluster.
      TrainingError: if "tpu" is asked for where there is no TPU, or workers cannot be joined.
    """
    if name not in _STRATEGIES:
        nearest = difflib.get_close_matches(name, _STRATEGIES, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"`strategy` must be one of {', '.join(_STRATEGIES)}. Received: strategy={name!r}. "
            f"Did you mean {nearest!r}?"
        )
    return _STRATEGIES[name]()


def check_is_one_process(name: str, what: str) -> None:
    """Refuse several workers for what only one process can do; a ConfigError.

    Args:
      name: of the strategy that was asked for.
      what: the start of the message, a singular such as "A sweep".
    """
    if name == MULTI_WORKER:
        raise ConfigError(
            f"{what} runs in one process. Received: strategy={name}. Use default or mirrored; `softprompt train` takes {name}."
        )


def _multi_worker_strategy() -> tf.distribute.Strategy:
    join_workers()
    return tf.distribute.get_strategy()


def _tpu_strategy() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise TrainingError(
            f"Strategy 'tpu' needs a TPU. Received: {error} Set TPU_NAME, or use strategy 'default' or 'mirrored'."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_STRATEGIES = {
    "default": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "tpu": _tpu_strategy,
    MULTI_WORKER: _multi_worker_strategy,
}
