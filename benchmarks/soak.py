"""A long run of the local server under load: is any good request lost, any answer wrong, does memory grow?

    python -m benchmarks.soak --minutes 30 --clients 16 --output runs/soak
    python -m benchmarks.measured_tables --take soak runs/soak

Clients ask `classify` and `generate` on an export of several tasks, one to four rows a request, tasks mixed, texts of 1 to 512
tokens, 2 % of the rows with an unknown task. Once a minute the next version is put in place and the one before the last is
taken away. Every answer is compared with Keras's, which was worked out before. The server is a process of its own, which merges
requests and loads a version while the one before answers. The output has soak.json (the figures), results.json (every latency and
every sample of memory), and results.png where matplotlib is installed. Linux only (/proc).
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import SOAK
from softprompt_tf.errors import RowError, ServingError
from softprompt_tf.export import PredictionClient, write_saved_model
from softprompt_tf.methods import TaskPrompt

NUM_TASKS, NUM_TEXTS, MAX_TOKENS, SHARE_BAD = 4, 60, 512, 0.02
LABELS = ("negative", "positive", "neither")
LIMIT_NATS = 1e-2  # other rows of a batch change the padding, and so the order in which floats are added up
FAULTS = ("failed requests", "wrong answers", "good rows refused", "bad rows answered")
SWAP_EVERY_S, SAMPLE_EVERY_S = 60.0, 5.0
BATCHING = "max_batch_size { value: 32 }\nbatch_timeout_micros { value: 2000 }\nmax_enqueued_batches { value: 1000 }\n"


@dataclass
class Tally:
    """What the clients saw; `lock` guards all of it."""

    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: str, *, rows: int = 1, example: str = "") -> None:
        with self.lock:
            self.counts[outcome] += rows
            if example and len(self.examples) < 20:
                self.examples.append(example)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    load_before = load()
    t5 = sp.load_t5(arguments.backbone)
    prompts, texts = make_prompts(t5), make_texts(t5, arguments.seed)
    wanted = keras_answers(t5, prompts, texts)
    base = arguments.output / "export"
    shutil.rmtree(base, ignore_errors=True)
    write_saved_model(base, t5, prompts)
    tally, memory = Tally(), []
    with serving(base, arguments.output) as (process, port):
        finish = time.monotonic() + 60 * arguments.minutes
        workers = [
            threading.Thread(
                target=ask, args=(port, texts, wanted, tally, finish, 1000 * arguments.seed + k), daemon=True
            )
            for k in range(arguments.clients)
        ]
        for worker in workers:
            worker.start()
        watch(process.pid, base, memory, tally, finish)
        for worker in workers:
            worker.join(timeout=120)
    return report(arguments, tally, memory, load_before)


def make_prompts(t5: sp.FrozenT5) -> dict[str, TaskPrompt]:
    """Draw a prompt per task, of other lengths each."""
    generator = np.random.default_rng(0)
    table = t5.embedding_table[3:5000]
    return {
        f"task{k}": TaskPrompt(
            prompt=generator.choice(table, size=10 + 5 * k), task_id=f"task{k}", labels=LABELS[: 2 + k % 2], max_target_tokens=8
        )
        for k in range(NUM_TASKS)
    }  # fmt: skip


def make_texts(t5: sp.FrozenT5, seed: int) -> list[str]:
    """Draw texts whose tokens are 1 to 512, alike often in every doubling of the length."""
    generator = np.random.default_rng(seed)
    lengths = np.exp(generator.uniform(0, np.log(MAX_TOKENS), size=NUM_TEXTS)).astype(int)
    ids = [generator.integers(10, 5000, size=max(1, length - 1)) for length in lengths]
    return [t5.detokenize([row])[0] for row in ids]


def keras_answers(t5: sp.FrozenT5, prompts: dict[str, TaskPrompt], texts: list[str]) -> dict[str, list[tuple]]:
    """Return, for every task, each text's label, log-probabilities, output and score."""
    answers = {}
    for task, prompt in prompts.items():
        model = sp.PromptedT5(t5, prompt)
        chosen, generated = model.classify(texts), model.generate_scored(texts)
        answers[task] = [
            (choice.label, choice.log_probabilities, generation.text, generation.score)
            for choice, generation in zip(chosen, generated, strict=True)
        ]
    return answers


