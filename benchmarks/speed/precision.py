"""Part "precision", on demand: our side in float32, bfloat16 and int8, in turn. bfloat16 and int8 are no defaults."""

from typing import Any

from benchmarks.speed.cases import CASES, SHARED, Case
from benchmarks.speed.figures import quartiles, ratios, spread
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import started

KINDS: dict[str, dict[str, str]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"quantization": "int8"},
}


def measure(options: Options) -> dict[str, Any]:
    """Run the quick cases in each kind; return seconds, peaks and differences by case and kind."""
    return {case.name: _run(case.settings, options) for case in CASES if _is_measured(case, options)}


def _is_measured(case: Case, options: Options) -> bool:
    return case.is_quick and case.dtype == "float32" and options.only in case.name


def _run(case: dict[str, Any], options: Options) -> dict[str, Any]:
    with started("our", "our", "our", peer_python=options.peer_python) as workers:
        named = dict(zip(KINDS, workers, strict=True))
        prepared: dict[str, Any] = {}
        for kind, worker in named.items():
            settings = {"model": str(options.model()), **SHARED, **case, **KINDS[kind]}
            prepared[kind] = worker.ask("prepare", case=settings)
            worker.ask("run")
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind, worker in named.items():
                times[kind].append(worker.ask("run")["seconds"])
        return {
            kind: {
                "seconds": times[kind],
                "peak_mb": worker.ask("memory")["vmhwm_mb"],
                "difference": _difference(prepared["float32"], prepared[kind]),
            }
            for kind, worker in named.items()
        }


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say how far answers are apart: values, or the share of tokens that differ."""
    if "values" in one:
        apart = max(abs(a - b) for a, b in zip(one["values"], other["values"], strict=True))
        return f"{apart:.1e}"
    pairs = [(a, b) for rows in zip(one["ids"], other["ids"], strict=True) for a, b in zip(*rows, strict=True)]
    return f"{sum(a != b for a, b in pairs) / len(pairs):.0%} of the tokens"


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = ["| case | kind | ms | speed to float32's | peak, MB | apart from float32 |", "|---|---|---|---|---|---|"]
    for name, kinds in found.items():
        for kind, run in kinds.items():
            speed = spread(ratios(kinds["float32"]["seconds"], run["seconds"]))
            median = 1e3 * quartiles(run["seconds"])[1]
            lines.append(f"| {name} | {kind} | {median:.1f} | {speed} | {run['peak_mb']:.0f} | {run['difference']} |")
    return "\n".join(lines)
