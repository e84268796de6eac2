"""The search of `AutoPrompt`: which pieces are tried at a position, and which of them stays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import TrainingError
from softprompt_tf.methods.vocabulary import NUM_SPECIAL_IDS
from softprompt_tf.training.callbacks import Logs, is_due, steps_done

if TYPE_CHECKING:
    from softprompt_tf.training.autoprompt import AutoPrompt


class TokenSearch(keras.callbacks.Callback):
    """Changes one piece of the prompt every `window` steps; goes before all other callbacks.

    Its batches are those that training takes next, so that a run that goes on ends as one that was not stopped.

    Args:
      optimizer: adds up the gradients.
      dataset: what the model is trained on, (tokens, targets) or (tokens, targets, weights).
    """

    def __init__(self, optimizer: "AutoPrompt", dataset: tf.data.Dataset):
        super().__init__()
        self._optimizer = optimizer
        self._dataset = dataset
        self._previous = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        window, step = self._optimizer.window, steps_done(self.model)
        self._pieces = prompt_pieces(self.model.t5)
        self._table = self.model.t5.embedding_table[self._pieces]  # [C, H]
        self._loss = tf.function(self._loss_of, reduce_retracing=True, autograph=False)
        self._batches = iter(self._dataset.repeat().skip(window - step % window))
        self._previous = step
        variable = self.model.prompt_variable
        variable.assign(self._table[nearest_rows(variable.numpy(), self._table)])

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = steps_done(self.model)
        if is_due(self._previous, step, self._optimizer.window):
            self._search(step)
        self._previous = step

    def _search(self, step: int) -> None:
        """Change a piece of the prompt; where it is interrupted, the prompt stays as it was."""
        variable, sums = self.model.prompt_variable, self._optimizer.gradient
        rows = variable.numpy()
        position = int(np.random.default_rng([self._optimizer.seed, step]).integers(len(rows)))
        flips = best_flips(sums.numpy()[position], self._table, count=self._optimizer.candidates)
        tried = np.repeat(
            rows[None], len(flips) + 1, axis=0
        )  # the prompt as it is comes first, and wins where all are equal
        tried[1:, position] = self._table[flips]
        best = rows
        try:
            losses = self._losses(tried)
            best = tried[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]
        finally:
            variable.assign(best)
        sums.assign(np.zeros_like(rows))

    def _losses(self, prompts: np.ndarray) -> np.ndarray:
        """Return the sum of the losses [K] of prompts [K, P, H] over the next batches."""
        losses = np.zeros(len(prompts))
        for _ in range(self._optimizer.window):
            batch = next(self._batches, None)
            if batch is None:
                raise TrainingError("AutoPrompt reads the batches again. Received: a data set without a batch.")
            for k, prompt in enumerate(prompts):
                self.model.prompt_variable.assign(prompt)
                losses[k] += float(self._loss(*keras.utils.unpack_x_y_sample_weight(batch)))
        return losses

    def _loss_of(self, tokens: Any, targets: Any, weights: Any = None) -> Any:
        return self.model.loss(targets, self.model(tokens, training=False), weights)


def best_flips(gradient: np.ndarray, table: np.ndarray, *, count: int) -> np.ndarray:
    """Return the pieces that promise the lowest loss in a position, by the loss's linear approximation.

    Args:
      gradient: [H] of the loss, with respect to the position's embedding.
      table: [C, H], the embeddings to choose from.
      count: how many; C where it is more.

    Returns:
      Rows of the table int64 [count], the most promising first; of equal ones the lower row comes first.

    Source: Shin et al. 2020, arXiv:2010.15980, equation 2.
    """
    return np.argsort(table @ gradient, kind="stable")[:count]


def nearest_rows(prompt: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return for each row of a prompt [P, H] the row of the table [C, H] at the smallest distance, int64 [P]."""
    table = np.asarray(table, np.float32)
    return np.argmin((table**2).sum(axis=1) - 2.0 * prompt @ table.T, axis=1)


def prompt_pieces(t5: FrozenT5) -> np.ndarray:
    """Return the ids of pieces that a prompt may be made of, int64 [C]: all but the special ones and sentinels."""
    known = np.arange(NUM_SPECIAL_IDS, min(t5.tokenizer.vocabulary_size(), t5.vocabulary_size))
    return np.setdiff1d(known, t5.sentinel_pieces)


def found_words(model: Any) -> tuple[str, Sequence[str]]:
    """Return the text that a model's prompt reads as, and its pieces; of rows that are no piece, the nearest one.

    Args:
      model: a `PromptedT5` of one prompt in front of the input.
    """
    t5, rows = model.t5, model.prompt_variable.numpy()
    pieces = prompt_pieces(t5)
    ids = pieces[nearest_rows(rows, t5.embedding_table[pieces])]
    return t5.detokenize([ids.tolist()])[0], [_piece(t5, index) for index in ids]


def _piece(t5: FrozenT5, index: int) -> str:
    return str(t5.text_pieces.pieces.id_to_piece(int(index)))
