"""What a run needs, small: the tiny T5 as a preset directory, two tasks of 24 rows, and a config of a few steps."""

import json
from pathlib import Path

import yaml
from tiny_t5 import make_tiny_t5

ADJECTIVES = {
    "good": "positive",
    "charming": "positive",
    "warm": "positive",
    "bad": "negative",
    "dull": "negative",
    "tired": "negative",
}
NOUNS = ("film", "story", "book", "chair")


def write_preset(directory: Path, *, seed: int = 0, num_layers: int = 2) -> Path:
    """Save the tiny T5 as KerasHub saves a preset."""
    t5 = make_tiny_t5(seed=seed, num_layers=num_layers)
    t5.backbone.save_to_preset(str(directory))
    t5.tokenizer.save_to_preset(str(directory))
    return directory


def mood_rows() -> list[dict[str, str]]:
    """24 rows, every adjective with every noun."""
    return [
        {"text": f"the old {noun} is {adjective}", "label": label}
        for noun in NOUNS
        for adjective, label in ADJECTIVES.items()
    ]


def echo_rows() -> list[dict[str, str]]:
    """24 rows whose answer is the first of two words."""
    return [{"first": first, "second": second, "answer": first} for first in ADJECTIVES for second in NOUNS]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_tasks(directory: Path) -> dict[str, Path]:
    """Write the task files mood.yaml (two labels, a template of one field) and echo.yaml (text, two fields)."""
    for name, rows in (("mood", mood_rows()), ("echo", echo_rows())):
        write_rows(directory / f"{name}_train.jsonl", rows[:16])
        write_rows(directory / f"{name}_dev.jsonl", rows[16:])
    mood = {
        "name": "mood",
        "inputs": "film: {text}",
        "labels": {"negative": "negative", "positive": "positive"},
        "metrics": ["accuracy", "macro_f1"],
        "max_input_tokens": 30,
    }
    echo = {
        "name": "echo",
        "inputs": "{first} and {second}",
        "targets": "{answer}",
        "metrics": ["exact_match"],
        "max_target_tokens": 4,
    }
    for task in (mood, echo):
        sources = {"train": f"{task['name']}_train.jsonl", "validation": f"{task['name']}_dev.jsonl"}
        write_yaml(directory / f"{task['name']}.yaml", {**task, **sources})
    return {"mood": directory / "mood.yaml", "echo": directory / "echo.yaml"}


def write_yaml(path: Path, values: object) -> Path:
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def run_values(backbone: Path, tasks: list[Path], output_dir: Path, **training: object) -> dict[str, object]:
    """Return a run's config: 6 steps, scored after 3 and 6, with a checkpoint every 2."""
    return {
        "backbone": str(backbone),
        "task": str(tasks[0]) if len(tasks) == 1 else [str(task) for task in tasks],
        "prompt": {"length": 4, "init": "class_labels"},
        "training": {"steps": 6, "batch_size": 4, "evaluate_every": 3, "checkpoint_every": 2, **training},
        "output_dir": str(output_dir),
        "seed": 3,
    }
