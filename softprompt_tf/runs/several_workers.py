"""A run that several processes share: what of it they can do, and whether all of them do the same."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from softprompt_tf.config import RunConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.runs.task_data import TaskData
from softprompt_tf.tasks.data_digest import examples_digest
from softprompt_tf.tasks.pipeline import check_part
from softprompt_tf.training.distribution import MULTI_WORKER
from softprompt_tf.version import __version__
from softprompt_tf.workers import joined, read_cluster, working_together

_OWN_SETTINGS: Any = {"output_dir": True, "training": {"states_directory"}}  # of each worker


@contextlib.contextmanager
def shared_run(config: RunConfig) -> Iterator[None]:
    """Join the workers of a run in a `with` block, where its strategy is multi_worker.

    Raises:
      ConfigError: if TF_CONFIG is wrong, or the run cannot be shared.
      TrainingError, WorkerLostError: if the workers cannot be joined.
    """
    if config.training.strategy != MULTI_WORKER:
        yield
        return
    cluster = read_cluster()
    check_can_be_shared(config, cluster.size)
    with working_together():
        yield


def check_can_be_shared(config: RunConfig, size: int) -> None:
    """Refuse a config that so many workers cannot train together; a ConfigError."""
    training = config.training
    if training.optimizer == "autoprompt":
        raise _refusal("training.optimizer: adafactor or adam", f"training.optimizer={training.optimizer}")
    if training.precision == "auto":
        raise _refusal("training.precision: float32 or bfloat16", "training.precision=auto, which one process measures")
    if training.cached_states not in ("auto", "off"):
        raise _refusal("training.cached_states: auto or off", f"training.cached_states={training.cached_states}")
    if training.micro_batch_size is not None:
        raise _refusal("training.micro_batch_size: null", f"training.micro_batch_size={training.micro_batch_size}")
    if training.devices is not None:
        raise _refusal("training.devices: null", f"training.devices={list(training.devices)}")
    check_part((0, size), training.batch_size)


def _refusal(rule: str, received: str) -> ConfigError:
    return ConfigError(f"`training.strategy: multi_worker` needs `{rule}`. Received: {received}.")


def check_same_run_everywhere(config: RunConfig, data: Sequence[TaskData], fingerprint: str) -> None:
    """Refuse workers with other settings, rows or backbones; a TrainingError that names what differs."""
    workers = joined()
    if workers is None:
        return
    settings = config.model_dump(mode="json", exclude=_OWN_SETTINGS)
    rows = [examples_digest(rows) for each in data for rows in (each.train, each.validation, each.test)]
    workers.check_same(
        {
            "version of softprompt-tf": __version__,
            "config": _digest(settings),
            "rows": _digest(rows),
            "backbone": fingerprint,
        }
    )


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
