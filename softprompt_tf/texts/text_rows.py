"""Read texts in memory, in any form that Keras takes arrays in, as columns with one entry per row.

Lists, tuples, NumPy arrays, tensors, pandas Series and DataFrames; and what weighs a row: sample weights and class weights.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softprompt_tf.errors import DataError

TEXT_KEYS = ("encoder_text", "decoder_text")
WEIGHT = "sample_weight"

Columns = dict[str, Any]


def holds_texts(x: Any) -> bool:
    """Say whether `x` is meant as texts: anything but arrays of numbers and what Keras has no name for."""
    if is_columns(x):
        names = list(x.keys())
        if any(name in names for name in TEXT_KEYS):
            return True
        return "encoder_token_ids" not in names and any(holds_texts(x[name]) for name in names)
    if isinstance(x, (str, bytes)):
        return True
    if is_tensor(x):
        return bool(x.dtype.name == "string")
    if isinstance(x, (list, tuple)):
        return not x or not all(hasattr(part, "shape") and len(part.shape) for part in x)
    return _is_array(x) and np.asarray(x).dtype.kind not in "biufcV"


def is_tensor(x: Any) -> bool:
    """Say whether `x` is a tensor of TensorFlow, without loading it: where nobody has, there is no such tensor."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and bool(tensorflow.is_tensor(x))


def is_one_text(inputs: Any) -> bool:
    """Say whether `generate` is asked for one text: a string, or a tensor or array of rank 0 that holds one."""
    return isinstance(inputs, (str, bytes)) or (hasattr(inputs, "shape") and tuple(inputs.shape) == ())


def is_columns(x: Any) -> bool:
    """Say whether `x` has columns by name: a mapping or a DataFrame."""
    return isinstance(x, Mapping) or (hasattr(x, "columns") and hasattr(x, "keys"))


def columns_of(x: Any, y: Any = None, sample_weight: Any = None) -> Columns:
    """Return the columns of texts in memory, with equally many rows in each.

    Args:
      x: a mapping or a DataFrame with `encoder_text` (and `decoder_text`, `task_id`), or a sequence of input texts.
      y: a sequence of target texts, where `x` has none.
      sample_weight: a weight of each row.

    Returns:
      `encoder_text` and `decoder_text`, lists of strings; `task_id` and `sample_weight` (float32 [N]) where they are given.

    Raises:
      DataError: if a column is missing or doubled, has another number of rows, or an entry is no text or no weight.
    """
    if y is None:
        _check_is_no_list_of_rows(x)
    columns = _by_name(x, y)
    check_names([*columns, *(["decoder_text"] if y is not None else [])], has_y=y is not None)
    if y is not None:
        columns["decoder_text"] = y
    made: Columns = {name: listed(value, name) for name, value in columns.items() if name in (*TEXT_KEYS, "task_id")}
    if sample_weight is not None:
        made[WEIGHT] = row_weights(sample_weight)
    lengths = {name: len(value) for name, value in made.items()}
    if len(set(lengths.values())) != 1 or not lengths["encoder_text"]:
        raise DataError(f"All columns must have the same number of rows, at least one. Received: {lengths}.")
    targets = [as_text(_no_number(text)) for text in made["decoder_text"]]
    return {**made, "encoder_text": [as_text(text) for text in made["encoder_text"]], "decoder_text": targets}


def _check_is_no_list_of_rows(x: Any) -> None:
    """Refuse a list of pairs or of dictionaries.

    Raises:
      DataError: with the columns to pass instead.
    """
    if isinstance(x, (list, tuple)) and x and isinstance(x[0], (list, tuple, Mapping)):
        raise DataError(
            f"Texts must come as columns. Received: a {type(x).__name__} with a {type(x[0]).__name__} for each entry. Pass "
            "inputs and targets as `x` and `y`, or {'encoder_text': [...], 'decoder_text': [...]}."
        )


def check_names(names: Sequence[Any], *, has_y: bool = False) -> None:
    """Refuse columns that lack a text, have one twice, or hold weights.

    Raises:
      DataError: with the columns that there are.
    """
    if any(name in ("sample_weight", "sample_weights") for name in names):
        raise DataError(
            f"Weights are no column of texts. Received: {sorted(map(str, names))}. Pass sample_weight=..., or a third part "
            "beside inputs and targets."
        )
    if not set(TEXT_KEYS) <= set(names):
        hint = "" if has_y else " Name the columns so, or pass inputs and targets as `x` and `y`."
        raise DataError(f"Texts must come with {' and '.join(TEXT_KEYS)}. Received: {sorted(map(str, names))}.{hint}")
    if len(set(names)) != len(names):
        raise DataError("Targets must come once. Received: both a column decoder_text and `y`. Leave out one of them.")


