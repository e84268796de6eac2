"""`softprompt demo`: train three prompts, export them, serve them and ask them.

What it prints is what it measured. Started again on the same directory, it goes on where it was stopped.
"""

import importlib.resources
import json
import time
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.demo.one_encoding import ask_one_encoding, train_behind
from softprompt_tf.errors import TrainingError, VerificationError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.export.client.client import Classification, PredictionClient
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.versions.saved_model import write_saved_model
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.inference.answering import answerer_without_prompt
from softprompt_tf.methods import load_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.run import RunResult, train_run
from softprompt_tf.tasks import Example, Task, load_task

TASKS = ("topic", "question_type", "sentiment")
ROWS_PER_TASK = 3
TOLERANCE = 1e-4  # nats, between what is served and what Keras answers
CLEAR_GAIN = 0.15  # over the majority baseline, in accuracy

_CONFIGS = "softprompt_tf.configs"


@dataclass(frozen=True)
class _Row:
    """What the demo says of one task; accuracies on the test rows, in [0, 1], but for `dev`."""

    task: str
    majority: float
    frozen: float
    dev: float
    tuned: float
    prompt_bytes: int
    seconds_per_step: float


def run_demo(output_dir: Path, *, backbone: str = "mini", steps: int | None = None) -> None:
    """Run the main job end to end in a directory, and print what came of it.

    Args:
      output_dir: where everything goes.
      backbone: what `load_t5` takes.
      steps: training steps for each task. Default: those of the configs.

    Raises:
      ConfigError: if `steps` is not above 0.
      VerificationError: if the served answers are not those of Keras.
      TrainingError: if another process is using the directory.
    """
    with locked(output_dir, error_type=TrainingError):
        _run_demo(output_dir, backbone, steps)


def _run_demo(output_dir: Path, backbone: str, steps: int | None) -> None:
    started = time.monotonic()
    t5 = load_t5(backbone)
    print(f"The frozen T5 {t5.name!r}: {_parameters(t5):,} parameters, none of which will train.\n")
    configs = {name: demo_config(name, output_dir / "runs" / name, backbone, steps=steps) for name in TASKS}
    runs = {name: _train(name, config) for name, config in configs.items()}
    rows = [_measure(t5, name, result) for name, result in runs.items()]
    _print_table(t5, rows)

    prompts = {name: result.prompts[name] for name, result in runs.items()}
    late = train_behind(runs)
    version = write_saved_model(output_dir / "export" / "demo", t5, {**prompts, **late})
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"One SavedModel for {len(prompts) + len(late)} prompts: {version}, {size / 1e6:.1f} MB.")
    print("It ran through TensorFlow's C API in a process of its own, and answered as Keras does.\n")

    mixed = _mixed_batch()
    served = _ask(version.parent, mixed)
    _print_answers(mixed, served)
    _check(t5, prompts, mixed, served)
    print(
        f"\nServed = Keras: the same labels, log-probabilities within {TOLERANCE:g} nats, on {len(mixed)} rows of 3 tasks."
    )
    ask_one_encoding(version.parent, TASKS)
    print(f"The complete job took {(time.monotonic() - started) / 60:.1f} minutes. All files are in {output_dir}/.")


def _train(name: str, config: RunConfig) -> RunResult:
    print(f"=== {name} ===", flush=True)
    result = train_run(config)
    accuracy = result.scores[name].metrics["accuracy"]
    print(f"{name}: accuracy {accuracy:.3f} on the dev rows, prompt in {result.prompts[name]}\n", flush=True)
    return result


def demo_config(name: str, output_dir: Path, backbone: str, *, steps: int | None = None) -> RunConfig:
    """Return the config of one of the demo's runs, as it ships in configs/runs/, or with another number of steps."""
    path = importlib.resources.files(_CONFIGS) / "runs" / f"{name}.yaml"
    fewer = [] if steps is None else [f"training.steps={steps}"]
    return load_config(str(path), [f"output_dir={output_dir}", f"backbone={backbone}", *fewer])


