"""Several workers: the figures of `benchmarks.many_workers` in, tables of measured steps and of the model for more workers out."""

from typing import Any

from benchmarks.measured_tables.kept_file import KeptFile

NAME = "many_workers"
COUNTS = (2, 8, 32, 64, 128, 256)
RINGS = 2  # of a step, one after the other: the target tokens, then the gradient
HOP_S, BYTES_PER_S = 1e-4, 1.25e9  # of the assumed network: a message's way, and 10 Gbit/s
XXL_BYTES, XXL_STEP_S = 4 * 100 * 4096, 2.0  # a prompt of 100 vectors of 4,096 values; a step that is assumed


def table_of(kept: dict[str, Any]) -> str:
    """Return what was measured, and below it the share of a step that sums take with more workers."""
    one, two = kept["step_s"]["1"], kept["step_s"]["2"]
    gains = sorted(kept["gain"])
    lines = ["| 32 rows a step, `mini`, 20 vectors | |", "|---|---|"]
    lines += [
        f"| 1 process on all cores | {one:.3f} s |",
        f"| 2 workers, which share them | {two:.3f} s |",
        f"| gain, median (least to most) | {gains[len(gains) // 2]:.2f} ({gains[0]:.2f} to {gains[-1]:.2f}) |",
        f"| summed up in a step | {kept['bytes']:,} bytes |",
    ]
    names = {"small": "a sum of one number, two workers", "mini": "of 20 x 256 values", "xxl": "of 100 x 4,096 values"}
    lines += [f"| {told} | {1000 * kept['sum_s'][name]:.1f} ms |" for name, told in names.items()]
    return "\n".join([*lines, "", *_conditions(kept), "", *_model(kept)])


def _model(kept: dict[str, Any]) -> list[str]:
    hop_s, step_s = kept["sum_s"]["small"] / 2, kept["step_s"]["1"]
    lines = [
        f"| workers | `mini`, {1000 * hop_s:.1f} ms a message as here | `mini`, 0.1 ms | XXL, 0.1 ms |",
        "|---|---|---|---|",
    ]
    for count in COUNTS:
        cells = [
            _share(sums_s(count, kept["bytes"], hop_s=hop_s), step_s),
            _share(sums_s(count, kept["bytes"]), step_s),
            _share(sums_s(count, XXL_BYTES), XXL_STEP_S),
        ]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return lines


def _share(sums: float, step_s: float) -> str:
    return f"{1000 * sums:,.1f} ms, {100 * sums / (step_s + sums):.1f} %"


def sums_s(count: int, size: float, *, hop_s: float = HOP_S) -> float:
    """Return the seconds of a step's sums: in each ring 2 (N - 1) messages one after the other; those of `size` carry size / N."""
    hops = 2 * (count - 1)
    return RINGS * hops * hop_s + hops * size / count / BYTES_PER_S


def _conditions(kept: dict[str, Any]) -> list[str]:
    machine, load = kept["machine"], kept["load"]
    return [
        f"{machine['cores']} cores, {machine['processor']}; {kept['rounds']} rounds in turns; load {load[0]:.1f} before, "
        f"{load[1]:.1f} after."
    ]


KEPT = KeptFile(NAME, table_of)
