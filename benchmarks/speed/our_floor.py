"""Resident memory of a process of ours, from Python itself to a first answer or three training steps; printed as JSON."""

import json
import sys
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.protocol import VOCABULARY, resident_mb


def main() -> None:
    """Note the memory after each part of `benchmarks.measured_tables.process_floor.PARTS`."""
    directory, case = Path(sys.argv[1]), json.loads(sys.argv[2])
    notes = [resident_mb()]
    import tensorflow  # noqa: F401

    notes.append(resident_mb())
    from benchmarks.speed import our_worker  # KerasHub, TensorFlow Text and this library

    sp = our_worker.sp
    load, model_of = sp.load_t5, sp.PromptedT5
    notes.append(resident_mb())
    t5 = load(directory, vocabulary=VOCABULARY)
    notes.append(resident_mb())
    model = model_of(t5, sp.prompt_tuning(case["prompt"], sp.init.from_array(inputs.prompt(case["prompt"]))))
    our_worker.KINDS[case["kind"]](model, case)
    print(json.dumps([*notes, resident_mb()]))


if __name__ == "__main__":
    main()
