"""Results in, two SVG files out: growth on logarithmic axes, and the ratios to PEFT with their targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.figures import growth_exponent, quartiles
from benchmarks.speed.growth import exponent

OURS, PEER = "#0072B2", "#D55E00"  # told apart by the colour-blind too
SIDES = (("ours_s", "ours", OURS, "o"), ("peer_s", "PEFT", PEER, "s"))


def write_plots(results: dict[str, Any], directory: Path) -> list[Path]:
    """Write what there are results for; return the files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "softprompt", "font.size": 9})
    written = []
    for name, draw, is_there in (
        ("growth.svg", _growth, bool(results.get("growth"))),
        ("speed.svg", _speed, bool(results.get("comparison") or results.get("epoch"))),
    ):
        if is_there:
            figure = draw(results)
            figure.savefig(directory / name, metadata={"Date": None, "Creator": None})
            written.append(directory / name)
    return written


def _growth(results: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    growth, tasks = results["growth"], results.get("tasks") or []
    count = len(growth) + bool(tasks)
    figure = Figure(figsize=(3.1 * min(count, 3), 2.9 * -(-count // 3)), layout="constrained")
    for k, (name, found) in enumerate(growth.items()):
        axes = figure.add_subplot(-(-count // 3), min(count, 3), k + 1)
        for key, side, colour, marker in SIDES:
            medians = [1e3 * quartiles(point[key])[1] for point in found["points"]]
            label = f"{side}, exponent {exponent(found, key):z.2f}"
            axes.loglog(found["sizes"], medians, marker=marker, color=colour, label=label, markersize=4)
        _name(axes, name, "training step, ms")
        _mark(axes, found["sizes"], found["names"])
    if tasks:
        axes = figure.add_subplot(-(-count // 3), min(count, 3), count)
        sizes, costs = [row["tasks"] for row in tasks], [1e3 * row["classify_s"] for row in tasks]
        label = f"ours, exponent {growth_exponent(sizes, costs):z.3f}"
        axes.loglog(sizes, costs, marker="o", color=OURS, label=label, markersize=4)
        axes.set_ylim(min(costs) / 3, max(costs) * 3)
        _name(axes, "tasks of an export", "classify, ms")
        _mark(axes, sizes, [f"{size:,}" for size in sizes])
    return figure


def _speed(results: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    found = {**(results.get("comparison") or {})}
    found |= {f"epoch of {name}": epoch for name, epoch in (results.get("epoch") or {}).items()}
    figure = Figure(figsize=(7, 0.6 + 0.4 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for place, case in enumerate(found.values()):
        low, middle, high = quartiles(case["speed"])
        axes.barh(place, middle, xerr=[[middle - low], [high - middle]], color=OURS, height=0.6, capsize=3)
        if case["target"] is not None:
            axes.plot([case["target"]] * 2, [place - 0.4, place + 0.4], color=PEER, linewidth=2)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("our speed to PEFT's, median and quartiles; stroke: target")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _name(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _mark(axes: Any, sizes: Sequence[float], names: Sequence[str]) -> None:
    """Mark the sizes that were run, and the powers of ten, their doubles and fivefolds of the costs, in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xticks(sizes, names, fontsize=6)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
