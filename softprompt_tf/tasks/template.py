"""Fill templates such as `"sst2 sentence: {sentence}"` with the fields of a row."""

import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.prompt_places import MARKER, marker_counts, plain_text
from softprompt_tf.tasks.missing_field import missing_field
from softprompt_tf.tasks.rows import Row

_PARTS_OF_A_PATH = set(".[]")


@dataclass(frozen=True)
class Template:
    """Texts with `{field}` placeholders; a literal brace is written twice, `{{` or `}}`.

    A field's name may hold any character but braces, dots, square brackets, `!` and `:`, so that a column such as
    `#1 String` needs no renaming. `{prompt:3}` is no field but a marker, where three rows of a prompt go; it stays in the text.
    In a template with markers, all else that reads as one, in data or literal text, gets a space: `{ prompt:3}`.

    Args:
      inputs: what T5 reads, with at least one field.
      targets: what T5 shall write, with at least one field.

    Raises:
      ConfigError: where a template is malformed, holds no field, or reaches into a field (`{a.b}`, `{a[0]}`).

    Example:
      >>> Template("sst2 sentence: {sentence}", "{label}").input_fields
      ('sentence',)
    """

    inputs: str
    targets: str

    def __post_init__(self) -> None:
        for side in ("input_fields", "target_fields"):
            if not getattr(self, side):
                text = self.inputs if side == "input_fields" else self.targets
                raise ConfigError(f"A template needs at least one {{field}}. Received: {text!r}.")
        if _has_markers(self._target_parts):
            raise ConfigError(f"Markers of a prompt's rows are for `inputs` alone. Received: targets {self.targets!r}.")

    @cached_property
    def input_fields(self) -> tuple[str, ...]:
        """The fields that `inputs` names, each once, in order of first use."""
        return _fields(self._input_parts)

    @cached_property
    def target_fields(self) -> tuple[str, ...]:
        """The fields that `targets` names, each once, in order of first use."""
        return _fields(self._target_parts)

    @cached_property
    def marked_rows(self) -> int:
        """How many rows of a prompt the markers of `inputs` ask for."""
        return sum(sum(marker_counts(literal)) for literal, _ in self._input_parts if isinstance(literal, _Marker))

    def render_inputs(self, row: Row) -> str:
        """Fill `inputs` from a row.

        Args:
          row: its values are text, which is kept as it is, or numbers and booleans, which go through `str`.

        Raises:
          DataError: if a field is missing, empty of value (None, NaN) or no scalar; names the row and the field.
        """
        return _render(self._input_parts, row)

    def render_targets(self, row: Row) -> str:
        """Fill `targets` from a row; see `render_inputs`."""
        return _render(self._target_parts, row)

    def affixes(self) -> tuple[str, str] | None:
        """Return the literal text before and after the one input field; None where `inputs` uses more than one."""
        literals, is_marked = self._literals, _has_markers(self._input_parts)
        if literals is None:
            return None
        return _joined(literals[0], is_marked=is_marked), _joined(literals[1], is_marked=is_marked)

    def around(self, text: str) -> str:
        """Put the template around a text, as around the value of its one field; where it has several, the text is all of it."""
        if self._literals is None:
            return text
        before, after = self._literals
        return _joined([*before, text, *after], is_marked=_has_markers(self._input_parts))

    @property
    def _literals(self) -> tuple[list[str], list[str]] | None:
        """The literal texts before and after the one input field; an escaped brace cuts one in two."""
        fields = [field for _, field in self._input_parts]
        places = [place for place, field in enumerate(fields) if field is not None]
        if len(places) != 1:
            return None
        literals = [literal for literal, _ in self._input_parts]
        return literals[: places[0] + 1], literals[places[0] + 1 :]

    @cached_property
    def _input_parts(self) -> tuple[tuple[str, str | None], ...]:
        return tuple(_parse(self.inputs))

    @cached_property
    def _target_parts(self) -> tuple[tuple[str, str | None], ...]:
        return tuple(_parse(self.targets))


