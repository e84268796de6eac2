"""The lines that `softprompt inspect` prints."""

from collections.abc import Iterator, Sequence

import numpy as np

from softprompt_tf.interpretability.class_labels import LabelShare
from softprompt_tf.interpretability.inspection import Inspection, PromptInspection

MAX_WORDS = 20  # shared words shown of one prompt; the JSON file has them all


def lines_of(inspection: Inspection) -> Iterator[str]:
    """Yield the tables of each prompt, then the two tables of cosines between prompts."""
    for prompt in inspection.prompts:
        yield f"== {prompt.name}"
        yield from _prompt_lines(prompt)
        yield ""
    names = [prompt.name for prompt in inspection.prompts]
    if len(names) < 2:
        return
    yield "== cosine between mean vectors (distance = 1 - cosine)"
    yield from _matrix_lines(names, inspection.mean_cosine)
    yield ""
    yield "== mean cosine over best-matching pairs of vectors"
    yield from _matrix_lines(names, inspection.matched_cosine)


def _prompt_lines(prompt: PromptInspection) -> Iterator[str]:
    if prompt.cosines is not None:
        yield "row   nearest pieces"
        for row, (pieces, cosines) in enumerate(zip(prompt.pieces, prompt.cosines, strict=True)):
            yield f"{row:4d}  " + "  ".join(f"{p} {c:.2f}" for p, c in zip(pieces, cosines, strict=True))
        shared = list(prompt.shared_words.items())
        yield f"words of several vectors: {len(shared)}"
        for word, rows in shared[:MAX_WORDS]:
            yield f"      {word}: rows {_rows(rows)}"
    several = [group for group in prompt.clusters if len(group) > 1]
    yield f"clusters of two vectors or more: {len(several)}; vectors alone: {len(prompt.clusters) - len(several)}"
    yield from (f"      rows {_rows(group)}" for group in several)
    if prompt.labels is not None:
        yield from _label_lines(prompt.labels)


def _label_lines(labels: LabelShare) -> Iterator[str]:
    yield (
        f"words of the class labels among the neighbours: {len(labels.found)} of {len(labels.words)} "
        f"({labels.share:.0%}): {', '.join(labels.found) or 'none'}"
    )
    if labels.persisted is None:
        yield "      the initial prompt is not known, so what persisted is not either"
    else:
        yield f"      at the start {len(labels.found_at_start or ())}, of these still there {len(labels.persisted)}"


def _rows(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows))


def _matrix_lines(names: Sequence[str], values: np.ndarray) -> Iterator[str]:
    width = max(6, *map(len, names)) + 2
    yield " " * width + "".join(f"{name:>{width}}" for name in names)
    for name, row in zip(names, values, strict=True):
        yield f"{name:<{width}}" + "".join(f"{value:{width}.3f}" for value in row)
