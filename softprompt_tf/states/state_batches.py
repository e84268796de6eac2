"""Batches that start from cached states: for training, in the order of the run without them, and for answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import START_ID
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.states.ragged_rows import RaggedRows
from softprompt_tf.states.text_states import TextStates
from softprompt_tf.tasks import BatchStream, is_short_target, mapped, prefetched
from softprompt_tf.texts.text_batches import TextBatches


class StateBatchStream:
    """The batches of a `BatchStream` with cached states beside the tokens, put together in a graph.

    Args:
      order: has the rows, and decides which of them are in which batch.
      states: of their inputs.
      pad_to_multiple_of: inputs are padded to such a width, as in `order`, which says how wide targets are.
      with_task_id: whether the batches hold `task_id`.
      steps: how many batches there are. Default None: without end.
    """

    def __init__(
        self,
        order: BatchStream,
        states: TextStates,
        *,
        pad_to_multiple_of: int = 1,
        with_task_id: bool = False,
        steps: int | None = None,
    ):
        self._order = order
        self._states = states
        self._multiple = pad_to_multiple_of
        examples = order.examples
        self._steps = steps
        self._numbers = states.numbers_of(examples.encoder_token_ids)
        self._inputs = RaggedRows.of_ids(examples.encoder_token_ids)
        self._targets = RaggedRows.of_ids(examples.target_token_ids)
        self._task_ids = tf.constant(examples.task_indices) if with_task_id else None

    def dataset(self, *, first_step: int = 0) -> tf.data.Dataset:
        """Return the dataset of the batches from number `first_step` on; nothing before it is computed."""

        def plans() -> Iterator[np.ndarray]:
            for steps in self._states.windows(self._texts_of, first_step=first_step, last_step=self._steps):
                yield np.stack([self._order.rows(step) for step in steps])

        size = len(self._order.rows(first_step))
        plan = tf.TensorSpec((None, size), tf.int64)
        rows = tf.data.Dataset.from_generator(plans, output_signature=plan).unbatch()
        return prefetched(mapped(rows, self._batch, num_parallel_calls=2, deterministic=True))

    def _texts_of(self, step: int) -> np.ndarray:
        numbers: np.ndarray = self._numbers[self._order.rows(step)]
        return numbers

    def _batch(self, rows: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        ids, mask = self._inputs.take(rows)
        ids, mask = (self._widened(part) for part in (ids * mask, mask))
        states, _ = self._states.rows.take(tf.gather(tf.constant(self._numbers), rows), width=tf.shape(ids)[1])
        width = self._order.target_width
        targets, decoder_mask = self._targets.take(rows, width=width or None)
        if is_short_target(width):
            targets, decoder_mask = (tf.ensure_shape(part, [None, width]) for part in (targets, decoder_mask))
        targets = targets * decoder_mask
        decoder_ids = tf.pad(targets[:, :-1], [[0, 0], [1, 0]], constant_values=START_ID) * decoder_mask
        x = {
            "encoder_token_ids": ids,
            "encoder_padding_mask": mask,
            ENCODER_STATES: states,
            "decoder_token_ids": decoder_ids,
            "decoder_padding_mask": decoder_mask,
        }
        if self._task_ids is not None:
            x["task_id"] = tf.gather(self._task_ids, rows)
        return x, targets

    def _widened(self, part: tf.Tensor) -> tf.Tensor:
        return tf.pad(part, [[0, 0], [0, -tf.shape(part)[1] % self._multiple]])


@dataclass(frozen=True, kw_only=True)
class StateTextBatches(TextBatches):
    """Converts the texts of one model, and brings the states of their inputs along.

    Args:
      states: of all texts that will be asked.
    """

    states: TextStates

    @classmethod
    def of(cls, plain: TextBatches, states: TextStates) -> "StateTextBatches":
        """Return batches of the texts that `plain` converts, with the states of their inputs."""
        return cls(
            t5=plain.t5,
            max_input_tokens=plain.max_input_tokens,
            max_target_tokens=plain.max_target_tokens,
            task_ids=plain.task_ids,
            opening_id=plain.opening_id,
            places=plain.places,
            label_words=plain.label_words,
            states=states,
        )

    @property
    def spec(self) -> dict[str, tf.TensorSpec]:
        states = tf.TensorSpec([None, None, self.t5.hidden_dim], self.states.rows.dtype)
        return {**super().spec, ENCODER_STATES: states}

    def inference(
        self, texts: Sequence[str], task_id: Any, *, batch_size: int
    ) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
        numbers = tf.constant(self.states.numbers_of(self.input_ids(texts)))
        for rows, batch in super().inference(texts, task_id, batch_size=batch_size):
            states, _ = self.states.rows.take(tf.gather(numbers, rows))
            yield rows, {**batch, ENCODER_STATES: states}
