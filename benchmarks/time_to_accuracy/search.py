"""One search from nothing: `python -m benchmarks.time_to_accuracy.search CASE RESULT MINUTES tune`.

The clock runs from the start of the process to the task file: importing, loading, all that is tried, and the last word.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(case: dict[str, Any], result: Path, minutes: float) -> None:
    """Search, then score what was found on the dev rows of the case, outside the clock."""
    started = time.perf_counter(), time.process_time()

    import softprompt_tf as sp  # counts, too
    from benchmarks.time_to_accuracy.prepare import task_file

    t5 = sp.load_t5("mini")
    found = sp.tune(t5, task_file(case["task"]), minutes=minutes, seed=case["seed"], output=result.with_suffix(""))
    spent = {"wall": time.perf_counter() - started[0], "cpu": time.process_time() - started[1]}
    print(found.table)
    answers = sp.PromptedT5(t5, sp.load_prompt(found.prompt)).classify(case["dev_texts"])
    right = [answer.label == case["labels"][index] for answer, index in zip(answers, case["dev_labels"], strict=True)]
    point = {"step": 1, "accuracy": sum(right) / len(right), **spent}
    result.write_text(json.dumps({"curve": [point]}), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]), float(sys.argv[3]))
