"""Metrics over texts: what should have been written and what was written enter, a number per metric leaves, so that
label tasks and free text are scored by the same call."""

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
