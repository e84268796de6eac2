"""Read rows from TFDS or from a `tf.data.Dataset`. TensorFlow Datasets is imported only for a TFDS name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from softprompt_tf.errors import DataError, first_line
from softprompt_tf.tasks.rows import Row, text_of
from softprompt_tf.tasks.tfds_builder import fetch, tfds_builder

_Names = Mapping[str, Callable[[int], str]]


def tfds_rows(name: str, *, split: str | None = None) -> Iterator[Row]:
    """Read one split of a TFDS data set, in its stored order.

    Args:
      name: such as "super_glue/boolq"; "ag_news_subset@test" names the split itself and wins over `split`.
      split: such as "train" or "train[:90%]".

    Returns:
      Rows; bytes are decoded, also within lists and nested features, and a class number is replaced by the class' name
      (None where it is -1, that is where the data set hides the label).

    Raises:
      DataError: if there is neither such a file nor such a data set, it cannot be fetched, or the split is unknown.
    """
    data_set, _, own_split = name.partition("@")
    chosen = own_split or split
    builder = tfds_builder(data_set)
    if not chosen:
        raise DataError(f"A TFDS data set needs a split. Received: {name!r}. Write for example {data_set}@train.")
    fetch(builder, data_set)
    try:
        data = builder.as_dataset(split=chosen, shuffle_files=False)
    except Exception as error:  # ValueError and KeyError for most mistakes; TFDS promises none
        known = ", ".join(builder.info.splits) or "none"
        raise DataError(
            f"{data_set} has no split of this name. Received: {chosen!r}. Known: {known}. {first_line(error)}"
        ) from error
    return dataset_rows(data, class_names=_class_names(builder.info.features), prefix=f"{data_set}@{chosen} ")


def dataset_rows(data: Iterable[Any], *, class_names: _Names | None = None, prefix: str = "") -> Iterator[Row]:
    """Turn the dictionaries of a `tf.data.Dataset` into rows.

    Args:
      data: a dataset of unbatched dictionaries.
      class_names: field -> the function from a class number to its name.
      prefix: stands before "row 3" in each row's location.

    Raises:
      DataError: if an element is no dictionary or text is not UTF-8.
    """
    for number, element in enumerate(data.as_numpy_iterator(), start=1):  # type: ignore[attr-defined]
        location = f"{prefix}row {number}"
        if not isinstance(element, Mapping):
            raise DataError(f"{location}: must be a dictionary of fields. Received: {type(element).__name__}.")
        yield Row(
            {field: _plain(value, field, location, class_names or {}) for field, value in element.items()}, location
        )


def _plain(value: Any, field: str, location: str, class_names: _Names) -> object:
    if field in class_names:
        return class_names[field](int(value)) if value >= 0 else None
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{field}.{key}", location, class_names) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":  # an array of texts
        return [_plain(item, field, location, class_names) for item in value]
    if isinstance(value, bytes):
        return text_of(value, field, location)
    if getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def _class_names(features: Mapping[str, Any]) -> _Names:
    return {name: feature.int2str for name, feature in features.items() if hasattr(feature, "int2str")}
