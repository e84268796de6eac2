"""In a served graph: ask each prompt of an ensemble, and let the answers vote.

A task with one prompt has one member, so that its rows come back as they were. The rules are those of
`softprompt_tf.evaluation.ensemble`: the majority decides, ties by the mean log-probability or score (Lester et al. 2021,
arXiv:2104.08691, section 6).
"""

from typing import NamedTuple

import tensorflow as tf


class MemberRows(NamedTuple):
    """B' rows, the members of a request behind each other; B' = B where no task of the batch is an ensemble."""

    request: tf.Tensor  # int32 [B'], the request of each row, ascending
    member: tf.Tensor  # int32 [B'], which of its request's members a row is
    counts: tf.Tensor  # int32 [B], members of each request, at least 1

    @classmethod
    def of(cls, counts: tf.Tensor) -> "MemberRows":
        """Return a row for each of `counts` int32 [B] members."""
        request = tf.repeat(tf.range(tf.size(counts)), counts)
        first = tf.gather(tf.cumsum(counts, exclusive=True), request)
        return cls(request, tf.range(tf.size(request)) - first, counts)

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Give each member its request's value: [B, ...] to [B', ...]."""
        return tf.gather(values, self.request)


def vote_for_labels(rows: MemberRows, log_probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each request's label int64 [B], and the log of the members' mean probabilities [B, C].

    Args:
      rows: the members.
      log_probabilities: float32 [B', C], -inf where there is no label.
    """
    chosen = tf.one_hot(tf.argmax(log_probabilities, axis=-1), tf.shape(log_probabilities)[1])
    votes = tf.math.segment_sum(chosen, rows.request)  # [B, C]
    mean_logs = tf.math.segment_mean(log_probabilities, rows.request)
    has_most = votes == tf.reduce_max(votes, axis=-1, keepdims=True)
    best = tf.argmax(tf.where(has_most, mean_logs, -float("inf")), axis=-1)
    return best, _log_of_mean(rows, log_probabilities)


def mean_likelihood(rows: MemberRows, log_likelihoods: tf.Tensor) -> tf.Tensor:
    """Return the log of the members' mean likelihood [B], of log-likelihoods [B']."""
    return _log_of_mean(rows, log_likelihoods[:, None])[:, 0]


def vote_for_texts(rows: MemberRows, texts: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the text [B] that most members wrote, and the mean score [B] of those that wrote it.

    Of texts with equal votes the one with the highest mean score is taken, of equal ones that of the earliest member.

    Args:
      rows: the members.
      texts: string [B'].
      scores: float32 [B'].
    """
    size, ballot = tf.size(texts), ballots(rows, texts)
    ones = tf.ones_like(rows.request)
    votes = tf.gather(tf.math.unsorted_segment_sum(ones, ballot, size), ballot)
    means = tf.gather(tf.math.unsorted_segment_mean(scores, ballot, size), ballot)
    has_most = votes == rows.spread(tf.math.segment_max(votes, rows.request))
    ranked = tf.where(has_most, means, scores.dtype.min)
    wins = has_most & (ranked == rows.spread(tf.math.segment_max(ranked, rows.request)))
    first = tf.math.segment_min(tf.where(wins, tf.range(size), size), rows.request)
    own = tf.cumsum(rows.counts, exclusive=True)  # where no score is a number, the request's own first row
    first = tf.where(first < size, first, own)
    return tf.gather(texts, first), tf.gather(means, first)


def ballots(rows: MemberRows, texts: tf.Tensor) -> tf.Tensor:
    """Return a number int32 [B'], from 0 below B', that is equal for members of a request that wrote the same.

    Args:
      rows: the members.
      texts: string [B'].
    """
    # Of int64, as the product is beyond int32 from 46,341 rows on.
    request, same_text = (tf.cast(number, tf.int64) for number in (rows.request, tf.unique(texts).idx))
    return tf.unique(request * tf.size(texts, tf.int64) + same_text).idx


def _log_of_mean(rows: MemberRows, logs: tf.Tensor) -> tf.Tensor:
    """Return log(mean(exp(logs))) over the members: [B', C] to [B, C]; a single member's logs as they are."""
    largest = tf.math.segment_max(logs, rows.request)  # [B, C]
    finite = tf.where(tf.math.is_finite(largest), largest, 0.0)
    mean = tf.math.segment_mean(tf.exp(logs - rows.spread(finite)), rows.request)
    return tf.where(rows.counts[:, None] == 1, largest, tf.math.log(mean) + finite)
