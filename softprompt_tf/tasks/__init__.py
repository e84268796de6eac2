"""Tasks: from rows of data to batches of token ids, and from written texts to metrics."""

from softprompt_tf.tasks.cut_texts import UNKNOWN_ID, CutTexts, tell_counts, tell_cut_examples, tell_cut_texts
from softprompt_tf.tasks.drawn_rows import sample
from softprompt_tf.tasks.label_tokens import check_labels, warn_of_labels
from softprompt_tf.tasks.lacking_rows import tell_of_lacking_rows, warn_of_lacking_rows
from softprompt_tf.tasks.length_windows import LENGTH_BUCKETS, shuffled_by_length
from softprompt_tf.tasks.mapped import mapped
from softprompt_tf.tasks.metrics import METRICS, SUPERGLUE_TASKS, compute_metrics, score, superglue_score
from softprompt_tf.tasks.pipeline import BatchStream, evaluation_batches, is_short_target
from softprompt_tf.tasks.postprocessors import POSTPROCESSORS, postprocessed
from softprompt_tf.tasks.prefetched import prefetched
from softprompt_tf.tasks.preprocessors import PREPROCESSORS, preprocessed
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.shared_texts import tell_of_shared_texts, warn_of_shared_texts
from softprompt_tf.tasks.sources import read_rows
from softprompt_tf.tasks.task import Example, Task
from softprompt_tf.tasks.task_table import load_task, task_table
from softprompt_tf.tasks.template import Template
from softprompt_tf.tasks.tokenized import TokenizedExamples, ended_ids, label_id, tokenize_examples

__all__ = [
    "LENGTH_BUCKETS",
    "METRICS",
    "POSTPROCESSORS",
    "PREPROCESSORS",
    "SUPERGLUE_TASKS",
    "UNKNOWN_ID",
    "BatchStream",
    "CutTexts",
    "Example",
    "Row",
    "Task",
    "Template",
    "TokenizedExamples",
    "check_labels",
    "compute_metrics",
    "ended_ids",
    "evaluation_batches",
    "is_short_target",
    "label_id",
    "load_task",
    "mapped",
    "postprocessed",
    "prefetched",
    "preprocessed",
    "read_rows",
    "sample",
    "score",
    "shuffled_by_length",
    "superglue_score",
    "task_table",
    "tell_counts",
    "tell_cut_examples",
    "tell_cut_texts",
    "tell_of_lacking_rows",
    "tell_of_shared_texts",
    "tokenize_examples",
    "warn_of_labels",
    "warn_of_lacking_rows",
    "warn_of_shared_texts",
]
