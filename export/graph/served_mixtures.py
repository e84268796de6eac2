"""In a served graph: prompts that answer as a mixture, by the weighted mean of their likelihoods, beside those that vote.

The rules are those of `softprompt_tf.evaluation.mixture`. A graph without a table of weights has no operation for it.
"""

from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.export.graph.member_rows import MemberRows, ballots
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.methods.task_tensors import MIXTURE_WEIGHT


class ServedMixtures(NamedTuple):
    """Answers of tasks whose prompts have weights.

    Args:
      tables: of the tasks.
    """

    tables: TaskTables

    def labels(
        self, task: tf.Tensor, members: MemberRows, logs: tf.Tensor, voted: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each request's label int64 [B] and log-probabilities [B, C]: as voted where its task has no weights.

        Args:
          task: int32 [B].
          members: of the batch.
          logs: float32 [B', C], each member's log-probabilities, -inf where there is no label.
          voted: what `vote_for_labels` returns.
        """
        if not self._has_weights:
            return voted
        is_mixture, log_weights = self._weights(task, members)
        mixed = _log_of_sum(logs + log_weights[:, None], members.request, tf.size(task))
        return tf.where(is_mixture, tf.argmax(mixed, axis=-1), voted[0]), tf.where(is_mixture[:, None], mixed, voted[1])

    def likelihoods(self, task: tf.Tensor, members: MemberRows, logs: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        """Return the log-likelihoods [B] of mixtures, of those of members [B'], and `mean` [B] where a task has no weights."""
        if not self._has_weights:
            return mean
        is_mixture, log_weights = self._weights(task, members)
        mixed = _log_of_sum((logs + log_weights)[:, None], members.request, tf.size(task))
        return tf.where(is_mixture, mixed[:, 0], mean)

    def texts(
        self,
        task: tf.Tensor,
        members: MemberRows,
        texts: tf.Tensor,
        scores: tf.Tensor,
        voted: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each request's text [B] and score [B]: as voted where its task has no weights.

        Else it is the text with the highest weighted sum of likelihoods of the members that wrote it, of equal ones that of the
        earliest member, with the sum's log.

        Args:
          task: int32 [B].
          members: of the batch.
          texts, scores: string and float32 [B'].
          voted: what `vote_for_texts` returns.
        """
        if not self._has_weights:
            return voted
        is_mixture, log_weights = self._weights(task, members)
        size, ballot = tf.size(texts), ballots(members, texts)
        sums = tf.gather(_log_of_sum((scores + log_weights)[:, None], ballot, size)[:, 0], ballot)  # [B']
        wins = sums == members.spread(tf.math.segment_max(sums, members.request))
        first = tf.math.segment_min(tf.where(wins, tf.range(size), size), members.request)
        own = tf.cumsum(members.counts, exclusive=True)  # where no score is a number, the request's own first row
        first = tf.where(first < size, first, own)
        chosen, its_sum = tf.gather(texts, first), tf.gather(sums, first)
        return tf.where(is_mixture, chosen, voted[0]), tf.where(is_mixture, its_sum, voted[1])

    @property
    def _has_weights(self) -> bool:
        return MIXTURE_WEIGHT in self.tables.row_shapes

    def _weights(self, task: tf.Tensor, members: MemberRows) -> tuple[tf.Tensor, tf.Tensor]:
        """Return whether a request's task has weights, bool [B], and the logs of all members' weights [B'], of sum 1."""
        rows, _ = self.tables.rows(MIXTURE_WEIGHT, members.spread(task), members.member)  # [B', 1, 1]
        weights = rows[:, 0, 0]
        total = members.spread(tf.math.segment_sum(weights, members.request))
        return self.tables.lengths(MIXTURE_WEIGHT, task) > 0, tf.math.log(tf.math.divide_no_nan(weights, total))


def _log_of_sum(logs: tf.Tensor, groups: tf.Tensor, num_groups: tf.Tensor) -> tf.Tensor:
    """Return log(sum(exp(logs))) over the rows of each group: [B', C] to [G, C]."""
    largest = tf.math.unsorted_segment_max(logs, groups, num_groups)
    finite = tf.where(tf.math.is_finite(largest), largest, 0.0)
    total = tf.math.unsorted_segment_sum(tf.exp(logs - tf.gather(finite, groups)), groups, num_groups)
    return tf.math.log(total) + finite
