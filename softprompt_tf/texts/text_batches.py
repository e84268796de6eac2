"""Texts become token dictionaries, for one model: in a graph for training, in Python for inference."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import START_ID, FrozenT5
from softprompt_tf.backbones.tokenization.placed_text import (
    PlaceCounts,
    marked_rows,
    placed_pieces,
    placed_pieces_to_ids,
)
from softprompt_tf.backbones.tokenization.text_to_ids import pieces_to_ids
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.prompt_places import NO_PLACES, TOO_MANY_ROWS, TOO_MANY_ROWS_HINT, TextPlaces
from softprompt_tf.shown_numbers import counted
from softprompt_tf.target_format import TARGET_FORMATS
from softprompt_tf.tasks import ended_ids, is_short_target, label_id
from softprompt_tf.texts.text_arguments import checked_limit
from softprompt_tf.texts.text_rows import as_text, listed

_MANY_TARGETS = 1_000  # that differ are no labels
NotePieces = Callable[[tf.RaggedTensor, tf.RaggedTensor], None]


@dataclass(frozen=True)
class TextBatches:
    """Converts the texts of one model.

    Args:
      t5: whose tokenizer is used.
      max_input_tokens: where inputs are cut, the end of sequence included.
      max_target_tokens: where targets are cut, the end of sequence included, the opening id not.
      task_ids: the tasks of a model with several prompts, else None.
      opening_id: stands in front of every target; see `opening_id_of`.
      places: where the prompt's rows go in the inputs.
      label_words: of a model that trains rows for them: then a target is one of them, and one id (`tasks.label_id`).
    """

    t5: FrozenT5
    max_input_tokens: int
    max_target_tokens: int
    task_ids: tuple[str, ...] | None = None
    opening_id: int = 0
    places: TextPlaces = NO_PLACES
    label_words: tuple[str, ...] = ()

    def tokenize(
        self, texts: Mapping[str, tf.Tensor], note: NotePieces | None = None, *, target_width: int | None = None
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Turn a batch of texts into the model's inputs and its targets, inside a graph.

        Args:
          texts: `encoder_text` and `decoder_text`, string [B]; with several tasks `task_id` [B], names or indices.
          note: is shown the pieces of inputs and targets, ragged [B, None], before they are cut.
          target_width: U, where no target is longer. Default: that of the batch's longest.

        Returns:
          The token dictionary (see `PromptedT5`) and target ids int32 [B, U], 0 where padded.
        """
        target_pieces = self.t5.graph_tokenizer.tokenize(texts["decoder_text"])
        inputs, input_mask = self._graph_inputs(texts["encoder_text"], note, target_pieces)
        if self.label_words:
            targets = _label_ids(texts["decoder_text"], self.label_words)
        else:
            targets, _ = pieces_to_ids(target_pieces, self.max_target_tokens)
            targets = put_in_front(targets, tf.fill(tf.shape(targets)[:1], self.opening_id))
            if target_width is not None:
                targets = tf.pad(targets, [[0, 0], [0, target_width - tf.shape(targets)[1]]])
                targets.set_shape([None, target_width])
        tokens = {
            "encoder_token_ids": inputs,
            "encoder_padding_mask": input_mask,
            "decoder_token_ids": tf.pad(targets[:, :-1], [[0, 0], [1, 0]], constant_values=START_ID),
            "decoder_padding_mask": tf.cast(targets != 0, tf.int32),
        }
        if self.task_ids is not None:
            tokens["task_id"] = self._graph_task_indices(texts["task_id"])
        return tokens, targets

    def _graph_inputs(
        self, texts: tf.Tensor, note: NotePieces | None, target_pieces: tf.RaggedTensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ids int32 [B, T] of input texts and their mask."""
        if self.places == NO_PLACES:
            pieces = self.t5.graph_tokenizer.tokenize(texts)
            if note is not None:
                note(pieces, target_pieces)
            return pieces_to_ids(pieces, self.max_input_tokens)
        counts = PlaceCounts(*(tf.fill(tf.shape(texts), count) for count in self.places))
        with tf.control_dependencies([_assert_rows_suffice(texts, self.places)]):
            pieces = placed_pieces(self.t5.graph_tokenizer, tf.identity(texts), counts)
        if note is not None:
            note(tf.ragged.boolean_mask(pieces, pieces >= 0), target_pieces)
        return placed_pieces_to_ids(pieces, tf.fill(tf.shape(texts), self.max_input_tokens))

    def target_ids(self, targets: Sequence[Sequence[str]]) -> np.ndarray:
        """Tokenize C targets for each of B rows; return int32 [B, C, U], opened and ended, 0 where padded."""
        targets = [[as_text(text) for text in row] for row in targets]
        num_targets = len(targets[0]) if targets else 1
        if self.label_words:
            ids = [[label_id(text, self.label_words) for text in row] for row in targets]
            return np.array(ids, np.int32).reshape(-1, num_targets, 1)
        known = {text: self.t5.tokenize([text])[0] for row in targets for text in row}
        ends = {text: ended_ids(ids, self.max_target_tokens, opening_id=self.opening_id) for text, ids in known.items()}
        length = max((len(ids) for ids in ends.values()), default=1)
        padded = {text: ids + [0] * (length - len(ids)) for text, ids in ends.items()}
        return np.array([[padded[text] for text in row] for row in targets], np.int32).reshape(-1, num_targets, length)

    def short_width(self, targets: Sequence[str]) -> int | None:
        """Return U of these targets where all are short (see `is_short_target`), as labels are; None where any is longer."""
        different = list(dict.fromkeys(targets))
        if len(different) > _MANY_TARGETS:
            return None
        width = self.target_ids([different]).shape[2]
        return width if is_short_target(width) else None

    @property
    def spec(self) -> dict[str, tf.TensorSpec]:
        """The shapes and dtypes of the encoder inputs of `inference`."""
        spec = {key: tf.TensorSpec([None, None], tf.int32) for key in ("encoder_token_ids", "encoder_padding_mask")}
        return spec if self.task_ids is None else {**spec, "task_id": tf.TensorSpec([None], tf.int32)}

    def input_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenize inputs as the model sees them: cut and ended."""
        texts = [as_text(text) for text in listed(texts, "texts")]
        return [ended_ids(row, self.max_input_tokens) for row in self.places.tokenize(texts, self.t5.tokenize)]

    def answer_tokens(self, max_tokens: int | None = None) -> int:
        """Return how many tokens are decoded for an answer of `max_tokens` (default `max_target_tokens`).

        Raises:
          ConfigError: if `max_tokens` is no whole number above 0.
        """
        wanted = self.max_target_tokens if max_tokens is None else checked_limit("max_tokens", max_tokens)
        return wanted + int(self.opening_id > 0)

    def inference(
        self, texts: Sequence[str], task_id: Any, *, batch_size: int
    ) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
        """Yield row numbers and encoder inputs, the longest rows last, each batch padded to its own longest row."""
        ids = self.input_ids(texts)
        tasks = self.task_indices(task_id, len(ids))
        order = np.argsort([len(row) for row in ids], kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            padded = tf.keras.utils.pad_sequences([ids[k] for k in rows], dtype="int32", padding="post")
            # By length: a text may hold the padding token itself.
            mask = tf.sequence_mask([len(ids[k]) for k in rows], dtype=tf.int32)
            batch = {"encoder_token_ids": tf.constant(padded), "encoder_padding_mask": mask}
            if tasks is not None:
                batch["task_id"] = tf.constant(tasks[rows])
            yield rows, batch

    def task_indices(self, task_id: Any, num_rows: int) -> np.ndarray | None:
        """Turn task names or indices, one for all rows or one for each, into int32 [B]; None for a model of one task."""
        if self.task_ids is None:
            if task_id is not None:
                raise DataError(f"`task_id` is for a model of several prompts. Received: task_id={task_id!r}.")
            return None
        if task_id is None:
            raise DataError(f"`task_id` must say which of {list(self.task_ids)} each row asks for. Received: none.")
        is_one = isinstance(task_id, (str, bytes)) or not (hasattr(task_id, "__len__") or tf.is_tensor(task_id))
        each = [task_id] * num_rows if is_one else listed(task_id, "task_id")
        if len(each) != num_rows:
            raise DataError(
                f"`task_id` must have one entry for each row. Received: {len(each)} for {counted(num_rows, 'row')}."
            )
        return np.array([self._task_index(name) for name in each], np.int32)

    def _task_index(self, name: Any) -> int:
        names = self.task_ids or ()
        if isinstance(name, bytes):
            name = name.decode("utf-8", errors="replace")
        if isinstance(name, str) and name in names:
            return names.index(name)
        if isinstance(name, (int, np.integer)) and not isinstance(name, bool) and 0 <= name < len(names):
            return int(name)
        raise DataError(f"`task_id` must be one of {list(names)} or an index into them. Received: {name!r}.")

    def _graph_task_indices(self, task_id: tf.Tensor) -> tf.Tensor:
        """Turn task names or indices [B] into int32 [B], inside a graph."""
        names = tf.constant(self.task_ids or ())
        if task_id.dtype == tf.string:
            is_it = tf.equal(task_id[:, None], names[None])  # [B, K]
        else:
            is_it = tf.equal(tf.cast(task_id, tf.int32)[:, None], tf.range(tf.size(names))[None])
        is_known = tf.reduce_any(is_it, axis=1)
        unknown = tf.boolean_mask(task_id, tf.logical_not(is_known))
        unknown = unknown if task_id.dtype == tf.string else tf.strings.as_string(unknown)
        received = tf.strings.reduce_join(unknown, separator=", ")
        rule = f"`task_id` must be one of {list(self.task_ids or ())} or an index into them. Received: "
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_known), [rule + received + "."])]):
            return tf.argmax(tf.cast(is_it, tf.int32), axis=1, output_type=tf.int32)


