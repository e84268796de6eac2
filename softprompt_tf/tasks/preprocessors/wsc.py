"""The Winograd Schema Challenge as a short text to write: mark the pronoun, and write the candidate."""

import re
from collections.abc import Iterator

from softprompt_tf.errors import DataError
from softprompt_tf.tasks.preprocessors.fields import mapping_field, number_field, text_field
from softprompt_tf.tasks.rows import Row


def wsc(row: Row) -> Iterator[Row]:
    """Yield one row whose pronoun is marked.

    Args:
      row: SuperGLUE's file form, `{text, target: {span1_text, span2_text, span2_index}, label}`; or TFDS's
        (`super_glue/wsc.fixed`), with the spans' fields beside `text`. Span 1 is the candidate, span 2 the pronoun, its index
        counts words between single spaces, from 0.

    Returns:
      A row of `text` ("Bob asked Tom if *he* can lend some money."), `referent` (the candidate, written as in the text),
      `pronoun` and `label` (whether the pronoun means the candidate; None where it is hidden).

    Raises:
      DataError: if the row is of neither form, or the pronoun does not stand in the text.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.4 (WSC cast as text); Levesque et al. 2012. The index is off in four
    rows of SuperGLUE: a pronoun with punctuation behind it is parted from it, as in T5's data, and else the nearest word that
    equals it is taken.
    """
    place = row.location
    spans = mapping_field(row.values, "target", place) if "target" in row.values else row.values
    pronoun = text_field(spans, "span2_text", place)
    text = text_field(row.values, "text", place)
    values = {
        "text": _marked(text, pronoun, number_field(spans, "span2_index", place), place),
        "referent": _as_written(text_field(spans, "span1_text", place), text),
        "pronoun": pronoun,
        "label": row.values.get("label"),
    }
    yield Row(values, place)


def _marked(text: str, pronoun: str, index: int, place: str) -> str:
    words = text.split(" ")
    distances = {number: abs(number - index) for number, word in enumerate(words) if _is_pronoun(word, pronoun)}
    if not distances:
        raise DataError(f"{place}: the pronoun must stand in the text. Received: {pronoun!r} in {text[:80]!r}.")
    nearest = min(distances, key=lambda number: distances[number])
    behind = words[nearest].removeprefix(pronoun)
    words[nearest] = f"*{pronoun}* {behind}" if behind else f"*{pronoun}*"
    return " ".join(words)


def _is_pronoun(word: str, pronoun: str) -> bool:
    """Whether a word is the pronoun, alone or with punctuation behind it."""
    return word.startswith(pronoun) and not re.search(r"\w", word.removeprefix(pronoun))


def _as_written(referent: str, text: str) -> str:
    """Return a referent as it stands in the text, where it does but for case, line ends and a stop behind it.

    SuperGLUE's file has "The roof" where the text says "the roof"; T5 trains on `wsc.fixed`, where they agree.
    """
    if referent in text:
        return referent
    plain = referent.rstrip(".").replace("\n", " ")
    found = re.search(re.escape(plain), text, re.IGNORECASE)
    return found[0] if found else referent
