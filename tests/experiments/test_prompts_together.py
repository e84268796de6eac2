"""Prompts that train at once end as each does alone, whatever happens to the others."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import run_values, write_preset, write_tasks, write_yaml

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.errors import NonFiniteLossError, TrainingError
from softprompt_tf.experiments import runner
from softprompt_tf.experiments.plan import make_plan
from softprompt_tf.experiments.prompt_tuner import PromptTuner, read_record
from softprompt_tf.experiments.prompts_together import tune_together
from softprompt_tf.experiments.settings import read_sweep
from softprompt_tf.experiments.sweep import run_sweep
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.runs.run import TaskData
from softprompt_tf.tasks import load_task
from softprompt_tf.training import saved_run

pytestmark = pytest.mark.thorough


class Tuned:
    """The tiny T5, a tuner over it, and the rows of a task."""

    def __init__(self, directory):
        self.backbone, tasks = write_preset(directory / "t5"), write_tasks(directory)
        self.task = tasks["mood"]
        self.tuner = PromptTuner(sp.load_t5(self.backbone))
        task = load_task(self.task)
        self.data = TaskData(task, task.examples("train"), task.examples("validation"))

    def config(self, directory, seed=1, *, method="late_prompts", **training):
        values = run_values(self.backbone, [self.task], directory, **training)
        values |= {"prompt": {"method": method, "length": 3}, "seed": seed}
        directory.mkdir(parents=True)
        return load_config(write_yaml(directory / "run.yaml", values))

    def alone(self, config):
        return self.tuner.tune(config, self.data, run_digest=str(config.seed))

    def together(self, configs, **keywords):
        return tune_together(
            self.tuner, configs, self.data, run_digests=[str(config.seed) for config in configs], **keywords
        )

    def configs(self, directory, changes, **shared):
        """Return a config for each mapping of changes, in a directory of its own each."""
        return [self.config(directory / str(n), n + 1, **shared | change) for n, change in enumerate(changes)]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return Tuned(tmp_path_factory.mktemp("tuned"))


def assert_same(found, expected):
    """Compare two finished directories: the prompt to 1e-5 of its largest value, and the record without its times."""
    prompts = [sp.load_prompt(directory / "prompt.safetensors") for directory in (found, expected)]
    for name, value in prompts[1].tensors.items():
        np.testing.assert_allclose(prompts[0].tensors[name], value, rtol=0, atol=1e-5 * np.abs(value).max())
    records = [read_record(directory) for directory in (found, expected)]
    assert (records[0].metrics, records[0].step) == (records[1].metrics, records[1].step)


def test_prompts_with_dropout_have_models_of_their_own_seed(tuned, tmp_path):
    configs = [tuned.config(tmp_path / str(seed), seed, method="prompt_tuning", prompt_dropout=0.5) for seed in (1, 2)]

    assert [tuned.tuner.model_of(config, tuned.data).method.seed for config in configs] == [1, 2]


CHANGES = [
    {"learning_rate": 1.0, "schedule": "cosine", "warmup_steps": 2},
    {"learning_rate": 1e-30},  # the score never gains, and patience ends
    {"learning_rate": 1e39},  # after one step the loss is no number any more
]
SHARED = {"evaluate_every": 1, "early_stopping_patience": 3}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def alone(tuned, tmp_path_factory):
    """Runs one after the other: where they are, and the error of the last."""
    directory = tmp_path_factory.mktemp("alone")
    configs = tuned.configs(directory, CHANGES, **SHARED)
    for config in configs[:2]:
        tuned.alone(config)
    with pytest.raises(NonFiniteLossError) as error:
        tuned.alone(configs[2])
    return directory, str(error.value)


@pytest.fixture(scope="module")
def together(tuned, tmp_path_factory):
    """The same at once: where they are, and the errors.

    The first one began alone and was killed; then all were killed when it had written its checkpoint and the second had not.
    """
    directory = tmp_path_factory.mktemp("together")
    configs = tuned.configs(directory, CHANGES, **SHARED)
    writes, write = [], saved_run.write_checkpoint

    def counted(path, checkpoint):
        writes.append(checkpoint.step)
        if len(writes) in (2, 4):
            raise Killed
        return write(path, checkpoint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_run, "write_checkpoint", counted)
        with pytest.raises(Killed):
            tuned.alone(configs[0])
        with pytest.raises(Killed):
            tuned.together(configs)
        assert writes == [2, 4, 4, 2]
        return directory, tuned.together(configs)


def test_seeds_and_rates_end_as_alone_whatever_happens_to_others(alone, together):
    assert [type(error) for error in together[1]] == [type(None), type(None), NonFiniteLossError]
    assert str(together[1][2]) == alone[1]
    assert read_record(together[0] / "2") is None
    assert read_record(together[0] / "1").step == 1
    for number in "01":
        assert_same(together[0] / number, alone[0] / number)


def test_files_are_those_of_a_run_alone(tuned, alone, together):
    directories = [each[0] / "0" for each in (together, alone)]
    config = load_config(directories[0] / "run.yaml")
    model, _ = tuned.alone(config)  # which finds it finished

    files = [sorted(path.name for path in directory.iterdir()) for directory in directories]
    kept = [sp.load_prompt(directory / "prompt.safetensors") for directory in directories]
    records = [json.loads((directory / "trial.json").read_text()) for directory in directories]
    assert files[0] == files[1]
    assert kept[0].training_config | {"output_dir": ""} == kept[1].training_config | {"output_dir": ""}
    assert (kept[0].labels, kept[0].template, kept[0].task_id) == (kept[1].labels, kept[1].template, kept[1].task_id)
    assert records[0].keys() == records[1].keys()
    assert all(record["seconds_per_step"] > 0 for record in records)
    for name, value in model.task_tensors().items():
        np.testing.assert_array_equal(value, kept[0].tensors[name])


@pytest.mark.thorough
def test_a_method_that_the_whole_encoder_sees_can_train_together_too(tuned, tmp_path):
    together, alone = (
        tuned.configs(tmp_path / kind, [{}, {}], method="prompt_tuning", steps=2) for kind in ("together", "alone")
    )

    assert tuned.together(together) == []
    assert tuned.together(together, most=2) == [None, None]

    tuned.alone(alone[1])
    assert_same(tmp_path / "together" / "1", tmp_path / "alone" / "1")


def test_a_directory_in_use_is_refused(tuned, tmp_path):
    configs = tuned.configs(tmp_path, [{}, {}])

    in_use = locked(tmp_path / "1", error_type=TrainingError, name=".checkpoints.lock")
    with in_use, pytest.raises(TrainingError, match="one process at a time"):
        tuned.together(configs)


@pytest.mark.parametrize(
    ("change", "most"),
    [({"cached_states": "off"}, None), ({"strategy": "mirrored"}, 2), ({}, 1)],
    ids=["no states", "strategy", "one by one"],
)
def test_nothing_is_done_where_steps_are_not_shared(tuned, tmp_path, change, most):
    configs = tuned.configs(tmp_path, [change, change])

    assert tuned.together(configs, most=most) == []
    assert not (tmp_path / "0" / "checkpoints").exists()


# === In a sweep ===


@pytest.fixture
def groups(monkeypatch):
    """The prompts that a sweep would train at once; they are finished at once too."""
    found = []

    def tuned_at_once(tuner, configs, data, *, run_digests, most):
        assert most is None
        found.append([(config.tasks[0].name, config.seed, config.training.learning_rate) for config in configs])
        for config in configs:
            Path(config.output_dir).mkdir(parents=True, exist_ok=True)
            (Path(config.output_dir) / "trial.json").write_text("{}")
        return [None] * len(configs)

    def scored(self, trial, scorings):
        return [scoring.result({"accuracy": 1.0}, 1, 0.0) for scoring in scorings]

    monkeypatch.setattr(runner, "tune_together", tuned_at_once)
    monkeypatch.setattr(runner.Runner, "run", scored)
    return found


def test_a_sweep_trains_at_once_what_differs_in_seed_or_rate(place, groups, tmp_path):
    rates = {"tasks": [place.mood, place.echo], "vary": {"training.learning_rate": [0.1, 0.2]}}
    others = {"tasks": [place.mood], "arms": ["prompt_tuning", "random_prompt"], "prompt": {"length": 2}, "seeds": [1]}
    plan = make_plan(read_sweep(place.sweep({"rates": rates, "others": others})))
    lines = []

    outcome = run_sweep(plan, tmp_path, tell=lines.append)

    assert outcome.made == 10
    pairs = {(seed, rate) for seed in (1, 2) for rate in (0.1, 0.2)}
    assert [{each[1:] for each in group} for group in groups] == [pairs, pairs]
    assert [{each[0] for each in group} for group in groups] == [{"mood"}, {"echo"}]
    assert lines.count("    trained at once with 3 that differ in seed or rate") == 2


def test_one_by_one_is_a_choice(place, groups, tmp_path):
    plan = make_plan(read_sweep(place.sweep({"seeds": {"tasks": [place.mood]}})))

    assert run_sweep(plan, tmp_path, together=1, tell=lambda _: None).made == 2
    assert groups == []


def test_what_cannot_train_at_once_trains_alone(place, groups, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise TrainingError("no")

    monkeypatch.setattr(runner, "tune_together", refused)
    plan = make_plan(read_sweep(place.sweep({"seeds": {"tasks": [place.mood]}})))

    assert run_sweep(plan, tmp_path, tell=lambda _: None).made == 2
