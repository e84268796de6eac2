"""Our speed beside PEFT's, in interleaved rounds, and beside what the machine can do at all.

    python -m benchmarks.speed --output runs/bench                    # everything but `precision`
    python -m benchmarks.speed --quick                                # the shorter parts, few rounds
    python -m benchmarks.speed --parts comparison --only "training step"
    python -m benchmarks.speed --dtypes bfloat16 --parts comparison   # one of the two dtypes
    python -m benchmarks.speed --parts precision                      # our side in bfloat16 and int8, beside float32

T5 1.1 Small with random weights, all cores, float32, and in the comparison bfloat16 on both sides too; 16 rows of 128 tokens where
nothing else is said. Every side is a process of its own. OUTPUT/results.json has every raw time, OUTPUT/results.md the tables,
OUTPUT/*.svg the plots. A part replaces what results.json has of it; results of another machine or of other versions are dropped.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.conditions import load, load_and_date
from benchmarks.speed import cold_start, comparison, epoch, growth, precision, served
from benchmarks.speed.cases import CASES, DTYPES
from benchmarks.speed.machine import machine
from benchmarks.speed.options import Options, default_data
from benchmarks.speed.plots import write_plots
from benchmarks.speed.protocol import ROOT
from benchmarks.speed.report import markdown

PARTS: dict[str, Callable[[Options], Any]] = {
    "comparison": comparison.measure,
    "epoch": epoch.measure,
    "served": served.measure,
    "cold_start": cold_start.measure,
    "growth": growth.measure,
    "tasks": growth.measure_tasks,
    "precision": precision.measure,
}
ON_DEMAND, NOT_QUICK = ("precision",), ("tasks",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, write the results after each, and print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--only", default="", help="of the comparisons, those whose name holds this")
    parser.add_argument(
        "--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES), help="of the comparisons; default: both"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, short epochs, few sizes")
    parser.add_argument("--rounds", type=int, help="of a comparison; default 12, or 3 of a quick run")
    parser.add_argument("--data", type=Path, default=default_data(), help="holds glue/sst2 and superglue/boolq")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-parity/bin/python"))
    parsed = parser.parse_args(arguments)
    rounds = parsed.rounds or (3 if parsed.quick else 12)
    options = Options(
        parsed.output, parsed.peer_python, parsed.data.resolve(), rounds, parsed.quick, parsed.only, parsed.dtypes
    )
    if not comparison.chosen(options):
        parser.error(f"no case has {parsed.only!r} in its name; there are: {'; '.join(case.name for case in CASES)}")
    left_out = (*ON_DEMAND, *(NOT_QUICK if parsed.quick else ()))
    parsed.output.mkdir(parents=True, exist_ok=True)
    run_parts(parsed.parts or [name for name in PARTS if name not in left_out], options)


def run_parts(names: Sequence[str], options: Options) -> None:
    """Run parts in order; what is written after each is whole."""
    path = options.output / "results.json"
    results = known_results(path, machine(options.peer_python))
    for name in names:
        print(f"\n{name} ...", flush=True)
        load_before = load()
        results[name] = PARTS[name](options)
        results.setdefault("conditions", {})[name] = load_and_date(load_before)
        results = {key: results[key] for key in ("machine", "conditions", *PARTS) if key in results}
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        (options.output / "results.md").write_text(markdown(results), encoding="utf-8")
        write_plots(results, options.output)
    print(f"\n{markdown(results)}", flush=True)


def known_results(path: Path, here: dict[str, Any]) -> dict[str, Any]:
    """Return the results of earlier parts if they are of this machine and these versions, else none."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return known if known.get("machine") == here else {"machine": here}


if __name__ == "__main__":
    main()
