"""A sweep makes every run once, whatever happens in between, and its results are those of the library's own functions."""

import contextlib
import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_run import mood_rows, write_preset, write_rows, write_yaml
from tiny_sweep import TRAINING

from softprompt_tf.backbones import load_t5
from softprompt_tf.baselines import ModelTuner, TuningSettings, design_prompts, random_prompt
from softprompt_tf.config import load_config, load_task_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.evaluation.scores import score_answers
from softprompt_tf.experiments import runner, sweep
from softprompt_tf.experiments.data_files import check_data_files
from softprompt_tf.experiments.plan import make_plan
from softprompt_tf.experiments.rows import training_data
from softprompt_tf.experiments.settings import ARMS, RunSettings, read_sweep
from softprompt_tf.experiments.sweep import plan_lines, result_store, run_sweep
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.methods import load_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.run import train_run
from softprompt_tf.tasks import load_task

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("shared_tuners")]


def plan_of(place, experiments, **shared):
    return make_plan(read_sweep(place.sweep(experiments, **shared)))


def run(plan, output, **keywords):
    lines = []
    outcome = run_sweep(plan, output, tell=lines.append, **keywords)
    return outcome, lines


def figures(output):
    """The results without their times."""
    return [dataclasses.replace(result, seconds=0.0) for result in result_store(output).results()]


@pytest.fixture(scope="module")
def methods(place):
    return plan_of(place, {"methods": {"tasks": [place.mood, place.echo], "arms": list(ARMS), "seeds": [1]}})


@pytest.fixture(scope="module")
def finished(methods, shared_tuners, tmp_path_factory):
    """The directory of a sweep of all methods."""
    output = tmp_path_factory.mktemp("methods")
    outcome, _ = run(methods, output)
    assert (outcome.made, outcome.failed, outcome.not_reached) == (12, {}, 0)
    return output


def metrics_of(output, arm, task="mood"):
    (result,) = [each for each in result_store(output).results() if (each.arm, each.task) == (arm, task)]
    return result.metrics


def test_a_prompts_result_is_that_of_its_training_run(place, finished, tmp_path):
    values = {
        "backbone": place.backbone,
        "task": place.mood,
        "prompt": {"length": 3, "init": "sampled_vocabulary"},
        "training": {"steps": 4, "batch_size": 4, "optimizer": "adam", "learning_rate": 0.1, "evaluate_every": 2},
        "output_dir": str(tmp_path / "run"),
        "seed": 1,
    }

    alone = train_run(load_config(write_yaml(tmp_path / "run.yaml", values)))

    assert metrics_of(finished, "prompt_tuning") == alone.scores["mood"].metrics


def test_each_baselines_result_is_that_of_the_baseline_alone(place, finished):
    t5, task = load_t5(place.backbone), load_task(place.mood)
    train, rows = task.examples("train"), task.examples("validation")
    designs = {
        "prompt_design_zero_shot": design_prompts(t5, task, shots=0),
        "prompt_design_few_shot": design_prompts(t5, task, train, shots=2, seed=1),
    }
    drawn = random_prompt(t5, task, length=3, seed=1)

    for arm, design in designs.items():
        assert metrics_of(finished, arm) == score_answers(task, rows, design.ask(task, rows)).metrics, arm
    assert metrics_of(finished, "random_prompt") == evaluate_examples(drawn, task, rows).metrics


def test_model_tunings_results_are_those_of_the_tuner_alone(place, methods, finished):
    tuner = ModelTuner(load_t5(place.backbone))
    settings = TuningSettings(steps=4, batch_size=4, learning_rate=0.01, warmup_steps=1, evaluate_every=2)
    mood, echo = (training_data(each.task, each.trial.settings.rows) for each in methods.scorings[:2])

    alone, together = (tuner.tune(data, settings, seed=1).metrics for data in ([mood], [mood, echo]))

    assert metrics_of(finished, "model_tuning") == alone["mood"]
    assert metrics_of(finished, "multitask_model_tuning") == together["mood"]
    assert metrics_of(finished, "multitask_model_tuning", "echo") == together["echo"]


