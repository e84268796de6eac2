"""In a served graph: the texts of requests as their tasks read them, with places for rows of prompts that are not in front."""

from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones.tokenization.placed_text import marked_rows
from softprompt_tf.export.graph.graph_functions import GraphFunctions
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.methods.task_tensors import PROMPT_AT_END, PROMPT_IN_TEXT
from softprompt_tf.prompt_places import MARKER, MARKER_BODY


class ServedTexts(NamedTuple):
    """Renders and tokenizes texts. A graph without tables of rows in other places than in front has no operation for them.

    Args:
      tables: of the tasks.
      functions: of the graph.
    """

    tables: TaskTables
    functions: GraphFunctions

    def rendered(self, text: tf.Tensor, task: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Put each task's template around its text.

        Args:
          text: string [B], valid UTF-8.
          task: int32 [B].

        Returns:
          Texts [B], and a status [B] where the graph has places: of texts whose markers ask for more rows than there are.
        """
        before, after = (self.tables.of(name, task) for name in ("text_before", "text_after"))
        if not self._has_places:
            return tf.strings.join([before, text, after]), None
        num_rows, _ = self._counts(task)
        text = _rendered(text, before, after, num_rows)
        return text, _marker_status(text, num_rows)

    def tokenize(
        self, text: tf.Tensor, limit: tf.Tensor, task: tf.Tensor, *, rows: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ids int32 [B, T] of rendered texts and their mask; of some rows of the batch, where these are given."""
        parts = [text, limit, *(self._counts(task) if self._has_places else ())]
        tokenize = self.functions.tokenize_placed or self.functions.tokenize
        return tokenize(*(parts if rows is None else [tf.gather(part, rows) for part in parts]))

    def keys(self, text: tf.Tensor, task: tf.Tensor) -> tf.Tensor:
        """Return string [B], equal for rows whose ids are equal but for where they are cut."""
        if not self._has_places:
            return text
        return tf.strings.join([*map(tf.strings.as_string, self._counts(task)), text], separator=" ")

    @property
    def _has_places(self) -> bool:
        return self.functions.tokenize_placed is not None

    def _counts(self, task: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return how many rows go where markers say and behind the text, int32 [B] each."""
        return self.tables.lengths(PROMPT_IN_TEXT, task), self.tables.lengths(PROMPT_AT_END, task)


def _rendered(text: tf.Tensor, before: tf.Tensor, after: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """Put templates around texts [B]. Where one has markers, nothing else reads as one, also where texts meet, as in `Template`.

    Args:
      text: of a request.
      before, after: the template's text, [B] each.
      num_rows: int32 [B], rows that go where markers say; 0: markers mean nothing.
    """
    near_before = tf.strings.regex_replace(before, f"(?s)^.*{MARKER}", "")  # behind the last marker
    near_after = tf.strings.regex_replace(after, f"(?s){MARKER}.*", "")  # in front of the first one
    cut, rest = tf.strings.length(before) - tf.strings.length(near_before), tf.strings.length(near_after)
    first, last = (
        tf.strings.substr(before, tf.zeros_like(cut), cut),
        tf.strings.substr(after, rest, tf.strings.length(after)),
    )
    data = tf.strings.join([near_before, text, near_after])
    plain = tf.strings.regex_replace(data, rf"\{{({MARKER_BODY})", r"{ \1")
    is_marked = (num_rows > 0) & ((first != "") | (last != ""))
    return tf.strings.join([first, tf.where(is_marked, plain, data), last])


def _marker_status(text: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """Return a status [B] for texts whose markers ask for more rows than there are; `num_rows` as in `_plain_data`."""
    asked = marked_rows(text)
    most, received = (tf.strings.as_string(count) for count in (num_rows, asked))
    message = tf.strings.join(["Markers of `text` must ask for at most ", most, " rows. Received: ", received, "."])
    return tf.where((num_rows > 0) & (asked > tf.cast(num_rows, tf.int64)), message, "")