def listed(values: Any, name: str) -> list[Any]:
    """Return one entry per row of a list, an array, a tensor, a Series or a DataFrame of one column.

    Raises:
      DataError: if there is no such entry.
    """
    if isinstance(values, (str, bytes)):
        raise DataError(
            f"`{name}` must be a sequence with one entry for each row. Received: the string {values[:60]!r}."
        )
    if isinstance(values, (list, tuple)):
        return list(values)
    if is_tensor(values):
        values = values.numpy()
    if _is_array(values):
        array = np.asarray(values)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise DataError(f"`{name}` must have one entry for each row. Received: shape {list(array.shape)}.")
        return list(array)
    if hasattr(values, "__iter__") and hasattr(values, "__len__") and not isinstance(values, Mapping):
        return list(values)
    raise DataError(f"`{name}` must be a sequence with one entry for each row. Received: {type(values).__name__}.")


def _no_number(target: Any) -> Any:
    """Refuse the number of a label with a DataError that says what to do; other targets stay."""
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        raise DataError(
            f"Every text must be a string. Received: {target!r} ({type(target).__name__}). Map label numbers to words first: "
            "[labels[k] for k in y]."
        )
    return target


def as_text(text: Any) -> str:
    """Return a text as UTF-8 can hold it.

    Raises:
      DataError: for anything but a string or bytes.
    """
    if hasattr(text, "shape") and tuple(text.shape) == ():
        text = np.asarray(text).item()  # of an array or a tensor of rank 0
    if isinstance(text, bytes):
        return text.decode("utf-8", errors="replace")
    if isinstance(text, str):
        return text.encode("utf-8", errors="replace").decode("utf-8")
    if _is_array(text) or is_tensor(text):
        raise DataError(
            f"Every text must be a string. Received: an array of shape {list(text.shape)} in its place. Pass one text for each "
            "row; of a dataset that is batched, dataset.unbatch()."
        )
    advice = " It is a missing value: leave its row out, or fill it in." if _is_missing(text) else ""
    raise DataError(f"Every text must be a string. Received: {text!r} ({type(text).__name__}).{advice}")


def _is_missing(text: Any) -> bool:
    try:
        return text is None or bool(text != text)
    except (TypeError, ValueError):  # pandas.NA is neither true nor false
        return type(text).__name__ == "NAType"


def row_weights(sample_weight: Any) -> np.ndarray:
    """Return sample weights as float32 [N].

    Raises:
      DataError: if they are not one finite number, 0 or more, for each row.
    """
    if is_columns(sample_weight) and not hasattr(sample_weight, "iloc"):
        raise DataError("`sample_weight` must have one number for each row. Received: a dictionary.")
    weights = [_weight(value, "sample_weight") for value in listed(sample_weight, "sample_weight")]
    return np.array(weights, np.float32)


def class_weights(class_weight: Any, labels: Sequence[str]) -> dict[str, float]:
    """Return the weight of each label word.

    Args:
      class_weight: label word, or index into `labels`, -> weight.
      labels: the model's label words; any word is one where there are none.

    Raises:
      DataError: if a key is no label, two are the same one, or a weight is no finite number, 0 or more.
    """
    if not isinstance(class_weight, Mapping):
        raise DataError(f"`class_weight` must be a dictionary, label word -> weight. Received: {class_weight!r}.")
    weights: dict[str, float] = {}
    for key, value in class_weight.items():
        word = _label(key, labels)
        if word in weights:
            raise DataError(f"`class_weight` must name each label once. Received: {list(class_weight)}.")
        weights[word] = _weight(value, "class_weight")
    return weights


def weighted_by_class(columns: Columns, weights: Mapping[str, float]) -> Columns:
    """Return the columns with each row weighted by its target, 1 where the target has no weight."""
    each = [weights.get(text, 1.0) for text in columns["decoder_text"]]
    return {**columns, WEIGHT: np.array(each, np.float32)}


def sliced(columns: Columns, rows: slice) -> Columns:
    """Return some rows of every column."""
    return {name: column[rows] for name, column in columns.items()}


def _by_name(x: Any, y: Any) -> dict[str, Any]:
    if not is_columns(x):
        return {"encoder_text": x}
    names = list(x.keys())
    if y is not None and len(names) == 1 and not isinstance(x, Mapping):
        return {"encoder_text": x[names[0]]}  # a DataFrame of inputs beside targets
    return {name: x[name] for name in names}


def _label(key: Any, labels: Sequence[str]) -> str:
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < len(labels):
        return labels[int(key)]
    if isinstance(key, str) and (not labels or key in labels):
        return key
    known = f"one of {list(labels)} or an index into them" if labels else "label words, as the model has no `labels`"
    raise DataError(f"Keys of `class_weight` must be {known}. Received: {key!r}.")


def _weight(value: Any, name: str) -> float:
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise DataError(f"`{name}` must have finite numbers, 0 or more, one for each. Received: {value!r}.")
    return float(value)


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or (hasattr(x, "__array__") and hasattr(x, "shape"))
