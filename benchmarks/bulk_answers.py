"""Answer 100,000 rows of three tasks with `softprompt answer-files`, kill it now and then, and compare all answers.

    python benchmarks/bulk_answers.py [--rows 100000] [--kills 5] [--backbone mini] [--layers 1 [--width 32]] [--json FILE]

Rows are made by a seed. The command is killed with SIGKILL at drawn moments and started again until it ends. Then each row must be
there once, with the answer that the SavedModel's signature gives when it is called directly; some are asked over gRPC too. At
last the rate of a job that runs through is measured, and that of a loop of gRPC requests to a server on this machine, in turns.
"""

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from softprompt_tf.backbones import write_preset
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.export import ModelServer, PredictionClient, write_saved_model

LABELS = {"sentiment": ("negative", "positive"), "topic": ("world", "sports", "business", "science")}
GENERATING = "story"
WORDS = (
    "the",
    "a",
    "old",
    "film",
    "is",
    "warm",
    "plot",
    "market",
    "team",
    "wins",
    "slowly",
    "and",
    "quiet",
    "of",
    "goals",
)
CLIENT_BATCHES = (16, 64)
TOLERANCE = 1e-4  # of a probability, and of a score in nats: rows of a batch are padded to the longest

Row = dict[str, Any]


def main() -> None:
    """Export, kill, compare, time, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--timed-rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--layers", type=int, help="take so many layers in each stack, with drawn weights")
    parser.add_argument("--width", type=int, help="with --layers: the width of the model, instead of the backbone's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    drawn = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        backbone = _shallow(base, arguments) if arguments.layers else arguments.backbone
        version = write_saved_model(base / "bench", *_tasks(backbone), verify=False)
        rows = _rows(arguments.rows, drawn)
        found: dict[str, Any] = {"rows": len(rows), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
        found["killed"] = _answer_with_kills(base, rows, arguments.kills, drawn)
        answered = [json.loads(line) for line in (base / "answers.jsonl").read_text("utf-8").splitlines()]
        found["compared"] = _compare(rows, answered, _directly(version, rows))
        with ModelServer(base / "bench", model_name="bench", grpc_port=0, rest_port=None) as server:
            target = f"127.0.0.1:{server.grpc_port}"
            chosen = drawn.sample(range(len(rows)), min(300, len(rows)))
            asked = list(_over_grpc(target, [rows[k] for k in chosen], batch_size=16))
            found["compared over gRPC"] = _compare([rows[k] for k in chosen], [answered[k] for k in chosen], asked)
            found["rows per second"] = _rates(base, target, rows[: arguments.timed_rows], arguments.rounds)
    print(json.dumps(found, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _shallow(base: Path, arguments: argparse.Namespace) -> str:
    """Write the backbone with fewer layers and drawn weights: rows are read and written as with a larger one, in less time."""
    t5 = sp.load_t5(arguments.backbone)
    config = {**t5.backbone.get_config(), "num_layers": arguments.layers, "dtype": "float32"}
    if arguments.width:
        sizes = {"hidden_dim": arguments.width, "intermediate_dim": 2 * arguments.width, "num_heads": 2}
        config |= {**sizes, "key_value_dim": arguments.width // 2}
    write_preset(plain_backbone(**config), t5.tokenizer.proto, base / "t5")
    return str(base / "t5")


def _tasks(backbone: str) -> tuple[Any, dict[str, Any]]:
    """Return the T5 and three tasks; nothing is trained, as prompts of sampled words cost what trained ones cost."""
    t5 = sp.load_t5(backbone)
    prompts = {
        name: sp.PromptedT5(t5, sp.prompt_tuning(20, seed=k), labels=labels).task_prompt(name)
        for k, (name, labels) in enumerate(LABELS.items())
    }
    story = sp.PromptedT5(t5, sp.prompt_tuning(20, seed=7), max_target_tokens=8)
    return t5, {**prompts, GENERATING: story.task_prompt(GENERATING)}


def _rows(count: int, drawn: random.Random) -> list[Row]:
    names = (*LABELS, GENERATING)
    return [
        {"id": k, "task": names[k % len(names)], "text": " ".join(drawn.choices(WORDS, k=drawn.randint(3, 20)))}
        for k in range(count)
    ]


# === The command ===


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _command(base: Path, source: str, target: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "softprompt_tf.cli.command", "answer-files", "bench", source, target]
    return subprocess.Popen([*command, "--force"], cwd=base, stdout=subprocess.DEVNULL)


def _answer_with_kills(base: Path, rows: Sequence[Row], kills: int, drawn: random.Random) -> dict[str, Any]:
    """Run the command, kill it at drawn numbers of finished chunks or at once, and run it to its end."""
    _write(base / "rows.jsonl", rows)
    work = base / "answers.jsonl.work"
    moments = sorted(drawn.uniform(0, 0.95) for _ in range(kills))
    kept, started = [], time.monotonic()
    for moment in moments:
        process = _command(base, "rows.jsonl", "answers.jsonl")
        while process.poll() is None and _finished(work) < moment * len(rows) / 1000:
            time.sleep(0.05)
        time.sleep(drawn.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.append(_finished(work))
    if _command(base, "rows.jsonl", "answers.jsonl").wait():
        raise SystemExit("the command failed")
    left = sorted(path.name for path in base.iterdir())
    return {"chunks kept at each kill": kept, "seconds": round(time.monotonic() - started), "files": left}


def _finished(work: Path) -> int:
    return sum(1 for _ in work.glob("part-*.rows"))


# === Other ways to ask ===


def _directly(version: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the answers of the SavedModel's signatures, called in this process in batches of rows of like length."""
    import tensorflow_text  # noqa: F401  the tokenizer's ops

    loaded = tf.saved_model.load(str(version))
    answers: list[Row] = [{} for _ in rows]
    for name in ("classify", "serving_default"):
        asked = [k for k, row in enumerate(rows) if (row["task"] == GENERATING) == (name == "serving_default")]
        asked.sort(key=lambda k: len(rows[k]["text"]))
        for start in range(0, len(asked), 64):
            batch = asked[start : start + 64]
            columns = {"task_id": [rows[k]["task"] for k in batch], "text": [rows[k]["text"] for k in batch]}
            outputs = loaded.signatures[name](**{key: tf.constant(value) for key, value in columns.items()})
            for k, answer in zip(batch, _by_row({key: value.numpy() for key, value in outputs.items()}), strict=True):
                answers[k] = answer
    return answers


