"""A task: where its rows are, how a row becomes text, its label words, and how answers are scored."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from softprompt_tf.config import SPLITS
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.target_format import TARGET_FORMATS
from softprompt_tf.tasks.metrics import check_metrics
from softprompt_tf.tasks.postprocessors import check_postprocessors
from softprompt_tf.tasks.preprocessors import check_preprocessors, preprocessed
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.sources import Source, iterate_rows, read_rows, source_name
from softprompt_tf.tasks.template import Template, field_text, field_texts
from softprompt_tf.tasks.unknown_label import unknown_label

TARGET_TOKENS_WITHOUT_LABELS = 32

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Example:
    """One row as text.

    Args:
      inputs: what T5 reads.
      target: what T5 should write.
      label: the label word, equal to `target`; None for a task without `labels`.
      row: the row that it was made of, preprocessed.
      references: all answers that the metrics take for right.
      group: what it shares with the rows of its group; () for a task without `group_by`.
    """

    inputs: str
    target: str
    label: str | None
    row: Row
    references: tuple[str, ...] = ()
    group: tuple[str, ...] = ()

    @property
    def right_answers(self) -> tuple[str, ...]:
        """What the metrics compare an answer with: `references`, or the target where the task names none."""
        return self.references or (self.target,)


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
      name: letters from a to z and A to Z, digits, `_`, `.` and `-`; also the task id of a served prompt.
      inputs: template of what T5 reads, such as "sst2 sentence: {sentence}".
      targets: template of what T5 should write. Default "{label}".
      labels: raw value -> label word, in label order; raw values are compared as `str(value)`. With it, `targets` must
        be one bare field, whose value is replaced by its word. None: the field's own text is written. For the binary
        metric `f1` the last label is the positive one.
      metrics: names of `softprompt_tf.tasks.METRICS`; the score of a prompt is their mean.
      preprocess: names of `softprompt_tf.tasks.PREPROCESSORS`, run in this order on the rows of every split; the templates,
        `references` and `group_by` name fields of the rows that they leave.
      preprocess_train: more of them, run after those on the training split alone.
      postprocess: names of `softprompt_tf.tasks.POSTPROCESSORS`, run in this order on what the model wrote, before it is scored.
      references: the field with the right answers, a text or a list of texts. None: the target is the one right answer. Not for
        a task with `labels`.
      group_by: fields that are equal for rows that belong to one question: `group_accuracy` wants all of a group right,
        `exact_match` and `token_f1` count the first row of each.
      train: source of the rows to learn from; see `read_rows`. Any source may be None.
      validation: source of the rows that choose the best prompt (dev rows).
      test: source of the rows whose score is reported.
      columns: the columns' names, for files without a header line.
      max_input_tokens: inputs are cut to this many tokens, the end of sequence included.
      max_target_tokens: the same for targets; None: as many as the longest label needs, or 32 without labels.
      target_format: "text": the decoder writes the target alone. "sentinel": it writes `<extra_id_0>` first, one token
        more than `max_target_tokens`, for a T5 that has only been pretrained on span corruption ("span corruption +
        sentinel", Lester et al. 2021, arXiv:2104.08691, section 3.2). `Example.target` stays the plain text.

    Raises:
      ConfigError: if a field does not fit.

    Examples:
      >>> from softprompt_tf.tasks import Task
      >>> rows = [{"text": "a charming film", "label": 1}]
      >>> task = Task("film", "film: {text}", labels={"0": "negative", "1": "positive"}, train=rows)
      >>> example = task.examples("train")[0]
      >>> example.inputs, example.target
      ('film: a charming film', 'positive')
    """

    name: str
    inputs: str
    targets: str = "{label}"
    labels: Mapping[str, str] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    preprocess: tuple[str, ...] = ()
    preprocess_train: tuple[str, ...] = ()
    postprocess: tuple[str, ...] = ()
    references: str | None = None
    group_by: tuple[str, ...] = ()
    train: Source | None = field(default=None, repr=False)
    validation: Source | None = field(default=None, repr=False)
    test: Source | None = field(default=None, repr=False)
    columns: tuple[str, ...] | None = None
    max_input_tokens: int = 512
    max_target_tokens: int | None = None
    target_format: str = "text"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"A task's name must be of the letters a to z and A to Z, digits, `_`, `.` and `-`. Received: {self.name!r}."
            )
        for limit in ("max_input_tokens", "max_target_tokens"):
            value = getattr(self, limit)
            if value is not None and value < 1:
                raise ConfigError(f"`{limit}` must be a whole number above 0. Received: {value}.")
        if self.target_format not in TARGET_FORMATS:
            raise ConfigError(
                f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: {self.target_format!r}."
            )
        for names in ("metrics", "preprocess", "preprocess_train", "postprocess", "group_by"):
            object.__setattr__(self, names, _as_names(names, getattr(self, names)))
        _check_scoring(self)
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
          limit: at most this many rows, counted after preprocessing, and with `group_by` the others of their groups, as a metric
            of groups needs them all; None for all.

        Raises:
          ConfigError: if there is no such split.
          DataError: if a row does not fit; names file, line and field.
        """
        rows = self.rows(split, limit=limit)
        if limit is not None and self.group_by:
            groups = {self._group(row) for row in rows}
            rows = [row for row in self.rows(split) if self._group(row) in groups]
        return [self._example(row, rows) for row in rows]

    def rows(self, split: str, *, limit: int | None = None) -> list[Row]:
        """Read a split and preprocess its rows; see `examples`."""
        if split not in SPLITS:
            raise ConfigError(
                f"A split must be one of {', '.join(SPLITS)}. Received: {split!r}.{nearest(split, SPLITS)}"
            )
        source = getattr(self, split)
        if source is None:
            raise ConfigError(f"Task {self.name} has no source for this split. Received: {split!r}. Set `{split}`.")
        names = self.preprocess + (self.preprocess_train if split == "train" else ())
        if not names:
            return read_rows(source, split=split, limit=limit, columns=self.columns)
        if limit is not None and limit < 1:
            raise ConfigError(f"`limit` must be a whole number above 0. Received: {limit}.")
        rows = list(islice(preprocessed(iterate_rows(source, split=split, columns=self.columns), names), limit))
        if not rows:
            raise DataError(f"{source_name(source)}: {', '.join(names)} left no rows of it.")
        return rows

    def example(self, row: Row) -> Example:
        """Turn one preprocessed row into text.

        Raises:
          DataError: if a field is missing or a label is unknown; names the row's place.
        """
        return self._example(row, (row,))

    def _example(self, row: Row, rows: Sequence[Row]) -> Example:
        """Do as `example`; `rows` are all that are read with it, for the error."""
        inputs = self.template.render_inputs(row)
        word = None if self.labels is None else self._label_word(row, rows)
        return Example(
            inputs=inputs,
            target=self.template.render_targets(row) if word is None else word,
            label=word,
            row=row,
            references=() if self.references is None else field_texts(row, self.references),
            group=self._group(row),
        )

    def _group(self, row: Row) -> tuple[str, ...]:
        return tuple(field_text(row, name) for name in self.group_by)

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

    def _label_word(self, row: Row, rows: Sequence[Row]) -> str:
        (name,) = self.template.target_fields
        value = field_text(row, name)
        words = self.labels or {}
        if value not in words:
            raise unknown_label(value, name, words, task=self.name, row=row, rows=rows)
        return words[value]


def _as_names(key: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ConfigError(f"`{key}` must be a list of names. Received: {names!r}. Write [{names}].")
    return tuple(names)


def _check_scoring(task: Task) -> None:
    check_metrics(task.metrics)
    check_preprocessors((*task.preprocess, *task.preprocess_train))
    check_postprocessors(task.postprocess)
    if "group_accuracy" in task.metrics and not task.group_by:
        raise ConfigError(
            f"The metric `group_accuracy` needs `group_by`. Received: none, in task {task.name}. "
            "Name the fields that are equal for the rows of one question."
        )
    if task.references is not None and task.labels is not None:
        raise ConfigError(
            f"With `labels`, the label's word is the right answer. Received: `references: {task.references}` too, in task "
            f"{task.name}. Leave one of them out."
        )


def _checked_labels(labels: Mapping[str, str], template: Template) -> dict[str, str]:
    if not isinstance(labels, Mapping):
        raise ConfigError(
            f"`labels` must be a mapping from raw value to label word, such as {{0: 'negative'}}. Received: {labels!r}."
        )
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
    if len(labels) > 1 and len(set(labels.values())) == 1:
        word = next(iter(labels.values()))
        raise ConfigError(f"`labels` must have two different words or more. Received: {word!r} for every value.")
    texts = [str(value) for value in labels]
    if len(set(texts)) < len(texts):
        raise ConfigError(f"`labels` must have each raw value once, compared as text. Received: {list(labels)!r}.")
    return {str(value): word for value, word in labels.items()}
