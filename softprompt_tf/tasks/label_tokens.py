"""Check that a tokenizer tells the label words of a task apart.

A label is scored by its tokens and the end of sequence. Two labels with the same tokens would share every score, for ever.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import pairwise

from softprompt_tf.errors import SoftPromptError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks.tokenized import ended_ids

Tokenize = Callable[[list[str]], Sequence[Sequence[int]]]
"""Texts -> token ids, without the end of sequence."""

_UNKNOWN_ID = 2  # T5's


def check_labels(
    labels: Sequence[str],
    tokenize: Tokenize,
    *,
    max_target_tokens: int,
    error_type: type[SoftPromptError],
    subject: str = "`labels`",
) -> tuple[str, ...]:
    """Refuse labels that are the same to the model.

    Args:
      labels: the label words.
      tokenize: of the backbone.
      max_target_tokens: where labels are cut, the end of sequence included.
      error_type: what is raised.
      subject: what messages call the labels, such as "the labels of task sst2".

    Returns:
      The labels as a tuple.

    Raises:
      error_type: if the labels are not a sequence of strings, or two of them have the same tokens.
    """
    if isinstance(labels, str | bytes):
        raise error_type(f"{_upper(subject)} must be a sequence of strings. Received: {labels!r}. Write [{labels!r}].")
    if isinstance(labels, Set | Mapping) or not isinstance(labels, Iterable):
        raise error_type(f"{_upper(subject)} must be a sequence of strings, in their order. Received: {labels!r}.")
    words = tuple(labels)
    for word in words:
        if not isinstance(word, str):
            raise error_type(f"{_upper(subject)} must be strings. Received: {word!r} ({type(word).__name__}).")
    first: dict[tuple[int, ...], str] = {}
    for word, ids in zip(words, _cut_ids(words, tokenize, max_target_tokens), strict=True):
        if ids in first:
            raise error_type(_same_tokens(subject, first[ids], word, ids, tokenize, max_target_tokens))
        first[ids] = word
    return words


def warn_of_labels(labels: Sequence[str], tokenize: Tokenize, *, max_target_tokens: int) -> None:
    """Warn of labels that the model tells apart, but not as their text says.

    Warns:
      UserWarning: for each label that holds an unknown piece or is cut, and for each that is the beginning of another.
    """
    words = tuple(labels)
    whole = [tuple(ids) for ids in tokenize([_clean(word) for word in words])] if words else []
    for word, ids in zip(words, whole, strict=True):
        if _UNKNOWN_ID in ids:
            warnings.warn(
                f"Label {word!r} has characters that the tokenizer does not know. Received: the tokens {list(ids)}, where "
                f"{_UNKNOWN_ID} is the unknown piece. The model cannot write it; use other words.",
                stacklevel=3,
            )
        if len(ids) >= max_target_tokens:
            warnings.warn(
                f"Label {word!r} is longer than max_target_tokens={max_target_tokens}. Received: {counted(len(ids), 'token')} and "
                f"the end of sequence. Training and scoring cut it to {max_target_tokens - 1}.",
                stacklevel=3,
            )
    for shorter, longer in _beginnings(words, [ids[: max_target_tokens - 1] for ids in whole]):
        warnings.warn(
            f"The tokens of label {shorter!r} are the beginning of those of label {longer!r}. Each label is scored with its "
            "end of sequence, so the two have different scores.",
            stacklevel=3,
        )


def _cut_ids(words: Sequence[str], tokenize: Tokenize, limit: int) -> list[tuple[int, ...]]:
    pieces = tokenize([_clean(word) for word in words]) if words else []
    return [tuple(ended_ids(ids, limit)) for ids in pieces]


def _clean(word: str) -> str:
    return word.encode("utf-8", errors="replace").decode("utf-8")  # half surrogate pairs, as texts are read elsewhere


def _same_tokens(
    subject: str, first: str, second: str, ids: tuple[int, ...], tokenize: Tokenize, max_target_tokens: int
) -> str:
    rule = f"{_upper(subject)} must differ to the model."
    if first == second:
        return f"{rule} Received: {first!r} twice. Name each label once."
    received = f"{rule} Received: {first!r} and {second!r}, which have the same tokens {list(ids)}"
    whole = [tuple(each) for each in tokenize([_clean(first), _clean(second)])]
    if whole[0] != whole[1]:
        return (
            f"{received} after the cut at max_target_tokens={max_target_tokens}. Raise that limit or use other words."
        )
    if _UNKNOWN_ID in ids:
        return f"{received}; {_UNKNOWN_ID} stands for characters that the tokenizer does not know. Use other words."
    return f"{received}: the tokenizer does not see their difference. Use other words."


def _beginnings(words: Sequence[str], ids: Sequence[tuple[int, ...]]) -> list[tuple[str, str]]:
    """Return each label with the next label that begins with its tokens; sorted, such labels are neighbours."""
    rows = sorted(zip(ids, words, strict=True))
    return [(word, longer) for (short, word), (long, longer) in pairwise(rows) if short == long[: len(short)]]


def _upper(subject: str) -> str:
    return subject[:1].upper() + subject[1:]
