"""The Winograd Schema Challenge: did the model name the row's candidate?"""

from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.template import field_text

# fmt: off
_DETERMINERS = frozenset({
    "a", "an", "each", "every", "few", "her", "his", "many", "much", "my", "our", "some", "that", "the", "their", "these",
    "this", "those", "which", "whose", "your",
})
# fmt: on


def wsc_referent(text: str, row: Row) -> str:
    """Return "True" if the text names the row's `referent`, "False" if it names another, "" if it names none.

    Case and determiners do not count; one of the two must hold all words of the other ("the fuzzy bunny" names "bunny"); and
    an apostrophe must stand in both or in neither ("Bob" does not name "Bob's hat"). "" equals no label, so that an empty
    answer is wrong for either.

    Raises:
      DataError: if the row has no `referent`.

    Source: google-research/text-to-text-transfer-transformer, `t5/data/postprocessors.py:wsc_simple`.
    """
    referent, written = _words(field_text(row, "referent")), _words(text)
    if not written:
        return ""
    if _has_apostrophe(written) != _has_apostrophe(referent):
        return "False"
    return str(bool(referent) and (written <= referent or referent <= written))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split()) - _DETERMINERS


def _has_apostrophe(words: frozenset[str]) -> bool:
    return any("'" in word for word in words)
