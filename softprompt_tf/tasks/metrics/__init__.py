"""Metrics over texts, for label tasks and for free text."""

from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows
from softprompt_tf.tasks.metrics.registry import METRICS, Metric, check_metrics, compute_metrics, score
from softprompt_tf.tasks.metrics.superglue import SUPERGLUE_TASKS, superglue_score

__all__ = [
    "METRICS",
    "SUPERGLUE_TASKS",
    "AnsweredRows",
    "Metric",
    "check_metrics",
    "compute_metrics",
    "score",
    "superglue_score",
]
