"""How long does the first request after a load take, with the warm-up requests of the export and without, beside the median?

    python -m benchmarks.first_request [EXPORT/VERSION] [--rounds 9] [--loads 3] [--output DIR]
    python -m benchmarks.measured_tables --take first_request DIR

Without an export, one of `mini` is written, with four tasks of 10 to 25 drawn rows. Every load is made in a process of its own,
with and without warm-up in turn, by two loaders: `local`, this library's server (called in the process, without gRPC), and
`c_api`, TensorFlow's C API, as a model server loads; it cannot read the warm-up file, and runs the same kinds of requests. After
a load each signature but `generate_with_prompt` is asked with 1 and with 16 rows: the first answer's time, then the median of the
following ones. Only the very first is the first after the load. Figures are medians over the loads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import FIRST_REQUEST

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

TEXT = "The second text of the day, and it has some words that no request before it had."
SIZES = (1, 16)
SIGNATURES = ("serving_default", "classify", "score")
Ask = Callable[[str, dict[str, list[str]]], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path, nargs="?", help="a version directory; default: one of `mini` is written")
    parser.add_argument("--output", type=Path, default=Path("runs/first_request"), help="the directory of the figures")
    parser.add_argument("--task-id", help="default: the first task of the export")
    parser.add_argument("--rounds", type=int, default=9, help="requests after the first, of each kind")
    parser.add_argument("--loads", type=int, default=3, help="of each loader, with and without warm-up")
    parser.add_argument("--measure", choices=("local", "c_api"), help="measure one load and print it as JSON")
    parser.add_argument("--warm", action="store_true", help="with --measure: run the warm-up requests first")
    parsed = parser.parse_args()
    if parsed.measure:
        measure = {"local": measure_local, "c_api": measure_c_api}[parsed.measure]
        print(json.dumps(measure(parsed.version, parsed.task_id, parsed.rounds, warm=parsed.warm)))
        return
    load_before = load()
    with tempfile.TemporaryDirectory() as directory:
        version = parsed.version or _write_version(Path(directory) / "export")
        loads = _loads(parsed, version, parsed.task_id or _first_task(version))
    figures = {"rounds": parsed.rounds, "number_of_loads": parsed.loads, "loads": loads}
    FIRST_REQUEST.write(parsed.output, {**conditions(load_before), **figures})


def _loads(parsed: argparse.Namespace, version: Path, task_id: str) -> dict[str, list[dict[str, list[float]]]]:
    """Return "loader, warm-up or not" -> for each load "signature, rows" -> [first, median] seconds."""
    found: dict[str, list[dict[str, list[float]]]] = {}
    for _ in range(parsed.loads):
        for loader in ("local", "c_api"):
            for warm in (False, True):
                seconds = _in_process(parsed, version, task_id, loader, warm=warm)
                found.setdefault(f"{loader}, {'warm' if warm else 'cold'}", []).append(seconds)
    return found


def _write_version(base: Path) -> Path:
    """Write an export in a process of its own, whose memory and threads are gone before loads are timed."""
    code = (
        "import sys, softprompt_tf as sp; from benchmarks.soak import make_prompts; "
        "from softprompt_tf.export import write_saved_model; t5 = sp.load_t5('mini'); "
        "write_saved_model(sys.argv[1], t5, make_prompts(t5), verify=False)"
    )
    subprocess.run([sys.executable, "-c", code, str(base)], check=True)
    return base / "1"


def measure_local(version: Path, task_id: str, rounds: int, *, warm: bool) -> dict[str, list[float]]:
    """Load as the local server does; return "signature, rows" -> [first, median] seconds."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from softprompt_tf.export.server.loaded_version import load_version, run_warmup
    from softprompt_tf.export.server.predict_contract import run_predict

    model = load_version(version, model_name="t5", version=int(version.name))
    if warm:
        run_warmup(model, version)

    def ask(signature: str, inputs: dict[str, list[str]]) -> object:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return run_predict(model, request)

    return _time(ask, task_id, rounds)


def measure_c_api(version: Path, task_id: str, rounds: int, *, warm: bool) -> dict[str, list[float]]:
    """Load as a model server does; return "signature, rows" -> [first, median] seconds."""
    from softprompt_tf.export.session.session_loader import SavedModelSession

    with SavedModelSession(version) as session:
        if warm:  # what the warm-up file holds, which cannot be read here without TensorFlow's Python
            import numpy as np

            text = ["A few words of ordinary length, so that every part of the graph has run once."]
            for signature in SIGNATURES:
                session.run(signature, _inputs(signature, task_id, text[0], 1))
            width = session.signatures["generate_with_prompt"].inputs["prompt"].shape[-1]
            session.run("generate_with_prompt", {"prompt": np.zeros((1, 1, width), np.float32), "text": text})
        return _time(session.run, task_id, rounds)


def _time(ask: Ask, task_id: str, rounds: int) -> dict[str, list[float]]:
    times = {}
    for signature in SIGNATURES:
        for size in SIZES:
            inputs = _inputs(signature, task_id, TEXT, size)
            seconds = [_seconds(ask, signature, inputs) for _ in range(rounds + 1)]
            times[f"{signature}, {size}"] = [seconds[0], statistics.median(seconds[1:])]
    return times


def _seconds(ask: Ask, signature: str, inputs: dict[str, list[str]]) -> float:
    start = time.perf_counter()
    ask(signature, inputs)
    return time.perf_counter() - start


def _inputs(signature: str, task_id: str, text: str, size: int) -> dict[str, list[str]]:
    target = {"target": ["word"] * size} if signature == "score" else {}
    return {"task_id": [task_id] * size, "text": [text] * size, **target}


def _in_process(
    parsed: argparse.Namespace, version: Path, task_id: str, loader: str, *, warm: bool
) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.first_request", str(version), "--task-id", task_id]
    command += ["--rounds", str(parsed.rounds), "--measure", loader, *(["--warm"] if warm else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _first_task(version: Path) -> str:
    from softprompt_tf.export.versions.task_changes import list_tasks

    return list_tasks(version.parent)[0].task_id


if __name__ == "__main__":
    main()
