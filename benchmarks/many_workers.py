"""What several workers cost and gain: steps of 1 and 2 processes on this machine, the bytes that they sum up, and a sum's seconds.

    python benchmarks/many_workers.py [--rounds 3] [--steps 12] [--output runs/many_workers]
    python -m benchmarks.measured_tables --take many_workers runs/many_workers

Runs of `softprompt train sentiment` with 1 and with 2 workers alternate; each figure is a median over rounds, and the ratio is the
median of the rounds' ratios. Bytes are counted where the step's graph is made. Sums are of two processes on 127.0.0.1.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from softprompt_tf.cli.launch_workers import launch

ROWS, LENGTH = 32, 20
SIZES = {"small": 4, "mini": 4 * LENGTH * 256, "xxl": 4 * 100 * 4096}  # bytes of one number, and of two prompts
SUMS = 30


def main() -> None:
    """Measure, and write many_workers.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--output", default="runs/many_workers")
    parser.add_argument("--worker", choices=("bytes", "sums"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    output = Path(arguments.output)
    if arguments.worker:
        _WORKERS[arguments.worker](output)
        return
    output.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    steps = [{count: _seconds_per_step(count, arguments.steps) for count in (1, 2)} for _ in range(arguments.rounds)]
    figures = {
        "step_s": {str(count): statistics.median(each[count] for each in steps) for count in (1, 2)},
        "gain": [each[1] / each[2] for each in steps],
        "bytes": _as_workers("bytes", 1),
        "sum_s": _as_workers("sums", 2),
        "rounds": arguments.rounds,
        "load": [load, os.getloadavg()[0]],
        "machine": {"cores": os.cpu_count(), "processor": _processor(), "system": platform.system()},
    }
    (output / "many_workers.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


def _seconds_per_step(count: int, steps: int) -> float:
    """Return the median seconds of a step, by a run of so many workers."""
    with tempfile.TemporaryDirectory() as directory:
        settings = [f"training.steps={steps}", f"training.batch_size={ROWS}", f"output_dir={directory}/run"]
        settings += [f"training.evaluate_every={steps}", f"prompt.length={LENGTH}", "task.test=null"]
        workers = ["--workers", str(count)] if count > 1 else []
        command = [sys.executable, "-m", "softprompt_tf.cli.command", "train", "sentiment", *settings, *workers]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = json.loads(Path(directory, "run", "metrics.json").read_text())["seconds_per_step"]
    print(f"{count} workers: {seconds:.3f} s a step", flush=True)
    return float(seconds)


def _as_workers(part: str, count: int) -> object:
    """Return what the chief of so many workers has found."""
    with tempfile.TemporaryDirectory() as directory:
        program = [sys.executable, os.path.abspath(__file__), "--worker", part, "--output", directory]
        if launch([], count, program=program):
            raise SystemExit(f"The workers that measure {part} have failed.")
        return json.loads(Path(directory, part).read_text())


def _count_bytes(output: Path) -> None:
    """Write the bytes that a step of `mini` with 20 vectors sums up."""
    from softprompt_tf.workers import working_together

    with working_together() as workers:
        import softprompt_tf as sp

        model = sp.PromptedT5(sp.load_t5("mini"), sp.prompt_tuning(length=LENGTH, seed=1))
        model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy())
        model.fit(["a dull film"] * 2, ["negative"] * 2, verbose=0)
        (output / "bytes").write_text(json.dumps(workers.bytes_in_sums))


def _time_sums(output: Path) -> None:
    """Write the median seconds of a sum of each size over two workers."""
    from softprompt_tf.workers import working_together

    with working_together() as workers:
        import tensorflow as tf

        seconds = {}
        for name, size in SIZES.items():
            value = tf.ones([size // 4])
            run = tf.function(workers.sum, input_signature=[tf.TensorSpec(value.shape)], autograph=False)
            seconds[name] = statistics.median([_timed(run, value) for _ in range(SUMS + 2)][2:])
        if workers.is_chief:
            (output / "sums").write_text(json.dumps(seconds))


def _timed(run: object, value: object) -> float:
    begun = time.perf_counter()
    run(value).numpy()
    return time.perf_counter() - begun


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


_WORKERS = {"bytes": _count_bytes, "sums": _time_sums}

if __name__ == "__main__":
    main()