def test_a_finished_sweep_is_not_run_again(methods, finished, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda *_: pytest.fail("ran"))

    outcome, lines = run(methods, finished)

    assert (outcome.made, outcome.not_reached) == (0, 0)
    assert len(lines) == 11
    assert all(line.endswith("finished before") for line in lines)
    assert plan_lines(methods, finished)[-1] == "11 runs, 12 results, 12 of them finished."


def test_a_backbone_that_has_other_weights_now_is_refused_and_nothing_is_lost(place, tmp_path):
    preset = shutil.copytree(place.backbone, tmp_path / "preset")
    short = {"methods": {"tasks": [place.mood], "arms": ["random_prompt", "model_tuning"], "seeds": [1]}}
    run(plan_of(place, short, backbone=str(preset)), tmp_path / "out")
    before = load_t5(preset).fingerprint
    write_preset(preset, seed=1)  # as a longer pretraining into the same place would
    after = load_t5(preset).fingerprint
    left = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    for seeds in ([1], [1, 2]):
        plan = plan_of(place, {"methods": short["methods"] | {"seeds": seeds}}, backbone=str(preset))
        with pytest.raises(ConfigError, match="backbone must stay the same") as error:
            run(plan, tmp_path / "out")

    assert before != after
    assert f"Received: {str(preset)!r} with weights {after}" in str(error.value)
    assert f"the results in {tmp_path / 'out'} are of weights {before}" in str(error.value)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == left
    outcome, _ = run(plan, tmp_path / "other")
    assert outcome.made == 4


def test_a_sweep_remembers_each_backbone_and_what_it_was(place, tmp_path):
    other = write_preset(tmp_path / "other", seed=1)
    variants = {"one": {}, "two": {"backbone": str(other)}}
    plan = plan_of(place, {"objectives": {"tasks": [place.mood], "variants": variants, "seeds": [1]}})

    run(plan, tmp_path / "out")

    found = json.loads((tmp_path / "out" / "backbones.json").read_text())
    one, two = load_t5(place.backbone), load_t5(other)
    assert found == {
        place.backbone: {"weights": one.fingerprint, "vocabulary": one.tokenizer_fingerprint},
        str(other): {"weights": two.fingerprint, "vocabulary": two.tokenizer_fingerprint},
    }
    assert one.fingerprint != two.fingerprint


def test_another_precision_is_no_other_backbone(place, tmp_path):
    short = {"methods": {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}}
    run(plan_of(place, short), tmp_path)

    half = plan_of(place, short | {"half": short["methods"] | {"training": {"precision": "bfloat16"}}})

    assert run(half, tmp_path)[0].made == 1


def test_a_damaged_record_of_backbones_is_told(place, tmp_path):
    plan = plan_of(place, {"methods": {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}})
    run(plan, tmp_path)
    for content in ("{", "[]", '{"mini": 3}', '{"mini": {"weights": "t5:0"}}'):
        (tmp_path / "backbones.json").write_text(content)

        with pytest.raises(ConfigError, match=r"backbones\.json must hold the fingerprints"):
            run(plan, tmp_path)


def test_finished_trials_leave_a_prompt_and_no_checkpoints_or_weights(finished):
    left = {path.name for path in (finished / "trials").rglob("*") if path.is_file()}

    assert left == {"prompt.safetensors", "trial.json"}


class Killed(BaseException):
    """Stands for the end of the process."""


@contextlib.contextmanager
def before_writes(act):
    """Call a function with the number of each write to the disk, before it: of a checkpoint, a record or a result."""
    numbers = itertools.count(1)

    def counted(write):
        def wrapper(*arguments, **keywords):
            act(next(numbers))
            return write(*arguments, **keywords)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for place_of in ("experiments.prompt_tuner", "experiments.results", "training.checkpoint"):
            name = f"softprompt_tf.{place_of}.write_atomically"
            patch.setattr(name, counted(_attribute(name)))
        yield


@pytest.fixture(scope="module")
def two_methods(place):
    return plan_of(place, {"methods": {"tasks": [place.mood], "arms": ["prompt_tuning", "model_tuning"], "seeds": [1]}})


@pytest.fixture(scope="module")
def at_each_write(two_methods, shared_tuners, tmp_path_factory):
    """A directory of copies 1, 2, ... of a sweep's directory: what a process leaves that is killed at such a write."""
    root = tmp_path_factory.mktemp("written")
    with before_writes(lambda number: shutil.copytree(root / "sweep", root / str(number))):
        run(two_methods, root / "sweep")
    return root


