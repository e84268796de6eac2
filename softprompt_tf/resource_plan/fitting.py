"""Whether a step fits into a memory, and what would make it fit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from softprompt_tf.resource_plan.memory import DTYPE_BYTES, memory_parts
from softprompt_tf.resource_plan.work import Work
from softprompt_tf.shown_numbers import counted

_MOST_ROWS = 1 << 16


@dataclass(frozen=True)
class Remedy:
    """A change that makes a step fit.

    Args:
      change: in words.
      total_bytes: of the process with it.
    """

    change: str
    total_bytes: int


@dataclass(frozen=True)
class Fit:
    """How a step fits into a memory.

    Args:
      limit: bytes.
      fits: whether it does.
      largest_batch: the most rows that fit at a time as it is set; 0 where not one does.
      remedies: changes after which it fits, the smallest first; () where it fits already, or nothing helps.
    """

    limit: int
    fits: bool
    largest_batch: int
    remedies: tuple[Remedy, ...] = ()


def fit_to(limit: int, work: Work, *, quantization: str | None, optimizer: str, num_tasks: int) -> Fit:
    """Say whether a training step fits into so many bytes; arguments as in `memory_parts`."""

    def total(work: Work, quantization: str | None) -> int:
        return sum(memory_parts(work, quantization=quantization, optimizer=optimizer, num_tasks=num_tasks).values())

    def largest(work: Work, quantization: str | None) -> int:
        low, high = 0, _MOST_ROWS
        while low < high:
            middle = (low + high + 1) // 2
            if total(work.with_rows(middle), quantization) <= limit:
                low = middle
            else:
                high = middle - 1
        return low

    fits, rows = total(work, quantization) <= limit, largest(work, quantization)
    if fits:
        return Fit(limit, fits=True, largest_batch=rows)
    remedies = []
    if rows:
        remedies.append(Remedy(f"micro-batches of {counted(rows, 'row')}", total(work.with_rows(rows), quantization)))
    for words, changed, kind in _changes(work, quantization):
        whole, most = total(changed, kind), largest(changed, kind)
        if whole <= limit:
            remedies.append(Remedy(words, whole))
            break
        if most > rows:
            remedies.append(
                Remedy(f"{words} and micro-batches of {counted(most, 'row')}", total(changed.with_rows(most), kind))
            )
    return Fit(limit, fits=False, largest_batch=rows, remedies=tuple(remedies))


def _changes(work: Work, quantization: str | None) -> Iterator[tuple[str, Work, str | None]]:
    """Yield words, work and quantization of changes that save memory, those that change least first."""
    words = []
    if not work.recompute:
        words.append("gradient checkpointing")
        work = replace(work, recompute=True)
        yield " and ".join(words), work, quantization
    if work.compute_bytes > DTYPE_BYTES["bfloat16"]:
        words.append("bfloat16")
        plain = replace(work, compute_bytes=DTYPE_BYTES["bfloat16"], recompute=False)
        if len(words) > 1:
            yield "bfloat16", plain, quantization
        yield " and ".join(words), replace(plain, recompute=True), quantization