def _by_row(outputs: Mapping[str, np.ndarray]) -> Iterator[Row]:
    names = {"output": "text", "score": "score", "label": "label", "probability": "probability"}
    for row in range(len(outputs["status"])):
        values = {named: outputs[name][row] for name, named in names.items() if name in outputs}
        answer = {name: value.decode() if isinstance(value, bytes) else float(value) for name, value in values.items()}
        if "labels" in outputs:
            answer["labels"] = [label.decode() for label in outputs["labels"][row]]
            answer["log_probabilities"] = outputs["log_probabilities"][row].tolist()
        yield answer


def _over_grpc(target: str, rows: Sequence[Row], *, batch_size: int) -> Iterator[Row]:
    """Yield the answers of requests of `batch_size` rows, one after the other, as a script would ask."""
    with PredictionClient(target, model_name="bench", timeout_s=120) as client:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            answers: dict[int, Row] = {}
            for is_story, ask in ((False, client.classify), (True, client.generate)):
                same = [row for row in batch if (row["task"] == GENERATING) == is_story]
                asked = ask([row["text"] for row in same], task_id=[row["task"] for row in same])
                answers |= {row["id"]: vars(answer) for row, answer in zip(same, asked, strict=True)}
            yield from (answers[row["id"]] for row in batch)


# === What was found ===


def _compare(rows: Sequence[Row], answered: Sequence[Row], expected: Sequence[Row]) -> dict[str, Any]:
    """Compare answered rows with expected answers.

    Two labels may be equally likely but for the rounding of a batch; such a tie is counted.

    Raises:
      SystemExit: if a row is missing, there twice, or has another answer.
    """
    if [row["answer_row"] - 1 for row in answered] != [row["id"] for row in rows]:
        raise SystemExit("a row is missing, or there twice")
    largest, ties = 0.0, 0
    for row, found, answer in zip(rows, answered, expected, strict=True):
        for name in ("text", "score") if row["task"] == GENERATING else ("label", "probability"):
            value, wanted = found[f"answer_{name}"], answer[name]
            if name == "label" and value != wanted and _is_tie(answer, value):
                ties += 1
            elif isinstance(wanted, str) and value != wanted:
                raise SystemExit(f"another answer for {row}: {value!r}, and not {wanted!r}")
            if not isinstance(wanted, str):
                largest = max(largest, abs(value - wanted))
    if largest > TOLERANCE:
        raise SystemExit(f"a number differs by {largest}")
    return {"rows": len(answered), "ties": ties, "largest difference of a number": largest}


def _is_tie(answer: Row, label: str) -> bool:
    """Return whether a label is as likely as the best one."""
    logs = dict(zip(answer["labels"], answer["log_probabilities"], strict=True))
    return max(logs.values()) - logs[label] < TOLERANCE


def _rates(base: Path, target: str, rows: Sequence[Row], rounds: int) -> dict[str, list[float]]:
    """Return rows per second of each round, and their median: of the command and of loops of requests, in turns."""
    _write(base / "timed.jsonl", rows)
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        started = time.monotonic()
        _command(base, "timed.jsonl", "timed_answers.jsonl").wait()
        rates.setdefault("answer-files, its start included", []).append(len(rows) / (time.monotonic() - started))
        for batch_size in CLIENT_BATCHES:
            started = time.monotonic()
            list(_over_grpc(target, rows, batch_size=batch_size))
            rates.setdefault(f"gRPC, {batch_size} rows a request", []).append(len(rows) / (time.monotonic() - started))
    return {
        name: [round(statistics.median(each), 1), *(round(rate, 1) for rate in each)] for name, each in rates.items()
    }


if __name__ == "__main__":
    main()
