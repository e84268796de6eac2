"""Count the texts that are cut and the pieces that the tokenizer does not know, and say so."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from softprompt_tf.progress import say
from softprompt_tf.prompt_places import NO_PLACES, TextPlaces, Tokenize
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks.task import Example

# Shares past which a warning is given: a cut input often loses only its end, a cut target is never learnt whole.
MAX_CUT_INPUTS = 0.05
MAX_CUT_TARGETS = 0.01
MAX_UNKNOWN = 0.01

UNKNOWN_ID = 2  # T5's
_TEXTS_PER_CALL = 1_024


@dataclass(frozen=True)
class CutTexts:
    """How much of N rows the model does not see.

    Args:
      rows: N.
      cut_inputs: rows whose input is longer than `max_input_tokens`, the end of sequence included.
      cut_targets: the same for targets.
      pieces: of all inputs and targets, before they are cut.
      unknown: those that the tokenizer does not know.
      max_input_tokens, max_target_tokens: the limits.
    """

    rows: int
    cut_inputs: int
    cut_targets: int
    pieces: int
    unknown: int
    max_input_tokens: int
    max_target_tokens: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut and every piece is known."""
        return not (self.cut_inputs or self.cut_targets or self.unknown)

    def __str__(self) -> str:
        cut, unknown = "no text is cut", "no token is unknown"
        if self.cut_inputs or self.cut_targets:
            cut = (
                f"cut: {_told(self.cut_inputs, self.rows)} inputs (at {counted(self.max_input_tokens, 'token')}), "
                f"{_told(self.cut_targets, self.rows)} targets (at {counted(self.max_target_tokens, 'token')})"
            )
        if self.unknown:
            unknown = f"unknown: {_told(self.unknown, self.pieces)} tokens"
        return f"{counted(self.rows, 'row')}; {cut}{', and' if self.is_whole else ';'} {unknown}"

    def warnings(self) -> list[str]:
        """Return what is past its threshold, each with what to do."""
        found = []
        if self.cut_inputs > MAX_CUT_INPUTS * self.rows:
            found.append(f"Many inputs are cut: {_told(self.cut_inputs, self.rows)}. Raise `max_input_tokens`.")
        if self.cut_targets > MAX_CUT_TARGETS * self.rows:
            found.append(f"Many targets are cut: {_told(self.cut_targets, self.rows)}. Raise `max_target_tokens`.")
        if self.unknown > MAX_UNKNOWN * self.pieces:
            share = _told(self.unknown, self.pieces)
            found.append(f"Many pieces are unknown to the tokenizer: {share}. Is this T5 for that language or script?")
        return found


def count_cut_texts(
    inputs: Sequence[str],
    targets: Sequence[str],
    tokenize: Tokenize,
    *,
    max_input_tokens: int,
    max_target_tokens: int,
    places: TextPlaces = NO_PLACES,
) -> CutTexts:
    """Count what is cut and what is unknown in N inputs and their targets; markers of a prompt's rows do not count."""
    cut_inputs, input_pieces, unknown_inputs = _counts(places.without_markers(inputs), tokenize, max_input_tokens)
    cut_targets, target_pieces, unknown_targets = _counts(targets, tokenize, max_target_tokens)
    return CutTexts(
        rows=len(inputs),
        cut_inputs=cut_inputs,
        cut_targets=cut_targets,
        pieces=input_pieces + target_pieces,
        unknown=unknown_inputs + unknown_targets,
        max_input_tokens=max_input_tokens,
        max_target_tokens=max_target_tokens,
    )


def tell_cut_texts(
    inputs: Sequence[str],
    targets: Sequence[str],
    tokenize: Tokenize,
    *,
    max_input_tokens: int,
    max_target_tokens: int,
    name: str = "Texts",
    stream: TextIO | None = None,
    places: TextPlaces = NO_PLACES,
) -> CutTexts:
    """Count, and say on the standard error stream what is cut or unknown, if anything is.

    Warns:
      UserWarning: for each share past its threshold.
    """
    limits = {"max_input_tokens": max_input_tokens, "max_target_tokens": max_target_tokens}
    counts = count_cut_texts(inputs, targets, tokenize, **limits, places=places)
    tell_counts(counts, name=name, stream=stream)
    return counts


def tell_counts(counts: CutTexts, *, name: str = "Texts", stream: TextIO | None = None) -> bool:
    """Say on the standard error stream what is cut or unknown, and return whether anything is.

    Warns:
      UserWarning: for each share past its threshold.
    """
    if not counts.is_whole:
        say(f"{name}: {counts}", stream=stream)
    for message in counts.warnings():
        warnings.warn(f"{name}: {message}", stacklevel=3)
    return not counts.is_whole


def tell_cut_examples(
    examples: Sequence[Example],
    tokenize: Tokenize,
    *,
    max_input_tokens: int,
    max_target_tokens: int,
    name: str,
    places: TextPlaces = NO_PLACES,
) -> CutTexts:
    """Do as `tell_cut_texts` for the rows of a task, and also say that nothing is cut."""
    counts = tell_cut_texts(
        [each.inputs for each in examples],
        [each.target for each in examples],
        tokenize,
        max_input_tokens=max_input_tokens,
        max_target_tokens=max_target_tokens,
        name=name,
        places=places,
    )
    if counts.is_whole:
        say(f"{name}: {counts}")
    return counts


def _counts(texts: Sequence[str], tokenize: Tokenize, limit: int) -> tuple[int, int, int]:
    """Return how many texts are cut, and how many pieces there are and are unknown."""
    cut = pieces = unknown = 0
    for ids in _tokenized(texts, tokenize):
        cut += len(ids) >= limit  # the end of sequence takes one
        pieces += len(ids)
        unknown += list(ids).count(UNKNOWN_ID)
    return cut, pieces, unknown


def _tokenized(texts: Sequence[str], tokenize: Tokenize) -> Iterator[Sequence[int]]:
    for start in range(0, len(texts), _TEXTS_PER_CALL):
        yield from tokenize(list(texts[start : start + _TEXTS_PER_CALL]))


def _told(count: int, total: int) -> str:
    return f"{count} of {total} ({100 * count / max(1, total):.1f} %)"
