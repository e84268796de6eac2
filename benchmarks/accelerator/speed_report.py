"""The tables of the speed section."""

from typing import Any

from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.speed.figures import quartiles, ratios, spread

SPEED_HEADER = (
    "| model | precision | what | prompt | input | ours, ms | PEFT, ms | our speed to PEFT's | ours, of matrix rate | "
    "PEFT, of matrix rate | peak, ours / PEFT, GB | our compilation, s | agreement |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def matrix_rates(speed: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the operations per second of one large matrix product, by precision and side."""
    return {
        precision: {side: found["flops"] / quartiles(times)[1] for side, times in found["seconds"].items()}
        for precision, found in speed["matrix"].items()
    }


def matrix_table(speed: dict[str, Any]) -> str:
    """Return the table of what the device's matrix products reach."""
    lines = ["| matrix product | size | JAX, TFLOP/s | PyTorch, TFLOP/s |", "|---|---|---|---|"]
    for precision, rates in matrix_rates(speed).items():
        size = speed["matrix"][precision]["settings"]["size"]
        cells = [_number(rates.get(side), 1e12, ".1f") for side in ("our", "peer")]
        lines.append(f"| {PRECISIONS[precision].words} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(speed: dict[str, Any]) -> str:
    """Return the table of all cases."""
    rates = {precision: max(of.values(), default=None) for precision, of in matrix_rates(speed).items()}
    highest: dict[tuple[str, str], float] = {}
    lines = [SPEED_HEADER]
    for case in speed["cases"]:
        settings = case["settings"]
        group = settings["shape"], PRECISIONS[settings["precision"]].dtype
        if case["peak_bytes"].get("our"):
            highest[group] = case["peak_bytes"]["our"]
        lines.append(speed_row(case, rates.get(settings["precision"]), highest.get(group)))
    return "\n".join(lines)


def speed_row(case: dict[str, Any], rate: float | None, highest: float | None) -> str:
    """Return the row of one case.

    Args:
      case: what `speed.compare` found.
      rate: operations per second of a matrix product in this precision.
      highest: our process's peak memory in bytes, of this case or an earlier one.
    """
    settings, seconds = case["settings"], case["seconds"]
    medians = [quartiles(seconds[side])[1] if seconds.get(side) else None for side in ("our", "peer")]
    speed = spread(ratios(seconds["peer"], seconds["our"])) if all(medians) else "-"
    shares = [f"{case['flops'] / median / rate:.1%}" if median and rate else "-" for median in medians]
    mark = "" if case["peak_bytes"].get("our") else "≤ "
    peaks = [_number(value, 1e9, ".2f") for value in (highest, case["peak_bytes"].get("peer"))]
    what = f"{settings['tokens']} tokens written" if settings["kind"] == "generate" else "training step"
    sizes = [str(settings["prompt"]), f"{settings['rows']} x {settings['length']}"]
    cells = [settings["shape"], PRECISIONS[settings["precision"]].words, what, *sizes]
    cells += [*(_number(median, 1e-3, ".2f") for median in medians), speed, *shares]
    cells += [f"{mark if highest else ''}{peaks[0]} / {peaks[1]}"]
    cells += [
        _number((case["prepared"].get("our") or {}).get("compile_s"), 1, ".1f"),
        agreed(case.get("agreement") or {}),
    ]
    return f"| {' | '.join(cells)} |"


def agreed(agreement: dict[str, Any]) -> str:
    """Say in words whether both sides did the same work."""
    if "equal_tokens" in agreement:
        return f"{agreement['equal_tokens']:.0%} equal tokens"
    if "losses_apart" in agreement:
        return f"losses {agreement['losses_apart']:.1e} apart" + ("" if agreement["is_close"] else ", too far")
    return "-"


def _number(value: float | None, unit: float, form: str) -> str:
    return "-" if value is None else format(value / unit, form)
