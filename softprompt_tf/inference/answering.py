"""Generate, classify and score texts: the inference half of `PromptedT5`, and of a T5 without a prompt."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, encode_embeddings
from softprompt_tf.backbones.passes.label_scores import first_states, label_logits
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.errors import DataError, PromptError
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.inference.decoding import Greedy, Sampler, decode
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import check_labels, warn_of_labels
from softprompt_tf.texts.text_batches import TextBatches, opening_id_of
from softprompt_tf.texts.text_rows import listed
from softprompt_tf.typing import Tensor

BATCH_SIZE = 32
_FEW_TOKENS = 12

Encode = Callable[[dict[str, Tensor]], Encoded]
"""A token dictionary to what the decoder needs of it."""


class Answerer:
    """Answers texts in batches of rows of alike length, with one traced graph per kind of answer.

    Args:
      t5: the frozen T5.
      encode: runs the encoder, with a prompt in front or without.
      text_batches: tokenizes.
      labels: the label words that `classify` chooses from by default, checked by `check_labels`.
      sampler: how `generate_scored` decodes.
    """

    def __init__(
        self,
        t5: FrozenT5,
        encode: Encode,
        text_batches: TextBatches,
        *,
        labels: Sequence[str] = (),
        sampler: Sampler | None = None,
    ):
        self._t5 = t5
        self._encode = encode
        self._text_batches = text_batches
        self._labels = tuple(labels)
        self._checked = {self._labels}  # label words that the tokenizer tells apart
        self._functions: dict[Any, Callable[..., Any]] = {}
        self._layers: tuple[str, ...] = ()  # that the functions were traced of
        self.sampler = sampler or Greedy()

    def generate_scored(
        self, texts: Sequence[str], *, max_tokens: int | None = None, task_id: Any = None
    ) -> list[Generation]:
        """Answer texts with texts and their scores; see `PromptedT5.generate`."""
        sampler, length = self.sampler, self._text_batches.answer_tokens(max_tokens)
        texts = _rows_of(texts)

        def run(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            encoded = self._encode(batch)
            if encoded.injection.labels is not None:
                return _likeliest(_label_log_probabilities(self._t5, encoded))
            return decode(sampler, self._t5, encoded, length)

        traced = self._traced(("generate", sampler, length), run, self._text_batches.spec)
        answers: list[Any] = [None] * len(texts)
        for rows, batch in self._batches(texts, task_id):
            ids, scores = traced(batch)
            for row, text, score in zip(rows, self._written(ids.numpy()), scores.numpy(), strict=True):
                answers[row] = Generation(text, float(score))
        return answers

    def classify(
        self, texts: Sequence[str], *, labels: Sequence[str] | None = None, task_id: Any = None
    ) -> list[Classification]:
        """Choose the likeliest label of each text; see `PromptedT5.classify`."""
        if isinstance(labels, (str, bytes)):
            raise PromptError(f"`labels` must be a list of words. Received: labels={labels!r}.")
        words = self._labels if labels is None else self._label_words(labels)
        if not words:
            raise PromptError("`classify` needs labels. Received: none. Pass `labels=[...]` here or to the model.")
        texts = _rows_of(texts)
        return [_classification(words, row) for row in self._scores(texts, [words] * len(texts), task_id)]

    def score(self, texts: Sequence[str], targets: Sequence[str], *, task_id: Any = None) -> list[float]:
        """Return the log-probability of each target given its text, in nats; see `PromptedT5.score`."""
        texts, targets = _rows_of(texts), _rows_of(targets, "targets")
        if len(texts) != len(targets):
            raise DataError(
                f"There must be one target for each text. Received: {counted(len(texts), 'text')}, "
                f"{counted(len(targets), 'target')}."
            )
        return [float(row[0]) for row in self._scores(texts, [(target,) for target in targets], task_id)]

    def forget_graphs(self) -> None:
        """Trace anew at the next call, after the model's layers have changed."""
        self._functions.clear()

    def _written(self, ids: Any) -> list[str]:
        """Return the texts of answers' ids [B, U]; of labels that have rows, [B, 1]."""
        labels = self._text_batches.label_words
        return [labels[row[0] - 1] for row in ids] if labels else self._t5.detokenize(ids)

    def _label_words(self, labels: Sequence[str]) -> tuple[str, ...]:
        if isinstance(labels, tuple) and labels in self._checked:
            return labels
        tokenize, limit = self._t5.tokenize, self._text_batches.max_target_tokens
        words = check_labels(labels, tokenize, max_target_tokens=limit, error_type=PromptError)
        if words not in self._checked:
            warn_of_labels(words, tokenize, max_target_tokens=limit)
            self._checked.add(words)
        return words

    def _scores(self, texts: Sequence[str], targets: Sequence[Sequence[str]], task_id: Any) -> np.ndarray:
        """Return the log-probabilities float32 [B, C] of C targets of every text."""

        def run(batch: dict[str, Tensor], target_ids: Tensor) -> Tensor:
            encoded = self._encode(batch)
            if encoded.injection.labels is None:
                return score_targets(self._t5, target_ids, *encoded)
            return tf.gather(_label_log_probabilities(self._t5, encoded), target_ids[:, :, 0], batch_dims=1)

        ids = self._text_batches.target_ids(targets)  # [B, C, U]
        num_targets, length = ids.shape[1:]
        # The sizes of a few labels are known to the graph, which then has one way through the decoder and is traced sooner.
        is_small = min(num_targets, length) > 1 and num_targets * length <= _FEW_TOKENS
        sizes = (num_targets, length) if is_small else (None, None)
        spec = tf.TensorSpec([None, *sizes], tf.int32)
        traced = self._traced(("score", *sizes), run, self._text_batches.spec, spec)
        scores = np.zeros(ids.shape[:2], np.float32)
        for rows, batch in self._batches(texts, task_id):
            scores[rows] = traced(batch, tf.constant(ids[rows])).numpy()
        return scores

    def _traced(self, key: Any, function: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
        """Return the function traced for every shape of a batch at once, from the first call on.

        It is traced here and not by its first call: TensorFlow counts such calls by the line that the function stands in,
        and would warn of retracing where there are merely many models.
        """
        layers = self._t5.layer_state
        if layers != self._layers:  # a layer that is changed afterwards is not in the graphs
            self.forget_graphs()
            self._layers = layers
        if key not in self._functions:
            self._functions[key] = tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
        return self._functions[key]

    def _batches(self, texts: Sequence[str], task_id: Any) -> Any:
        return self._text_batches.inference(texts, task_id, batch_size=BATCH_SIZE)


def _label_log_probabilities(t5: FrozenT5, encoded: Encoded) -> Tensor:
    """Return the log-probabilities [B, 1 + C] of labels that have rows, from id 1 on."""
    return tf.nn.log_softmax(label_logits(t5, first_states(t5, encoded), encoded.injection.labels.rows)[:, 0])  # type: ignore[union-attr]


def _likeliest(log_probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the id [B, 1] with the highest of [B, 1 + C], and its log-probability [B]."""
    best = tf.argmax(log_probabilities, axis=1, output_type=tf.int32)[:, None]
    return best, tf.gather(log_probabilities, best, batch_dims=1)[:, 0]


def answerer_without_prompt(
    t5: FrozenT5, *, max_input_tokens: int = 512, max_target_tokens: int = 32, target_format: str = "text"
) -> Answerer:
    """Return what the frozen model answers by itself: the baseline that a prompt has to beat."""

    def encode(batch: dict[str, Tensor]) -> Encoded:
        mask = batch["encoder_padding_mask"]
        return Encoded(encode_embeddings(t5, t5.embed(batch["encoder_token_ids"]), mask), mask)

    opening_id = opening_id_of(t5, target_format)
    return Answerer(t5, encode, TextBatches(t5, max_input_tokens, max_target_tokens, opening_id=opening_id))


def _rows_of(texts: Any, name: str = "texts") -> list[Any]:
    """Return the rows of a list, an array, a tensor or a Series of strings."""
    if isinstance(texts, (str, bytes)):
        raise DataError(f"`{name}` must be a sequence of strings. Received: the string {texts[:60]!r}.")
    return listed(texts, name)


def _classification(labels: tuple[str, ...], scores: np.ndarray) -> Classification:
    """Normalize one row of log-probabilities [C] over the labels."""
    scores = scores.astype(np.float64)
    log_probabilities = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    best = int(np.argmax(log_probabilities))
    return Classification(
        label=labels[best],
        probability=float(np.exp(log_probabilities[best])),
        labels=labels,
        log_probabilities=tuple(log_probabilities.tolist()),
    )
