"""How long does the first request after a load take, with the warm-up requests of the export and without, beside the median?

    python benchmarks/first_request.py EXPORT/VERSION [--rounds 9] [--loads 3]

Every load is made in a process of its own, with and without warm-up in turn, by two loaders: `local`, this library's server
(called in the process, without gRPC), and `c_api`, TensorFlow's C API, as a model server loads; it cannot read the warm-up
file, and runs the same kinds of requests. After a load each signature but `generate_with_prompt` is asked with 1 and with 16
rows: the first answer's time, then the median of the following ones. Only the very first is the first after the load.
The table gives the median and the largest ratio over the loads. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

TEXT = "The second text of the day, and it has some words that no request before it had."
SIZES = (1, 16)
SIGNATURES = ("serving_default", "classify", "score")
Ask = Callable[[str, dict[str, list[str]]], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path, help="a version directory")
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
    task_id = parsed.task_id or _first_task(parsed.version)
    results: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for _ in range(parsed.loads):
        for loader in ("local", "c_api"):
            for warm in (False, True):
                results.setdefault((loader, warm), []).append(_in_process(parsed, task_id, loader, warm=warm))
    print(table(results))


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


def table(results: dict[tuple[str, bool], list[dict[str, Any]]]) -> str:
    """Return Markdown: a row per loader, warm-up, signature and number of rows."""
    lines = [
        "| loader | warm-up | request, rows | first | median | first / median (largest) |",
        "|---|---|---|---|---|---|",
    ]
    for (loader, warm), loads in results.items():
        for kind in loads[0]:
            first, median = (statistics.median(load[kind][k] for load in loads) * 1000 for k in (0, 1))
            ratios = [load[kind][0] / load[kind][1] for load in loads]
            ratio = f"{statistics.median(ratios):.2f} ({max(ratios):.2f})"
            lines.append(
                f"| {loader} | {'yes' if warm else 'no'} | {kind} | {first:.1f} ms | {median:.1f} ms | {ratio} |"
            )
    return "\n".join(lines)


def _in_process(parsed: argparse.Namespace, task_id: str, loader: str, *, warm: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, str(parsed.version), "--task-id", task_id, "--rounds", str(parsed.rounds)]
    command += ["--measure", loader, *(["--warm"] if warm else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _first_task(version: Path) -> str:
    from softprompt_tf.export.versions.task_changes import list_tasks

    return list_tasks(version.parent)[0].task_id


if __name__ == "__main__":
    main()
