"""Write the tables and plots of docs/measurements that are made from result files.

    python -m benchmarks.measured_tables                                    # from the files in benchmarks/results
    python -m benchmarks.measured_tables --take late_layers runs/late_layers runs/more_seeds
    python -m benchmarks.measured_tables --take time_to_accuracy runs/time_to_accuracy

`--take` first adds the results in these directories to the files in benchmarks/results. Plots are drawn again then. A page has
a table between two comments, `<!-- table: NAME -->` and `<!-- end of table -->`. Where there is no result file yet, the page keeps
what stands between them. tests/benchmarks/test_measured_tables.py checks that each page is as this command writes it.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import (
    batch_growth,
    late_builds,
    late_equal_seconds,
    late_layers,
    late_seconds,
    load_memory,
    many_workers,
    method_costs,
    methods_by_tasks,
    planned_memory,
    precision,
    process_floor,
    prodigy,
    serving,
    shared_encoding,
    shared_texts,
    speed,
    time_to_accuracy,
)
from benchmarks.measured_tables.pages import written_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "measurements"
RESULTS = ROOT / "benchmarks" / "results"
MEASUREMENTS: dict[str, Any] = {
    "batch_growth": batch_growth.KEPT,
    "late_builds": late_builds,
    "late_equal_seconds": late_equal_seconds,
    "late_layers": late_layers,
    "late_seconds": late_seconds.KEPT,
    "load_memory": load_memory.KEPT,
    "many_workers": many_workers.KEPT,
    "method_costs": method_costs.KEPT,
    "methods_by_tasks": methods_by_tasks,
    "planned_memory": planned_memory.KEPT,
    "precision": precision,
    "process_floor": process_floor.KEPT,
    "prodigy": prodigy,
    "shared_encoding": shared_encoding,
    "shared_answers": shared_texts.WRITTEN,
    "shared_texts": shared_texts.KEPT,
    "speed": speed,
    "time_to_accuracy": time_to_accuracy,
    **serving.MEASUREMENTS,
}


def main() -> None:
    """Take results, where asked for; write every page that has a table."""
    arguments = _arguments()
    if arguments.take:
        name, *directories = arguments.take
        MEASUREMENTS[name].take([Path(directory) for directory in directories], RESULTS)
        MEASUREMENTS[name].draw(RESULTS)
    tables = all_tables()
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        new = written_page(text, tables)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


def all_tables() -> dict[str, str | None]:
    """Return name -> Markdown table, from the files in benchmarks/results; None for what is not measured yet."""
    tables = {name: measurement.table(RESULTS) for name, measurement in MEASUREMENTS.items()}
    return tables | speed.part_tables(RESULTS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--take", nargs="+", metavar=("NAME", "DIRECTORY"), help=f"one of {', '.join(MEASUREMENTS)}, then directories"
    )
    arguments = parser.parse_args()
    if arguments.take and (arguments.take[0] not in MEASUREMENTS or len(arguments.take) == 1):
        parser.error(f"--take needs one of {', '.join(MEASUREMENTS)}, and at least one directory.")
    return arguments


if __name__ == "__main__":
    main()
