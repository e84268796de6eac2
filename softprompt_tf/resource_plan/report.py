"""A plan of resources as lines for people, and as a dictionary for programs."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from softprompt_tf.resource_plan.resource_plan import ResourcePlan
from softprompt_tf.shown_numbers import bytes_text, counted, with_prefix


def as_dictionary(plan: ResourcePlan) -> dict[str, Any]:
    """Return all of a plan as JSON values; bytes, operations and seconds are plain numbers."""
    return {**dataclasses.asdict(plan), "total_bytes": plan.total_bytes}


def lines(plan: ResourcePlan) -> Iterator[str]:
    """Yield a plan as a table, and what fits."""
    settings = plan.settings
    kind = " of ".join(filter(None, (settings["quantization"], settings["dtype"])))
    yield f"{plan.backbone}: {plan.parameters / 1e6:,.0f} million parameters, {kind}"
    yield (
        f"{plan.method}: {counted(plan.trained, 'trained value')}; {counted(settings['batch_size'], 'row')} of "
        f"{counted(settings['input_tokens'], 'token')}, targets of {settings['target_tokens']}"
    )
    yield ""
    yield "memory of the training process"
    for part, value in plan.memory.items():
        yield _row(part, bytes_text(value))
    yield _row("all", bytes_text(plan.total_bytes))
    for number, weights in enumerate(plan.device_weights or ()):
        yield _row(f"weights on device {number}", bytes_text(weights))
    yield ""
    yield "work"
    yield _row("one training step", f"{with_prefix(plan.step_operations)}FLOP")
    yield _row("one served row", f"{with_prefix(plan.served_row_operations)}FLOP")
    if plan.seconds_per_step is not None:
        yield _row("one training step, at least", _seconds(plan.seconds_per_step))
    yield ""
    yield "files"
    yield _row("one task", bytes_text(plan.task_file_bytes))
    yield _row(f"served tables, {counted(settings['served_tasks'], 'task')}", bytes_text(plan.served_table_bytes))
    yield from _fit_lines(plan)


def _row(name: str, value: str) -> str:
    return f"  {name:<36}{value:>12}"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def _fit_lines(plan: ResourcePlan) -> Iterator[str]:
    fit = plan.fit
    if fit is None:
        return
    yield ""
    if fit.fits:
        yield f"It fits into {bytes_text(fit.limit)}. Largest batch: {counted(fit.largest_batch, 'row')}."
        return
    yield f"It does not fit into {bytes_text(fit.limit)}: {bytes_text(plan.total_bytes - fit.limit)} too much."
    for remedy in fit.remedies:
        yield f"  with {remedy.change} it takes {bytes_text(remedy.total_bytes)}"
    if not fit.remedies:
        yield "  Neither gradient checkpointing nor bfloat16 nor micro-batches make it fit. Take a smaller T5."