@contextlib.contextmanager
def serving(base: Path, output: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """Run the local server in a process of its own; give the process and its gRPC port."""
    parameters, port = output / "batching.config", 20000 + os.getpid() % 20000
    parameters.write_text(BATCHING)
    command = [sys.executable, "-m", "softprompt_tf.cli.cli", "serve", str(base), "--model-name", "soak"]
    options = ["--grpc-port", str(port), "--rest-port", str(port + 1), "--enable-batching"]
    options += ["--batching-parameters-file", str(parameters)]
    with open(output / "server.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        try:
            wait_until_ready(port)
            yield process, port
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_ready(port: int) -> None:
    """Ask until the server answers, for two minutes at most."""
    with PredictionClient(f"127.0.0.1:{port}", model_name="soak", timeout_s=5) as client:
        for _ in range(120):
            try:
                client.classify(["a"], task_id="task0")
                return
            except ServingError:
                time.sleep(1)
    raise SystemExit("the server did not start; see server.log")


def ask(port: int, texts: list[str], wanted: dict[str, list[tuple]], tally: Tally, finish: float, seed: int) -> None:
    """Be one client until the time is up."""
    draw = random.Random(seed)
    tasks = list(wanted)
    with PredictionClient(f"127.0.0.1:{port}", model_name="soak", timeout_s=60, seed=seed) as client:
        while time.monotonic() < finish:
            rows = [draw.randrange(len(texts)) for _ in range(draw.randint(1, 4))]
            asked = ["unknown" if draw.random() < SHARE_BAD else draw.choice(tasks) for _ in rows]
            kind = draw.choice(["classify", "generate"])
            call = client.classify if kind == "classify" else client.generate
            started = time.perf_counter()
            try:
                answers = dict(enumerate(call([texts[row] for row in rows], task_id=asked)))
            except RowError as error:
                answers = {k: answer for k, answer in enumerate(error.answers) if answer is not None}
            except ServingError as error:
                tally.add("failed requests", example=f"{kind}: {error}")
                continue
            with tally.lock:
                tally.latencies_ms.setdefault(kind, []).append(1e3 * (time.perf_counter() - started))
            judge(kind, rows, asked, answers, wanted, tally)


def judge(kind: str, rows: list[int], asked: list[str], answers: dict, wanted: dict, tally: Tally) -> None:
    """Compare a request's rows with Keras's answers."""
    for k, (row, task) in enumerate(zip(rows, asked, strict=True)):
        if task == "unknown":
            tally.add("bad rows refused" if k not in answers else "bad rows answered")
            continue
        if k not in answers:
            tally.add("good rows refused", example=f"{kind} {task} row {row}")
            continue
        _, logs, text, score = wanted[task][row]
        if kind == "classify":
            apart = np.abs(np.array(answers[k].log_probabilities) - logs).max()
            is_right = apart <= LIMIT_NATS
        else:
            apart = abs(answers[k].score - score)
            is_right = answers[k].text == text and apart <= LIMIT_NATS
        tally.add(
            "right answers" if is_right else "wrong answers",
            example="" if is_right else f"{kind} {task} {row}: {apart}",
        )


def watch(pid: int, base: Path, memory: list[tuple[float, float]], tally: Tally, finish: float) -> None:
    """Sample the server's memory and swap versions until the time is up."""
    started = swapped = time.monotonic()
    newest = 1
    while time.monotonic() < finish:
        time.sleep(SAMPLE_EVERY_S)
        now = time.monotonic()
        memory.append((now - started, resident_mb(pid)))
        if now - swapped >= SWAP_EVERY_S and finish - now > SWAP_EVERY_S / 2:
            newest, swapped = newest + 1, now
            staging = base / f".next-{newest}"
            shutil.copytree(base / str(newest - 1), staging, copy_function=os.link)
            staging.rename(base / str(newest))
            if newest > 2:
                shutil.rmtree(base / str(newest - 2))
            tally.add("versions swapped")
            print(f"{now - started:6.0f} s  version {newest}  {memory[-1][1]:.0f} MB  {dict(tally.counts)}", flush=True)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def report(arguments: argparse.Namespace, tally: Tally, memory: list[tuple[float, float]], load_before: float) -> int:
    """Write and print what was seen; return 1 where a good request failed or an answer was wrong."""
    halves = memory[: len(memory) // 2], memory[len(memory) // 2 :]
    figures = {
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        "latencies": {kind: percentiles(values) for kind, values in sorted(tally.latencies_ms.items())},
        "counts": {**dict.fromkeys(FAULTS, 0), **dict(sorted(tally.counts.items()))},
        "memory_mb": [statistics.median(size for _, size in half) for half in halves],
    }
    SOAK.write(arguments.output, {**conditions(load_before), **figures})
    print("\n".join(f"- {example}" for example in tally.examples))
    raw = {"latencies_ms": tally.latencies_ms, "memory": memory, "examples": tally.examples}
    (arguments.output / "results.json").write_text(json.dumps(raw))
    plot(memory, arguments.output / "results.png")
    return int(any(tally.counts[name] for name in FAULTS))


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """Return the number of values, three percentiles and the largest."""
    names = ("p50", "p95", "p99", "longest")
    found = np.percentile(values_ms, (50, 95, 99, 100))
    return {"count": len(values_ms), **{name: float(value) for name, value in zip(names, found, strict=True)}}


def plot(memory: list[tuple[float, float]], path: Path) -> None:
    """Draw the server's memory over the time, where matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 3.2))
    axis.plot([seconds / 60 for seconds, _ in memory], [size for _, size in memory])
    axis.set(xlabel="minutes", ylabel="resident memory of the server, MB", ylim=(0, None))
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
