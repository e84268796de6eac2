"""Read the fields of a row from its record, whatever the format of the file."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.export.bulk.records import Record
from softprompt_tf.shown_numbers import counted

_DEEPEST = 100

Fields = dict[str, Any]  # JSON values; bytes where a TFRecord file has some that are no text


def fields_of(record: Record, kind: str, columns: Sequence[str]) -> Fields:
    """Return the fields of a row.

    Args:
      record: of the file.
      kind: the file's format.
      columns: of a CSV file.

    Raises:
      DataError: with the rule and what was received, if the record is no row.
    """
    if record.problem:
        raise DataError(record.problem)
    return _READERS[kind](record, columns)


def _json_fields(record: Record, columns: Sequence[str]) -> Fields:
    try:
        text = record.content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"Must be valid UTF-8. Received: {error.reason} at byte {error.start} of the row.") from None
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"Must be one JSON object. Received: {text[:80]!r} ({error}).") from None
    if not isinstance(values, dict):
        raise DataError(f"Must be one JSON object. Received: {text[:80]!r}.")
    _check_depth(values, text)
    _check_unicode(text if r"\u" in text else "", values)
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_depth(values: Any, text: str) -> None:
    """Refuse what is nested so deeply that it cannot be written again; how deep Python itself goes depends on the caller."""
    if text.count("[") + text.count("{") <= _DEEPEST:
        return
    level = [values]
    for _ in range(_DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    if level:
        raise DataError(f"Must be nested at most {_DEEPEST} deep. Received: {text[:80]!r}.")


def _check_unicode(text: str, values: Mapping[str, Any]) -> None:
    """Refuse halves of surrogate pairs, which only escapes can bring into JSON."""
    if text:
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError(f"Must be valid Unicode. Received: {text[:80]!r}.") from None


def _csv_fields(record: Record, columns: Sequence[str]) -> Fields:
    for name, value in zip(columns, record.values, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise DataError(f"Must be valid UTF-8. Received: column `{name}` {ascii(value)[:80]}.")
    return dict(zip(columns, record.values, strict=True))


def _example_fields(record: Record, columns: Sequence[str]) -> Fields:
    example = parsed_example(record.content)
    return {name: _value(feature) for name, feature in sorted(example.features.feature.items())}


def parsed_example(content: bytes) -> Any:
    """Return a `tf.train.Example`.

    Raises:
      DataError: if the bytes are none.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        return example_pb2.Example.FromString(content)
    except DecodeError as error:
        raise DataError(f"Must be one tf.train.Example. Received: {counted(len(content), 'byte')} ({error}).") from None


def _value(feature: Any) -> Any:
    """Return one value, or the list where there are none or several."""
    import numpy as np

    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    if kind == "bytes_list":
        values = [_text(value) for value in values]
    elif kind == "float_list":
        values = [float(str(np.float32(value))) for value in values]  # 0.1, and not 0.10000000149
    return values[0] if len(values) == 1 else values


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def as_json(value: Any) -> Any:
    """Return a value that JSON can hold: bytes as {"b64": ...}, and no number that is infinite or NaN."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # as protobuf's JSON has them
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return value


_READERS = {"jsonl": _json_fields, "csv": _csv_fields, "tfrecord": _example_fields}
