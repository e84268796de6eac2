"""SuperGLUE's score from the metrics of its eight tasks."""

from collections.abc import Mapping

from softprompt_tf.errors import ConfigError

SUPERGLUE_TASKS = tuple(
    f"superglue_{name}" for name in ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
)
"""The names of the shipped task files of SuperGLUE."""


def superglue_score(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Return the leaderboard's score: a task's metrics are averaged first, then the eight tasks.

    Args:
      metrics: task name -> metric name -> value; other tasks than `SUPERGLUE_TASKS` are not looked at.

    Raises:
      ConfigError: if one of the eight tasks is missing or has no metric.

    Source: Wang et al. 2019, SuperGLUE, arXiv:1905.00537, section 3.3. The leaderboard's two diagnostic sets do not count.
    """
    missing = [name for name in SUPERGLUE_TASKS if not metrics.get(name)]
    if missing:
        raise ConfigError(
            f"SuperGLUE's score needs the metrics of all eight tasks. Received: none of {', '.join(missing)}."
        )
    means = [sum(metrics[name].values()) / len(metrics[name]) for name in SUPERGLUE_TASKS]
    return sum(means) / len(means)
