"""bfloat16 is chosen where it agrees with float32 and is faster; a run keeps what it began with."""

import json

import numpy as np
import pytest
from tiny_run import run_values, write_preset, write_tasks, write_yaml
from tiny_t5 import make_tiny_t5

from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.runs import precision_choice, run
from softprompt_tf.runs.precision_choice import Measured, decide, with_chosen_precision


def measured(seconds=1.0, losses=(2.0, 4.0), gradients=((3.0, 4.0), (1.0, 0.0))):
    return Measured(seconds, losses, tuple(np.array(gradient) for gradient in gradients))


@pytest.mark.parametrize(
    ("rounded", "precision", "reason"),
    [
        (
            measured(0.5),
            "bfloat16",
            "0.50 times as long as float32; losses differ by 0 %, cosine of the gradients 1.0000",
        ),
        (measured(0.96), "float32", "bfloat16 takes 0.96 times as long"),
        # 4.1 for 4.0 is 2.5 % more.
        (measured(0.5, losses=(2.0, 4.1)), "float32", "does not agree: losses differ by 2.5 %"),
        # (3, 4) and (4, 3): 24 / 25.
        (measured(0.5, gradients=((4.0, 3.0), (1.0, 0.0))), "float32", "cosine of the gradients 0.9600"),
        (measured(0.5, losses=(2.0, float("nan"))), "float32", "does not agree"),
    ],
    ids=["agrees", "slow", "another loss", "another gradient", "no number"],
)
def test_bfloat16_is_taken_where_it_agrees_and_is_faster(rounded, precision, reason):
    choice = decide(measured(), rounded)

    assert choice.precision == precision
    assert reason in choice.reason


@pytest.fixture
def config(tmp_path):
    write_preset(tmp_path / "tiny")
    values = run_values(tmp_path / "tiny", [write_tasks(tmp_path)["mood"]], tmp_path / "out", steps=2)
    values["training"]["precision"] = "auto"
    return load_config(write_yaml(tmp_path / "run.yaml", values))


def never():
    raise AssertionError("measured again")


@pytest.mark.thorough
def test_a_run_measures_both_on_its_first_batches_and_keeps_its_choice(config, monkeypatch, capsys):
    both = []
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "")
    monkeypatch.setattr(
        precision_choice, "decide", lambda *found: both.extend(found) or decide(measured(), measured(0.5))
    )

    result = run.train_run(config)

    exact, rounded = both
    assert exact.losses == pytest.approx(losses_of_first_batches(config), rel=1e-5)
    assert np.allclose(exact.losses, rounded.losses, rtol=0.02)
    assert exact.losses != rounded.losses  # two precisions
    assert all(a.shape == b.shape == (4 * 16,) for a, b in zip(exact.vectors, rounded.vectors, strict=True))
    assert "precision: bfloat16 (0.50 times as long" in capsys.readouterr().err
    assert load_config(result.output_dir / "config.yaml").training.precision == "bfloat16"
    assert with_chosen_precision(config, never).training.precision == "bfloat16"


def losses_of_first_batches(config):
    task, t5 = run.read_task_data(run.load_task(config.tasks[0])), make_tiny_t5()
    run.keras.utils.set_random_seed(config.seed)
    model = run.build_model(t5, config, [task.task])
    batches = list(run.training_batches(t5, model, [task], config).dataset(first_step=0).take(3))
    return [float(model.test_on_batch(x, y)) for x, y in batches]


def test_a_machine_without_bfloat16_measures_nothing(config, tmp_path, monkeypatch):
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "the processor has no units for bfloat16")

    assert with_chosen_precision(config, never).training.precision == "float32"
    kept = json.loads((tmp_path / "out" / "precision.json").read_text())
    assert (kept["precision"], kept["reason"]) == ("float32", "the processor has no units for bfloat16")


def test_a_run_that_began_with_a_named_precision_keeps_it(config, tmp_path):
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    (tmp_path / "out" / "checkpoints" / "step-00000002.safetensors").touch()
    named = config.model_copy(update={"training": config.training.model_copy(update={"precision": "bfloat16"})})
    (tmp_path / "out" / "config.yaml").write_text(run.dump_config(named))

    assert with_chosen_precision(config, never).training.precision == "bfloat16"


def test_a_start_with_other_settings_chooses_again_before_there_is_a_checkpoint(config, tmp_path, monkeypatch):
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "")
    other = config.model_copy(update={"backbone": "other"})

    assert with_chosen_precision(config, lambda: [measured(), measured(0.5)]).training.precision == "bfloat16"
    assert with_chosen_precision(config, never).training.precision == "bfloat16"
    assert with_chosen_precision(other, lambda: [measured(), measured(2.0)]).training.precision == "float32"

    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "step-00000002.safetensors").touch()
    (tmp_path / "out" / "config.yaml").touch()
    assert with_chosen_precision(config, never).training.precision == "float32"  # which the run began with


def test_a_damaged_choice_is_told(config, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precision.json").write_text("{")

    with pytest.raises(TrainingError, match="must hold the precision that was chosen"):
        with_chosen_precision(config, never)


def test_a_tpu_is_not_measured(config):
    tpu = config.model_copy(update={"training": config.training.model_copy(update={"strategy": "tpu"})})

    with pytest.raises(ConfigError, match="measures on a CPU or a GPU. Received: training.strategy=tpu"):
        with_chosen_precision(tpu, never)