def assert_goes_on_as_one_left_alone(plan, output, finished):
    made_before = len(result_store(output).results())

    outcome, _ = run(plan, output)

    assert outcome.made == 2 - made_before
    whole = [each for each in figures(finished) if each.arm in ("prompt_tuning", "model_tuning")]
    assert figures(output) == [each for each in whole if each.task == "mood"]


@pytest.mark.parametrize("kill_at", [5])
def test_a_killed_sweep_goes_on_and_ends_as_one_that_was_not(two_methods, finished, new_tuners, tmp_path, kill_at):
    def kill(number):
        if number == kill_at:
            raise Killed

    with before_writes(kill), pytest.raises(Killed):
        run(two_methods, tmp_path)

    assert_goes_on_as_one_left_alone(two_methods, tmp_path, finished)


EVERY_WRITE = [pytest.param(number, marks=() if number in (7, 9) else pytest.mark.slow) for number in range(1, 11)]


@pytest.mark.parametrize("number", EVERY_WRITE)
def test_a_sweep_goes_on_from_each_of_its_writes(two_methods, at_each_write, finished, new_tuners, number):
    assert_goes_on_as_one_left_alone(two_methods, at_each_write / str(number), finished)


def _attribute(name):
    import importlib

    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_a_run_that_fails_is_told_and_the_others_are_made(place, tmp_path):
    rates = {"prompt_length": {"tasks": [place.mood], "vary": {"training.learning_rate": [0.1, 1e39]}, "seeds": [1]}}

    outcome, lines = run(plan_of(place, rates), tmp_path)

    assert outcome.made == 1
    ((what, why),) = outcome.failed.items()
    assert "x 1e+39" in what
    assert "must be finite" in why
    assert any("FAILED" in line for line in lines)
    assert [result.x for result in result_store(tmp_path).results()] == [0.1]


def test_no_run_is_begun_when_the_time_is_over(methods, tmp_path):
    outcome, _ = run(methods, tmp_path, minutes=0)

    assert (outcome.made, outcome.not_reached) == (0, 12)
    assert plan_lines(methods, tmp_path)[-1] == "11 runs, 12 results, 0 of them finished."


def test_an_ensembles_results_are_a_vote_and_the_best_member(place, tmp_path):
    ensemble = {"ensembling": {"tasks": [place.mood], "ensemble": True, "seeds": [1, 2, 3]}}
    plan = plan_of(place, ensemble)
    outcome, _ = run(plan, tmp_path)

    results = {result.arm: result for result in result_store(tmp_path).results() if result.arm != "prompt_tuning"}
    members = [result.metrics for result in result_store(tmp_path).results() if result.arm == "prompt_tuning"]
    paths = [tmp_path / "trials" / trial.name / "prompt.safetensors" for trial in plan.votes[0].trials]
    task = load_task(place.mood)
    rows = task.examples("validation")
    voted = PromptEnsemble(load_t5(place.backbone), paths).classify([row.inputs for row in rows])

    assert outcome.made == 5
    assert results["best_of_3"].metrics == max(members, key=lambda each: sum(each.values()))
    right = [answer.label == row.target for answer, row in zip(voted, rows, strict=True)]
    assert results["ensemble_of_3"].metrics["accuracy"] == pytest.approx(sum(right) / len(right))
    assert run(plan, tmp_path)[0].made == 0


def test_a_vote_waits_for_all_its_members(place, tmp_path, monkeypatch):
    plan = plan_of(place, {"ensembling": {"tasks": [place.mood], "ensemble": True, "seeds": [1, 2]}})
    one = dataclasses.replace(plan, scorings=plan.scorings[:1])

    outcome, _ = run(one, tmp_path)

    assert (outcome.made, outcome.not_reached) == (1, 2)


def test_a_prompt_is_scored_on_another_task_with_its_limits(place, tmp_path):
    shift = {"domain_shift": {"tasks": [place.mood], "evaluate_on": {place.mood: [place.echo]}, "seeds": [1]}}
    plan = plan_of(place, shift)
    run(plan, tmp_path)

    results = {result.eval_task: result for result in result_store(tmp_path).results()}

    assert set(results["mood"].metrics) == {"accuracy", "macro_f1"}
    assert set(results["echo"].metrics) == {"exact_match"}
    assert results["echo"].task == "mood"


