"""What each method costs: the figures of `benchmarks.method_costs` in, a table of methods and a table of served batches out.

benchmarks/results/method_costs.json is the file that the benchmark writes.
"""

from typing import Any

from benchmarks.measured_tables.kept_file import KeptFile

NAME = "method_costs"


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each method, and the batches of several methods and exports below."""
    lines = ["| method | prompt file | training step | 16 rows served |", "|---|---|---|---|"]
    for name, size in kept["file_bytes"].items():
        step = _cell(kept["step"][name]) if name in kept["step"] else ""  # several prompts of a task have none
        served = _cell(kept["served"][f"{name}, alone"])
        lines.append(f"| `{name}` | {size / 1000:,.1f} kB | {step} | {served} |")
    lines += ["", "| 16 rows served | |", "|---|---|"]
    others = {name: figure for name, figure in kept["served"].items() if not name.endswith(", alone")}
    lines += [f"| {name} | {_cell(figure)} |" for name, figure in others.items()]
    return "\n".join([*lines, "", *_conditions(kept)])


def _cell(figure: dict[str, float]) -> str:
    return f"{1000 * figure['seconds']:.0f} ms, {figure['ratio']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _conditions(kept: dict[str, Any]) -> list[str]:
    machine, load = kept["machine"], kept["load"]
    return [
        "The median, and the ratio to `prompt_tuning` with its quartiles. A step has 32 rows of 32 tokens; a served text has 24",
        f"tokens or so. {machine['cores']} cores, {machine['processor']}, TensorFlow {machine['tensorflow']}; {kept['rounds']} "
        f"rounds; load {load[0]:.1f} before,",
        f"{load[1]:.1f} after.",
    ]


KEPT = KeptFile(NAME, table_of)
