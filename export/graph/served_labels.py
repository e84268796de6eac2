"""In a served graph: labels that have rows of their own, beside labels whose words are scored, in one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.export.graph.graph_functions import GraphFunctions
from softprompt_tf.export.graph.member_rows import MemberRows
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.inference.answers import NO_SCORE
from softprompt_tf.methods.task_tensors import LABEL_ROWS


class _Own(NamedTuple):
    """What B' rows of a batch have; C is the largest number of labels."""

    has_rows: tf.Tensor  # bool [B'], whether the task has label rows; the others mean nothing where it has none
    scores: tf.Tensor  # float32 [B', C]
    words: tf.Tensor  # string [B', C]
    is_label: tf.Tensor  # bool [B', C], which of them are labels; the others are padding, ""
    log_probabilities: tf.Tensor  # float32 [B', C]


class ServedLabels(NamedTuple):
    """Answers of tasks with label rows. A graph without a table of them has no operation for it.

    Args:
      tables: of the tasks.
      functions: of the graph.
    """

    tables: TaskTables
    functions: GraphFunctions

    def scores(
        self, encoded: Sequence[tf.Tensor], task: tf.Tensor, members: MemberRows, scores: tf.Tensor
    ) -> tf.Tensor:
        """Return the scores [B', C] of labels, those of words where a task has no rows.

        Args:
          encoded: what the graph's `encode` gave.
          task: int32 [B].
          members: of the batch.
          scores: those of words.
        """
        if self.functions.score_labels is None:
            return scores
        own = self._own(encoded, task, members)
        return tf.where(own.has_rows[:, None], own.scores, scores)

    def texts(
        self,
        encoded: Sequence[tf.Tensor],
        task: tf.Tensor,
        members: MemberRows,
        texts: tf.Tensor,
        scores: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the likeliest label and its log-probability where a task has rows, and else texts and scores [B'] as given."""
        if self.functions.score_labels is None:
            return texts, scores
        own = self._own(encoded, task, members)
        best = tf.argmax(own.log_probabilities, axis=1)
        word, score = (tf.gather(part, best, batch_dims=1) for part in (own.words, own.log_probabilities))
        return tf.where(own.has_rows, word, texts), tf.where(own.has_rows, score, scores)

    def targets(
        self,
        encoded: Sequence[tf.Tensor],
        task: tf.Tensor,
        members: MemberRows,
        target: tf.Tensor,
        scores: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return the log-likelihood of targets [B'], and a status [B] for those that are no label where a task has rows."""
        if self.functions.score_labels is None:
            return scores, None
        own = self._own(encoded, task, members)
        is_it = (own.words == members.spread(target)[:, None]) & own.is_label
        log_likelihood = tf.reduce_sum(tf.where(is_it, own.log_probabilities, 0.0), axis=1)
        is_wrong = own.has_rows & ~tf.reduce_any(is_it, axis=1)
        is_wrong = tf.math.segment_max(tf.cast(is_wrong, tf.int32), members.request) > 0
        status = tf.where(is_wrong, "The target must be one of the task's labels.", "")
        return tf.where(own.has_rows, log_likelihood, scores), status

    def _own(self, encoded: Sequence[tf.Tensor], task: tf.Tensor, members: MemberRows) -> _Own:
        task = members.spread(task)
        rows, mask = self.tables.rows(LABEL_ROWS, task, members.member)  # right-aligned
        counts = self.tables.lengths(LABEL_ROWS, task)
        words, _, is_label = self.tables.labels(task)
        width = tf.shape(rows)[1]
        place = tf.range(tf.shape(words)[1])[None] + (width - counts)[:, None]
        scores = self.functions.score_labels(*encoded, rows, mask)  # type: ignore[misc]
        scores = tf.gather(scores, tf.clip_by_value(place, 0, width - 1), batch_dims=1)
        logs = tf.nn.log_softmax(tf.where(is_label, scores, NO_SCORE))
        return _Own(counts > 0, scores, words, is_label, tf.where(is_label, logs, -float("inf")))