def test_a_prompt_is_scored_on_other_rows_of_its_own_task(place, tmp_path):
    """Of the same name, whose result must not be that of the rows that it was chosen by."""
    write_rows(tmp_path / "one.jsonl", mood_rows()[:1])
    values = {**yaml.safe_load(Path(place.mood).read_text(encoding="utf-8")), "test": "one.jsonl"}
    other = str(
        write_yaml(tmp_path / "other.yaml", {k: v for k, v in values.items() if k not in ("train", "validation")})
    )
    plan = plan_of(place, {"rows": {"tasks": [place.mood], "evaluate_on": {place.mood: [other]}, "seeds": [1]}})

    outcome, lines = run(plan, tmp_path / "out")

    own, asked = (result_store(tmp_path / "out").read(scoring.config) for scoring in plan.scorings)
    (path,) = (tmp_path / "out").glob("trials/*/prompt.safetensors")
    task = load_task(other)
    model = PromptedT5(load_t5(place.backbone), load_prompt(path))
    assert outcome.made == 2
    assert asked.metrics == evaluate_examples(model, task, task.examples("test")).metrics != own.metrics
    assert lines[-1].startswith("    rows, prompt_tuning, mood on other rows (test), seed 1: ")


def test_rows_of_another_number_are_another_run(place, tmp_path):
    experiment = {"methods": {"tasks": [place.mood], "seeds": [1]}}
    few = plan_of(place, experiment, rows={"train": 8, "validation": 4})

    run(plan_of(place, experiment), tmp_path)
    outcome, _ = run(few, tmp_path)

    assert outcome.made == 1
    assert len(result_store(tmp_path).results()) == 2


def test_micro_batches_change_no_trial_and_no_prompt(place, tmp_path):
    experiment = {"methods": {"tasks": [place.mood], "seeds": [1, 2]}}
    for name, rows in (("whole", None), ("parts", 3)):
        run(plan_of(place, experiment, training={**TRAINING, "micro_batch_size": rows}), tmp_path / name)

    whole, parts = (
        {path.parent.name: load_prompt(path).prompt for path in (tmp_path / name).rglob("prompt.safetensors")}
        for name in ("whole", "parts")
    )

    assert len(whole) == 2
    assert whole.keys() == parts.keys()
    for name, prompt in whole.items():
        np.testing.assert_allclose(parts[name], prompt, rtol=0, atol=1e-5)


def test_a_checkpoint_of_other_data_is_not_gone_on_with(place, tmp_path):
    """The trial's name follows its config, so that a change of the task makes another trial."""
    write_rows(tmp_path / "mood_train.jsonl", mood_rows()[:12])
    write_rows(tmp_path / "mood_dev.jsonl", mood_rows()[12:])
    changed = {
        "name": "mood",
        "inputs": "book: {text}",
        "labels": {"negative": "negative", "positive": "positive"},
        "metrics": ["accuracy"],
        "train": "mood_train.jsonl",
        "validation": "mood_dev.jsonl",
    }
    other = str(write_yaml(tmp_path / "mood.yaml", changed))

    plans = [plan_of(place, {"methods": {"tasks": [task], "seeds": [1]}}) for task in (place.mood, other)]

    assert not set(plans[0].trials()) & set(plans[1].trials())


def test_a_damaged_record_is_named(methods, finished, tmp_path):
    trial = methods.scorings[0].trial
    directory = tmp_path / "trials" / trial.name
    directory.mkdir(parents=True)
    (directory / "trial.json").write_text(json.dumps({"metrics": {}}), encoding="utf-8")
    one = dataclasses.replace(methods, scorings=methods.scorings[:1])

    outcome, _ = run(one, tmp_path)

    assert outcome.made == 0
    assert "must be a whole record of a trial" in next(iter(outcome.failed.values()))


def test_a_result_that_cannot_be_written_ends_the_sweep(methods, tmp_path):
    (tmp_path / "results").write_text("a file in the way", encoding="utf-8")
    one = dataclasses.replace(methods, scorings=[each for each in methods.scorings if each.arm == "random_prompt"])

    with pytest.raises(TrainingError):
        sweep.run_sweep(one, tmp_path, tell=lambda _: None)