def without_first_word(template: str) -> str:
    """Return an inputs template without its leading word, which is the task's name in T5's formats: the "taskless" form.

    Raises:
      ConfigError: if the template does not begin with a literal word and a space.

    Source: google-research/prompt-tuning, `prompt_tuning/data/preprocessors.py:remove_first_text_token`.
    """
    word, space, rest = template.partition(" ")
    if not word or not space or not rest or "{" in word:
        raise ConfigError(
            f"With `taskless`, `inputs` must begin with a word to leave out and a space. Received: {template!r}."
        )
    return rest


def field_text(row: Row, field: str) -> str:
    """Return the text of one field of a row.

    Raises:
      DataError: as `Template.render_inputs`.
    """
    if field not in row.values:
        raise missing_field(row.location, field, row.values)
    value = row.values[field]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # NumPy scalars
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
            raise DataError(
                f"{row.location}: field `{field}` must be valid Unicode. Received: {ascii(value)[:80]}."
            ) from None
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise DataError(f"{row.location}: field `{field}` has no value. Received: {value}.")
    if not isinstance(value, int | float):
        raise DataError(
            f"{row.location}: field `{field}` must be text, a number or a boolean. "
            f"Received: {type(value).__name__}. Fields of the row: {', '.join(map(str, row.values))}."
        )
    return str(value)


def field_texts(row: Row, field: str) -> tuple[str, ...]:
    """Return the texts of one field of a row: those of its list, or its one value's.

    Raises:
      DataError: as `Template.render_inputs`, or if the list is empty.
    """
    value = row.values.get(field)
    if not isinstance(value, list | tuple):
        return (field_text(row, field),)
    if not value:
        raise DataError(f"{row.location}: field `{field}` must hold at least one text. Received: none.")
    return tuple(field_text(Row({field: item}, row.location), field) for item in value)


class _Marker(str):
    """The text of a marker in a template."""


def _render(parts: tuple[tuple[str, str | None], ...], row: Row) -> str:
    texts: list[str] = []
    for literal, field in parts:
        texts += [literal] if field is None else [literal, field_text(row, field)]
    return _joined(texts, is_marked=_has_markers(parts))


def _joined(texts: Sequence[str], *, is_marked: bool) -> str:
    """Join texts; of a template with markers, nothing else reads as one, also where texts meet."""
    if not is_marked:
        return "".join(texts)
    kinds = groupby(texts, key=lambda text: isinstance(text, _Marker))
    return "".join("".join(each) if is_marker else plain_text("".join(each)) for is_marker, each in kinds)


def _has_markers(parts: tuple[tuple[str, str | None], ...]) -> bool:
    return any(isinstance(literal, _Marker) for literal, _ in parts)


def _fields(parts: tuple[tuple[str, str | None], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(field for _, field in parts if field is not None))


def _parse(template: str) -> Iterator[tuple[str, str | None]]:
    """Yield (literal text, the field after it); the last field may be None.

    The values are joined by hand and not by `str.format`, which would look up attributes of what a row holds.
    """
    if not isinstance(template, str):
        raise ConfigError(f"A template must be text. Received: {template!r}.")
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(
            f"A template must have matching braces ({error}). Received: {template!r}. Write a literal brace twice."
        ) from None
    for literal, field, spec, conversion in parts:
        marker = f"{{{field}:{spec}}}"
        if spec and not conversion and re.fullmatch(MARKER, marker):
            yield literal, None
            yield _Marker(marker), None
            continue
        if field is not None:
            _check_field(field, spec, conversion, template)
        yield literal, field


def _check_field(field: str, spec: str | None, conversion: str | None, template: str) -> None:
    if not field.strip():
        raise ConfigError(f"Every placeholder of a template must name a field. Received: {template!r}.")
    if field == "prompt" and spec:
        raise ConfigError(
            f"A marker must name a number of rows above 0, as in `{{prompt:3}}`. Received: `{{prompt:{spec}}}` in {template!r}."
        )
    if spec or conversion or "{" in field:
        raise ConfigError(f"A placeholder takes a field's name and no format. Received: `{field}` in {template!r}.")
    if _PARTS_OF_A_PATH & set(field):
        raise ConfigError(
            f"A placeholder must be a plain field name, without dots or brackets. Received: `{field}` in {template!r}. "
            "Flatten the rows first."
        )
