"""What `compile(metrics=...)` takes for target ids [B, U] and logits [B, U, V]; padding is never counted.

Each metric is a mean, over target tokens or over rows, that is exact for any batch size and number of replicas. The decoder
reads the right targets (teacher forcing), as in training.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from softprompt_tf.errors import ConfigError
from softprompt_tf.replicas import num_replicas, sum_over_replicas
from softprompt_tf.typing import Tensor

_IMPOSSIBLE = -1e9


def per_position(sample_weight: Tensor | None) -> Tensor | None:
    """Turn a weight per row [B] into [B, 1], which broadcasts over positions; [B, U] and None stay."""
    if sample_weight is not None and getattr(sample_weight.shape, "rank", 1) is None:
        return _by_row(sample_weight)
    if sample_weight is None or len(sample_weight.shape) != 1:
        return sample_weight
    return ops.expand_dims(sample_weight, -1)


def _by_row(sample_weight: Tensor) -> Tensor:
    """[B] to [B, 1], and [B, U] as it is, where TensorFlow's graph has met both and is for either."""
    import tensorflow as tf

    rows = tf.shape(sample_weight)[0]
    return tf.reshape(sample_weight, [rows, tf.maximum(tf.size(sample_weight) // tf.maximum(rows, 1), 1)])


class _Share(keras.metrics.Metric):
    """A weighted share: the sums of what counts and of what is right, over all batches and replicas.

    Args:
      pad_id: int. The target id that is no token. Default 0.
      name: str.
    """

    def __init__(self, pad_id: int = 0, name: str | None = None, dtype: Any = "float32"):
        super().__init__(name=name, dtype=dtype)
        self.pad_id = pad_id
        self.right = self.add_variable((), "zeros", name="right")
        self.counted = self.add_variable((), "zeros", name="counted")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        targets = ops.cast(y_true, "int32")
        is_token = ops.not_equal(targets, self.pad_id)  # [B, U]
        is_right, weight = self._judge(targets, is_token, ops.convert_to_tensor(y_pred), _as_weight(sample_weight))
        # Each replica keeps an equal part of the sums, so that each alone has the right share too.
        share = 1.0 / num_replicas()
        self.right.assign_add(share * sum_over_replicas(ops.sum(ops.cast(is_right, "float32") * weight)))
        self.counted.assign_add(share * sum_over_replicas(ops.sum(weight)))

    def result(self) -> Tensor:
        return ops.divide_no_nan(self.right, self.counted)

    def get_config(self) -> dict[str, Any]:
        return {"pad_id": self.pad_id, "name": self.name}

    def _judge(self, targets: Tensor, is_token: Tensor, logits: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what is right and the weight of each, both [B, U] or both [B]."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="softprompt_tf")
class TokenAccuracy(_Share):
    """The share of target tokens that are the likeliest ones, the end of sequence included and padding not.

    `compile(metrics=["accuracy"])` of a `PromptedT5` means this metric.

    Args:
      pad_id: int. The target id that is no token. Default 0.
      name: str. Default "token_accuracy".

    Call arguments:
      y_true: int [B, U] target ids.
      y_pred: float [B, U, V] logits.
      sample_weight: optional float, [B] per row or [B, U] per token.

    Examples:
      >>> metric = sp.TokenAccuracy()
      >>> metric.update_state([[1, 2, 0]], [[[0.0, 9, 0], [9.0, 0, 0], [9.0, 0, 0]]])  # right, wrong, padding
      >>> float(metric.result())
      0.5
    """

    def __init__(self, pad_id: int = 0, name: str = "token_accuracy", **kwargs: Any):
        super().__init__(pad_id, name, **kwargs)

    def _judge(self, targets: Tensor, is_token: Tensor, logits: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        counted = ops.cast(is_token, "float32")
        return _is_likeliest(targets, logits), counted if weight is None else counted * weight


@keras.saving.register_keras_serializable(package="softprompt_tf")
class ExactMatch(_Share):
    """The share of rows whose target tokens are all the likeliest ones: those that greedy decoding writes exactly.

    Args:
      pad_id: int. The target id that is no token. Default 0.
      name: str. Default "exact_match".

    Call arguments:
      As of `TokenAccuracy`; of weights per token, a row has the mean over its target tokens.

    Examples:
      >>> metric = sp.ExactMatch()
      >>> right, wrong = [[0.0, 9, 0], [0.0, 0, 9]], [[0.0, 9, 0], [9.0, 0, 0]]
      >>> metric.update_state([[1, 2], [1, 2]], [right, wrong])
      >>> float(metric.result())
      0.5
    """

    def __init__(self, pad_id: int = 0, name: str = "exact_match", **kwargs: Any):
        super().__init__(pad_id, name, **kwargs)

    def _judge(self, targets: Tensor, is_token: Tensor, logits: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        is_right = ops.logical_or(ops.logical_not(is_token), _is_likeliest(targets, logits))
        return ops.all(is_right, axis=-1), _of_rows(is_token, weight)


@keras.saving.register_keras_serializable(package="softprompt_tf")
class LabelAccuracy(_Share):
    """The share of rows whose label is chosen, token by token, among the label words.

    Wherever labels part, the likeliest of their next tokens decides. Where all labels part at their first token and have
    one token after which nothing is open, this is what `PromptedT5.classify` answers; `classify` compares the probabilities
    of complete labels, so that on labels of several tokens the two may differ. A row whose target is no label is wrong.

    Args:
      labels: the label words. Default: those of the model that is compiled with this metric.
      label_ids: their token ids, each with its end of sequence. Default: the compiled model tokenizes `labels`.
      pad_id: int. The target id that is no token. Default 0.
      name: str. Default "label_accuracy".

    Call arguments:
      As of `ExactMatch`.

    Examples:
      >>> metric = sp.LabelAccuracy(["no", "yes"], label_ids=[[1], [2]])
      >>> metric.update_state([[1], [2]], [[[9.0, 1, 0]], [[9.0, 1, 0]]])  # of ids 1 and 2, 1 is likelier: right, wrong
      >>> float(metric.result())
      0.5
    """

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        *,
        label_ids: Sequence[Sequence[int]] | None = None,
        pad_id: int = 0,
        name: str = "label_accuracy",
        **kwargs: Any,
    ):
        super().__init__(pad_id, name, **kwargs)
        if isinstance(labels, str):
            raise ConfigError(f"`labels` must be a list of words. Received: the string {labels!r}.")
        self.labels = None if labels is None else tuple(labels)
        self.label_ids = None if label_ids is None else [[int(i) for i in row] for row in label_ids]
        self._has_own = self.labels is not None, self.label_ids is not None

    def bind(self, labels: Sequence[str], tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]]) -> None:
        """Take the model's labels and tokens, where none were given.

        Args:
          labels: the model's label words.
          tokenize: label words to token ids, each with its end of sequence.

        Raises:
          ConfigError: if there are no labels, or another model has given it others.
        """
        has_own_labels, has_own_ids = self._has_own
        if has_own_ids:
            return
        words = (self.labels if has_own_labels else None) or tuple(labels)
        if not words:
            raise ConfigError(
                "Label accuracy needs labels. Received: none. Pass `labels=[...]` to the model or to LabelAccuracy."
            )
        ids = [[int(i) for i in row] for row in tokenize(words)]
        if self.label_ids is not None and (self.labels, self.label_ids) != (words, ids):
            raise ConfigError(
                "A LabelAccuracy is for the labels and the tokens of one model. Received: one that is compiled for "
                f"{list(self.labels or ())}, and a model of {list(words)}. Make another: LabelAccuracy()."
            )
        self.labels, self.label_ids = words, ids

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "labels": self.labels, "label_ids": self.label_ids}

    def _judge(self, targets: Tensor, is_token: Tensor, logits: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.label_ids is None:
            raise ConfigError(
                "LabelAccuracy has no labels yet. Received: none. Compile a PromptedT5 with it, or give `label_ids`."
            )
        longest = max(map(len, self.label_ids))
        ids = ops.convert_to_tensor([[*row, *[self.pad_id] * (longest - len(row))] for row in self.label_ids], "int32")
        rest_is_padding = ops.logical_not(ops.any(is_token[:, longest:], axis=-1))  # [B]
        targets, logits = targets[:, :longest], logits[:, :longest]
        ids = ids[:, : ops.shape(targets)[1]]  # [C, U]
        is_same = ops.equal(targets[:, None], ids[None])  # [B, C, U]
        is_open = _all_before(is_same)  # labels that agree with the target up to here
        scores = _logits_of(ids, logits)  # [B, C, U]
        best = ops.max(ops.where(is_open, scores, _IMPOSSIBLE), axis=1)  # [B, U]
        of_target = ops.max(ops.where(is_same, scores, _IMPOSSIBLE), axis=1)
        is_right = ops.logical_or(ops.logical_not(is_token[:, :longest]), of_target >= best)
        is_label = ops.logical_and(ops.any(ops.all(is_same, axis=-1), axis=-1), rest_is_padding)
        return ops.logical_and(ops.all(is_right, axis=-1), is_label), _of_rows(is_token, weight)


def _logits_of(ids: Tensor, logits: Tensor) -> Tensor:
    """Pick the logits of ids [C, U] out of [B, U, V], B of which may be 0; return [B, C, U]."""
    batch, width, size = ops.shape(logits)
    places = ids + ops.arange(width, dtype="int32")[None] * size  # [C, U]
    return ops.take(ops.reshape(logits, (batch, width * size)), places, axis=1)


def _all_before(is_same: Tensor) -> Tensor:
    """Say at each position of [B, C, U] whether all positions before it are true."""
    wrong = ops.cumsum(ops.cast(ops.logical_not(is_same), "int32"), axis=-1)
    return ops.equal(wrong - ops.cast(ops.logical_not(is_same), "int32"), 0)


def _is_likeliest(targets: Tensor, logits: Tensor) -> Tensor:
    return ops.equal(targets, ops.cast(ops.argmax(logits, axis=-1), "int32"))  # [B, U]


def _as_weight(sample_weight: Tensor | None) -> Tensor | None:
    return None if sample_weight is None else per_position(ops.cast(sample_weight, "float32"))


def _of_rows(is_token: Tensor, weight: Tensor | None) -> Tensor:
    """Return the weight of each row [B]; a row without target tokens has none."""
    is_token = ops.cast(is_token, "float32")
    has_token = ops.max(is_token, axis=-1)
    if weight is None:
        return has_token
    return ops.divide_no_nan(ops.sum(is_token * weight, axis=-1), ops.sum(is_token, axis=-1))


METRICS: dict[str, Callable[..., _Share]] = {
    "accuracy": TokenAccuracy,
    "acc": TokenAccuracy,
    "token_accuracy": TokenAccuracy,
    "exact_match": ExactMatch,
    "label_accuracy": LabelAccuracy,
}
