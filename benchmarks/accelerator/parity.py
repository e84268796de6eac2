"""Section "parity": answers on JAX compared with recorded ones, some models at once.

python -m benchmarks.accelerator.parity --output OUT --seconds 70 [--quick]
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.accelerator.budget import Budget, Job, default_at_once, run_jobs
from benchmarks.accelerator.case_names import MODEL_WORDS, PARITY_CASES, QUICK_PARITY_CASES
from benchmarks.accelerator.written import last_line, read_json, write_json


def main() -> None:
    """Run the cases in their order, and write what is found after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=70.0)
    parser.add_argument("--quick", action="store_true")
    parsed = parser.parse_args()
    found: dict[str, Any] = {"cases": [], "failed": {}}
    with tempfile.TemporaryDirectory() as place:

        def ended(job: Job, status: int | None) -> None:
            model, precision = job.name.split()
            result = read_json(Path(place) / f"{model}_{precision}.json")
            if status == 0 and result is not None:
                found["cases"].append({"model": model, "precision": precision, **result})
            else:
                found["failed"][job.name] = "out of time" if status is None else last_line(job.log)
            write_json(parsed.output / "parity.json", found)
            print(f"parity: {MODEL_WORDS[model]}, {precision}: {found['failed'].get(job.name, 'compared')}", flush=True)

        cases = QUICK_PARITY_CASES if parsed.quick else PARITY_CASES
        jobs = [_job(model, precision, Path(place)) for model, precision in cases]
        run_jobs(jobs, Budget(parsed.seconds), at_once=default_at_once(), ended=ended)


def _job(model: str, precision: str, place: Path) -> Job:
    result, log = (place / f"{model}_{precision}.{kind}" for kind in ("json", "log"))
    command = [sys.executable, "-m", "benchmarks.accelerator.parity_worker", model, precision, str(result)]
    return Job(f"{model} {precision}", command, log)


if __name__ == "__main__":
    main()