# === Data that change ===


def test_a_sweep_of_a_data_file_that_changed_is_refused_and_what_is_there_stays(place, tmp_path):
    (tmp_path / "data").mkdir()
    rows = mood_rows()
    write_rows(tmp_path / "data" / "rows.jsonl", rows)
    values = {"name": "mine", "inputs": "{text}", "labels": {"negative": "bad", "positive": "good"}}
    sources = {"train": "data/rows.jsonl[:16]", "validation": "data/rows.jsonl[16:]"}
    task = str(write_yaml(tmp_path / "mine.yaml", {**values, **sources}))
    plan = plan_of(place, {"one": {"tasks": [task], "arms": ["random_prompt"], "seeds": [1]}})
    run(plan, tmp_path / "out")
    before = figures(tmp_path / "out")
    write_rows(tmp_path / "data" / "rows.jsonl", [{**row, "label": "positive"} for row in rows])

    with pytest.raises(ConfigError, match="data must stay the same. Received: data/rows.jsonl with digest"):
        run(plan, tmp_path / "out")

    assert figures(tmp_path / "out") == before
    assert json.loads((tmp_path / "out" / "data.json").read_text()).keys() == {"data/rows.jsonl"}


def test_files_of_one_name_in_folders_of_one_name_are_told_apart(place, tmp_path):
    tasks = []
    for name in ("film", "book"):
        (tmp_path / name / "data").mkdir(parents=True)
        write_rows(tmp_path / name / "data" / "rows.jsonl", mood_rows())
        values = {"name": name, "inputs": "{text}", "labels": {"negative": "bad", "positive": "good"}}
        sources = dict.fromkeys(("train", "validation"), "data/rows.jsonl")
        tasks.append(load_task_config(write_yaml(tmp_path / name / "task.yaml", values | sources)))
    check_data_files(tmp_path / "data.json", tasks)
    write_rows(tmp_path / "film" / "data" / "rows.jsonl", mood_rows()[1:])

    with pytest.raises(ConfigError, match=r"data must stay the same. Received: film/data/rows\.jsonl with digest"):
        check_data_files(tmp_path / "data.json", tasks)


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": {"init": "file:FILE"}},
        {"prompt": {"method": "attempt", "sources": ["FILE"]}},
        {"prompt": {"method": "mad_x", "language": "FILE"}},
        {"training": {"distill_from": "FILE"}},
        {"training": {"distill_from": {"mood": "FILE"}}},
    ],
    ids=["first values", "source", "language", "teacher", "teacher of a task"],
)
def test_prompts_that_runs_begin_with_must_stay_the_same_too(tmp_path, settings):
    (tmp_path / "old").mkdir()
    file, path = tmp_path / "old" / "film.safetensors", tmp_path / "data.json"
    file.write_bytes(b"one prompt")
    runs = [RunSettings.model_validate(json.loads(json.dumps(settings).replace("FILE", str(file))))]
    check_data_files(path, [], runs)
    check_data_files(path, [], runs)
    file.write_bytes(b"another prompt")

    with pytest.raises(ConfigError, match=r"data must stay the same. Received: old/film\.safetensors with digest"):
        check_data_files(path, [], runs)


def test_a_sweep_of_a_prompt_to_start_from_that_changed_is_refused(place, tmp_path):
    np.save(tmp_path / "start.npy", np.zeros((3, 16), np.float32))
    start = {"tasks": [place.mood], "seeds": [1], "prompt": {"init": f"file:{tmp_path / 'start.npy'}"}}
    run(plan_of(place, {"one": start}), tmp_path / "out")
    np.save(tmp_path / "start.npy", np.ones((3, 16), np.float32))

    with pytest.raises(ConfigError, match=r"data must stay the same. Received: .*start\.npy with digest"):
        run(plan_of(place, {"one": {**start, "seeds": [1, 2]}}), tmp_path / "out")


def test_a_sweeps_directory_in_use_is_refused(methods, tmp_path):
    with locked(tmp_path, error_type=ConfigError), pytest.raises(ConfigError, match="one process at a time"):
        run(methods, tmp_path)