def _measure(t5: FrozenT5, name: str, result: RunResult) -> _Row:
    task = _task(name)
    frozen = evaluate_examples(answerer_without_prompt(t5), task, task.examples("test"))
    return _Row(
        task=name,
        majority=result.majority[name]["test"]["accuracy"],
        frozen=frozen.metrics["accuracy"],
        dev=result.scores[name].metrics["accuracy"],
        tuned=result.test_scores[name].metrics["accuracy"],
        prompt_bytes=result.prompts[name].stat().st_size,
        seconds_per_step=json.loads((result.output_dir / "metrics.json").read_text("utf-8"))["seconds_per_step"],
    )


def _print_table(t5: FrozenT5, rows: list[_Row]) -> None:
    print(
        "Accuracy on test rows. `dev` is the prompt's accuracy on the dev rows; it is optimistic, as they chose the step:\n"
    )
    columns = f"{'majority':>9}{'no prompt':>11}{'prompt':>8}{'dev':>7}{'prompt file':>13}{'model':>10}{'s/step':>8}"
    print(f"{'task':<15}{columns}")
    model_bytes = 4 * _parameters(t5)
    for row in rows:
        print(
            f"{row.task:<15}{row.majority:>9.3f}{row.frozen:>11.3f}{row.tuned:>8.3f}{row.dev:>7.3f}"
            f"{row.prompt_bytes / 1e3:>10.1f} kB{model_bytes / 1e6:>7.1f} MB{row.seconds_per_step:>8.3f}"
        )
    print()
    for row in rows:
        gain = row.tuned - row.majority
        if row.tuned <= row.frozen:
            print(f"{row.task}: no better than without a prompt; the pretraining of this T5 had a task of the kind.")
        if gain < CLEAR_GAIN:
            print(f"{row.task}: only {100 * gain:.1f} points above the majority. This small T5 is hard to steer there.")
    print()


def _mixed_batch() -> list[tuple[str, Example]]:
    """Return a few test rows of every task, the tasks in turn."""
    examples = {name: _task(name).examples("test", limit=ROWS_PER_TASK) for name in TASKS}
    return [(name, examples[name][k]) for k in range(ROWS_PER_TASK) for name in TASKS]


def _ask(base_path: Path, mixed: list[tuple[str, Example]]) -> list[Classification]:
    with ModelServer(base_path, model_name="demo", grpc_port=0, rest_port=None) as server:
        target = f"127.0.0.1:{server.grpc_port}"
        print(f"Served on {target}; one request over gRPC with {len(mixed)} rows of {len(TASKS)} tasks:\n")
        with PredictionClient(target, model_name="demo") as client:
            texts = [example.inputs for _, example in mixed]
            return client.classify(texts, task_id=[name for name, _ in mixed])


def _print_answers(mixed: list[tuple[str, Example]], served: list[Classification]) -> None:
    for (name, example), answer in zip(mixed, served, strict=True):
        text = example.inputs if len(example.inputs) <= 60 else example.inputs[:57] + "..."
        mark = "right" if answer.label == example.target else f"it is {example.target}"
        print(f"  {name:<14} {text:<61} {answer.label} ({answer.probability:.2f}), {mark}")


def _check(
    t5: FrozenT5, prompts: dict[str, Path], mixed: list[tuple[str, Example]], served: list[Classification]
) -> None:
    """Compare every served answer with Keras's."""
    for name, path in prompts.items():
        rows = [k for k, (task, _) in enumerate(mixed) if task == name]
        expected = PromptedT5(t5, load_prompt(path)).classify([mixed[k][1].inputs for k in rows])
        for k, choice in zip(rows, expected, strict=True):
            answered = dict(zip(served[k].labels, served[k].log_probabilities, strict=True))
            wanted = dict(zip(choice.labels, choice.log_probabilities, strict=True))
            worst = max(abs(answered[label] - wanted[label]) for label in wanted)
            if served[k].label != choice.label or worst > TOLERANCE:
                raise VerificationError(
                    f"The served answer must be Keras's. Received: {served[k].label} for {mixed[k][1].inputs!r}, where Keras "
                    f"says {choice.label}, {worst:.2e} nats apart."
                )


def _task(name: str) -> Task:
    return load_task(str(importlib.resources.files(_CONFIGS) / "tasks" / f"{name}.yaml"))


def _parameters(t5: FrozenT5) -> int:
    return int(t5.backbone.count_params())