def opening_id_of(t5: FrozenT5, target_format: str) -> int:
    """Return the id that the decoder writes before a target: sentinel 0 in the format "sentinel", 0 (nothing) in "text".

    Raises:
      ConfigError: for another format.
      BackboneError: if the T5 has no sentinel.

    Source: "span corruption + sentinel" of Lester et al. 2021, arXiv:2104.08691, section 3.2.
    """
    if target_format not in TARGET_FORMATS:
        raise ConfigError(f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: {target_format!r}.")
    return t5.sentinel_id(0) if target_format == "sentinel" else 0


def put_in_front(ids: tf.Tensor, opening_ids: tf.Tensor) -> tf.Tensor:
    """Put each row's opening id in front of its target, inside a graph; `ended_ids` is the same for lists.

    Args:
      ids: int32 [B, U], 0 where padded.
      opening_ids: int32 [B], 0 for a row that opens with its text.

    Returns:
      int32 [B, U], or [B, U + 1] where any row has an opening id.
    """
    is_opened = opening_ids > 0
    moved = tf.concat([opening_ids[:, None], ids], axis=1)  # [B, U + 1]
    plain = tf.pad(ids, [[0, 0], [0, 1]])
    width = tf.shape(ids)[1] + tf.cast(tf.reduce_any(is_opened), tf.int32)
    return tf.where(is_opened[:, None], moved, plain)[:, :width]


def _assert_rows_suffice(texts: tf.Tensor, places: TextPlaces) -> tf.Operation:
    """Refuse texts whose markers ask for more rows than there are, inside a graph."""
    asked = marked_rows(texts) if places.in_text else tf.zeros(tf.shape(texts), tf.int64)
    asked, texts = tf.concat([asked, [0]], axis=0), tf.concat([texts, [""]], axis=0)  # so that there is a row
    worst = tf.argmax(asked)
    parts = [TOO_MANY_ROWS, "the text '", tf.strings.substr(texts[worst], 0, 80), "' asks for "]
    parts += [tf.strings.as_string(asked[worst]), f" of {places.in_text} rows. {TOO_MANY_ROWS_HINT}"]
    return tf.debugging.Assert(tf.reduce_all(asked <= places.in_text), [tf.strings.join(parts)])


def _label_ids(texts: tf.Tensor, label_words: tuple[str, ...]) -> tf.Tensor:
    """Return the id int32 [B, 1] of each target, inside a graph; refuse one that is no label."""
    is_it = tf.equal(texts[:, None], tf.constant(label_words)[None])  # [B, C]
    is_known = tf.reduce_any(is_it, axis=1)
    received = tf.strings.reduce_join(tf.boolean_mask(texts, tf.logical_not(is_known))[:1])
    rule = f"A target of a model with label rows must be one of its labels: {', '.join(label_words)}. Received: '"
    message = tf.strings.join([rule, tf.strings.substr(received, 0, 80), "'."])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_known), [message])]):
        return 1 + tf.argmax(tf.cast(is_it, tf.int32), axis=1, output_type=tf.int32)[:, None]
