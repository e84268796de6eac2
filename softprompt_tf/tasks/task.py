"""A task: where its rows lie, how a row becomes text, which words its labels are and how answers are scored. Rows
enter, pairs of input and target text leave."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from softprompt_tf.config import SPLITS, TARGET_FORMATS
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.names import nearest
from softprompt_tf.tasks.metrics import check_metrics
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.sources import Source, read_rows
from softprompt_tf.tasks.template import Template, field_text

TARGET_TOKENS_WITHOUT_LABELS = 32

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Example:
    """One row as text.

    Args:
      inputs: what T5 reads.
      target: what T5 shall write.
      label: the label word, equal to `target`; None for a task without `labels`.
      row: the row that it was made of.
    """

    inputs: str
    target: str
    label: str | None
    row: Row


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
      name: letters, digits, `_`, `.` and `-`; also the task id of a served prompt.
      inputs: template of what T5 reads, such as "sst2 sentence: {sentence}".
      targets: template of what T5 shall write. Default "{label}".
      labels: raw value -> label word, in label order; raw values are compared as `str(value)`. With it, `targets` must
        be one bare field, whose value is replaced by its word. None: the field's own text is written. For the binary
        metric `f1` the last label is the positive one.
      metrics: names of `softprompt_tf.tasks.METRICS`; the score of a prompt is their mean.
      train: source of the rows to learn from; see `read_rows`. Any source may be None.
      validation: source of the rows that choose the best prompt.
      test: source of the rows for the last word.
      columns: the columns' names, for files without a header line.
      max_input_tokens: inputs are cut to this many tokens, the end of sequence included.
      max_target_tokens: the same for targets; None: as many as the longest label needs, or 32 without labels.
      target_format: "text": the decoder writes the target alone. "sentinel": it writes `<extra_id_0>` first, one token
        more than `max_target_tokens`, for a T5 that has only been pretrained on span corruption ("span corruption +
        sentinel", Lester et al. 2021, arXiv:2104.08691, section 3.2). `Example.target` stays the plain text.

    Raises:
      ConfigError: if a field does not fit.
    """

    name: str
    inputs: str
    targets: str = "{label}"
    labels: Mapping[str, str] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    train: Source | None = field(default=None, repr=False)
    validation: Source | None = field(default=None, repr=False)
    test: Source | None = field(default=None, repr=False)
    columns: tuple[str, ...] | None = None
    max_input_tokens: int = 512
    max_target_tokens: int | None = None
    target_format: str = "text"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"A task's name must be of letters, digits, `_`, `.` and `-`. Received: {self.name!r}.")
        for limit in ("max_input_tokens", "max_target_tokens"):
            value = getattr(self, limit)
            if value is not None and value < 1:
                raise ConfigError(f"`{limit}` must be a whole number above 0. Received: {value}.")
        if self.target_format not in TARGET_FORMATS:
            raise ConfigError(
                f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: {self.target_format!r}."
            )
        object.__setattr__(self, "metrics", tuple(self.metrics))
        check_metrics(self.metrics)
        template = self.template  # made here, so that a malformed one fails here
        if self.labels is not None:
            object.__setattr__(self, "labels", _checked_labels(self.labels, template))

    @cached_property
    def template(self) -> Template:
        """The task's templates."""
        return Template(self.inputs, self.targets)

    @property
    def label_words(self) -> tuple[str, ...]:
        """The label words, each once, in label order; () without labels."""
        return tuple(dict.fromkeys((self.labels or {}).values()))

    def examples(self, split: str, *, limit: int | None = None) -> list[Example]:
        """Read a split and turn its rows into text.

        Args:
          split: "train", "validation" or "test".
          limit: at most this many rows; None for all.

        Raises:
          ConfigError: if there is no such split.
          DataError: if a row does not fit; names file, line and field.
        """
        if split not in SPLITS:
            raise ConfigError(
                f"A split must be one of {', '.join(SPLITS)}. Received: {split!r}.{nearest(split, SPLITS)}"
            )
        source = getattr(self, split)
        if source is None:
            raise ConfigError(f"Task {self.name} has no source for this split. Received: {split!r}. Set `{split}`.")
        rows = read_rows(source, split=split, limit=limit, columns=self.columns)
        return [self.example(row) for row in rows]

    def example(self, row: Row) -> Example:
        """Turn one row into text.

        Raises:
          DataError: if a field is missing or a label is unknown; names the row's place.
        """
        inputs = self.template.render_inputs(row)
        if self.labels is None:
            return Example(inputs, self.template.render_targets(row), None, row)
        word = self._label_word(row)
        return Example(inputs, word, word, row)

    def target_token_limit(self, tokenize: Callable[[list[str]], Sequence[Sequence[int]]]) -> int:
        """Return how many tokens a target may have, the end of sequence included, a sentinel in front not counted.

        Args:
          tokenize: texts -> token ids without the end of sequence.
        """
        if self.max_target_tokens is not None:
            return self.max_target_tokens
        if self.labels is None:
            return TARGET_TOKENS_WITHOUT_LABELS
        return 1 + max(len(ids) for ids in tokenize(list(self.label_words)))

    def _label_word(self, row: Row) -> str:
        (name,) = self.template.target_fields
        value = field_text(row, name)
        words = self.labels or {}
        if value not in words:
            raise DataError(
                f"{row.location}: field `{name}` must be one of the labels of task {self.name}. "
                f"Received: {value!r}. Known: {', '.join(map(repr, words))}."
            )
        return words[value]


def _checked_labels(labels: Mapping[str, str], template: Template) -> dict[str, str]:
    if not labels:
        raise ConfigError("`labels` must name at least one label. Received: none. Leave the key out for free text.")
    if template.targets != f"{{{template.target_fields[0]}}}":
        raise ConfigError(
            f"With `labels`, `targets` must be one bare field. Received: {template.targets!r}. "
            "Put the other words into the labels."
        )
    for value, word in labels.items():
        if not isinstance(word, str) or not word:
            raise ConfigError(f"A label word must be text. Received: {word!r} for {value!r}. Quote it.")
    return {str(value): word for value, word in labels.items()}
