"""A run on the tiny T5 leaves the files that it promises, goes on where it was killed, and refuses another run."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from sentinel_t5 import make_sentinel_t5
from tiny_run import run_values, write_preset, write_tasks, write_yaml
from tiny_t5 import make_tiny_t5

from softprompt_tf import PromptedT5, load_prompt, load_t5
from softprompt_tf.config import RunConfig, TrainingConfig, load_config
from softprompt_tf.errors import ConfigError, DataError, TrainingError
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.runs import configured, run
from softprompt_tf.runs.run import train_run
from softprompt_tf.runs.run_identity import FREE_SETTINGS, config_digest
from softprompt_tf.runs.summary import summary_lines

pytestmark = pytest.mark.thorough


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the inputs of all runs of these tests lie."""

    root: Path
    backbone: Path
    tasks: dict[str, Path]

    def config(
        self, output_dir: Path, tasks: tuple[str, ...] = ("mood",), overrides: tuple[str, ...] = ()
    ) -> RunConfig:
        values = run_values(self.backbone, [self.tasks[name] for name in tasks], output_dir)
        return load_config(write_yaml(self.root / "run.yaml", values), overrides)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("inputs")
    return Place(root, write_preset(root / "tiny"), write_tasks(root))


@pytest.fixture(scope="module", autouse=True)
def t5(place):
    """The backbone of all runs, loaded once, as it is the same before and after each of them."""
    t5 = load_t5(place.backbone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_t5", lambda source, *, dtype, devices: t5)
        yield t5


@pytest.fixture(scope="module")
def whole(place, t5, tmp_path_factory):
    """One uninterrupted run of one task: its result, and the backbone's weights before and after."""
    before = [np.array(variable) for variable in t5.backbone.variables]
    result = train_run(place.config(tmp_path_factory.mktemp("whole") / "out"))
    return result, before, [np.array(variable) for variable in t5.backbone.variables]


@pytest.fixture(scope="module")
def result(whole):
    return whole[0]


@pytest.fixture(scope="module")
def of_two_tasks(place, tmp_path_factory):
    """A run of two tasks, of which `mood` cuts its texts, and `echo` does not."""
    values = yaml.safe_load(place.tasks["mood"].read_text()) | {"max_input_tokens": 12}
    short = {"short": write_yaml(place.root / "short_mood.yaml", values), "echo": place.tasks["echo"]}
    both = dataclasses.replace(place, tasks=short)
    return train_run(both.config(tmp_path_factory.mktemp("both") / "out", ("short", "echo")))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# === What a run leaves behind ===


def test_a_run_directory_holds_what_is_promised(result):
    names = {entry.name for entry in result.output_dir.iterdir()}

    assert names == {
        "prompt.safetensors",
        "config.yaml",
        "run.json",
        "metrics.json",
        "predictions.jsonl",
        "logs",
        "checkpoints",
    }
    assert list((result.output_dir / "logs").rglob("*tfevents*"))
    assert list((result.output_dir / "checkpoints").iterdir())


def test_the_prompt_file_knows_its_task(result, t5):
    prompt = load_prompt(result.prompts["mood"])

    assert result.prompts == {"mood": result.output_dir / "prompt.safetensors"}
    assert (prompt.task_id, prompt.template, prompt.labels) == ("mood", "film: {text}", ("negative", "positive"))
    assert (prompt.backbone, prompt.prompt.shape) == ("tiny", (4, 16))
    assert prompt.backbone_fingerprint == t5.fingerprint
    assert prompt.max_input_tokens == 30
    assert prompt.max_target_tokens == 6  # "negative" and "positive" have 5 pieces each
    assert prompt.metrics == result.scores["mood"].metrics
    assert prompt.training_config["training"]["steps"] == 6


def test_the_metrics_are_those_of_the_kept_prompt(result, place, t5):
    metrics = json.loads((result.output_dir / "metrics.json").read_text())
    model = PromptedT5(t5, load_prompt(result.prompts["mood"]))
    rows = lines_of(place.root / "mood_dev.jsonl")

    answers = [choice.label for choice in model.classify([f"film: {row['text']}" for row in rows])]

    right = np.mean([answer == row["label"] for answer, row in zip(answers, rows, strict=True)])
    assert metrics["validation"]["mood"]["accuracy"] == pytest.approx(right)
    assert metrics["score"] == pytest.approx(np.mean(list(metrics["validation"]["mood"].values())))
    assert [evaluation["step"] for evaluation in metrics["history"]] == [3, 6]
    assert metrics["score"] == max(evaluation["score"] for evaluation in metrics["history"])
    assert metrics["best_step"] in (3, 6)
    assert (metrics["steps_done"], metrics["stopped_early"]) == (6, False)
    assert metrics["seconds_per_step"] > 0
    predictions = lines_of(result.output_dir / "predictions.jsonl")
    assert [prediction["output"] for prediction in predictions] == answers
    assert [prediction["target"] for prediction in predictions] == [row["label"] for row in rows]
    assert predictions[0]["location"].endswith("mood_dev.jsonl:1")


@pytest.mark.parametrize(("steps", "asked"), [(2, 1), (6, 2)], ids=["one evaluation", "two evaluations"])
def test_dev_rows_are_asked_once_for_each_evaluation_and_not_again_at_the_end(
    place, tmp_path, monkeypatch, steps, asked
):
    from softprompt_tf.runs import run

    calls, evaluate = [], run.evaluate_examples
    monkeypatch.setattr(run, "evaluate_examples", lambda *args, **more: calls.append(args) or evaluate(*args, **more))
    values = run_values(place.backbone, [place.tasks["mood"]], tmp_path / "out", steps=steps)

    result = train_run(load_config(write_yaml(tmp_path / "run.yaml", values)))

    assert len(calls) == asked == len(result.training.history)
    assert result.scores["mood"].metrics == result.training.chosen.metrics


def test_test_rows_and_the_majority_baseline_are_scored_at_the_end(place, t5, tmp_path):
    task = place.root / "tested.yaml"
    task.write_text(place.tasks["mood"].read_text("utf-8") + "test: mood_train.jsonl\n", "utf-8")
    values = run_values(place.backbone, [task], tmp_path / "out", steps=2)

    result = train_run(load_config(write_yaml(tmp_path / "run.yaml", values)))

    metrics = json.loads((result.output_dir / "metrics.json").read_text())
    rows = lines_of(place.root / "mood_train.jsonl")
    choices = PromptedT5(t5, load_prompt(result.prompts["mood"])).classify([f"film: {row['text']}" for row in rows])
    right = np.mean([choice.label == row["label"] for choice, row in zip(choices, rows, strict=True)])
    assert metrics["test"]["mood"]["accuracy"] == pytest.approx(right)
    # "positive" is the commonest label of the training rows, 9 of 16, and has 3 of the 8 dev rows.
    assert metrics["majority"]["mood"]["validation"]["accuracy"] == pytest.approx(3 / 8)
    assert metrics["majority"]["mood"]["test"]["accuracy"] == pytest.approx(9 / 16)


def test_the_written_config_is_that_of_the_run(result, place):
    assert load_config(result.output_dir / "config.yaml") == place.config(result.output_dir)


def test_the_backbone_is_bit_identical_after_training(whole):
    _, before, after = whole

    assert len(before) > 20
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_several_tasks_have_a_prompt_each(of_two_tasks):
    output_dir = of_two_tasks.output_dir

    assert of_two_tasks.prompts == {name: output_dir / f"{name}.safetensors" for name in ("mood", "echo")}
    assert not (output_dir / "prompt.safetensors").exists()
    mood, echo = (load_prompt(path) for path in of_two_tasks.prompts.values())
    assert (mood.task_id, mood.labels, mood.max_target_tokens) == ("mood", ("negative", "positive"), 6)
    assert (echo.task_id, echo.labels, echo.max_target_tokens) == ("echo", (), 4)  # its own, less than mood's
    assert echo.template == "{first} and {second}"
    assert not np.array_equal(mood.prompt, echo.prompt)


def test_several_tasks_are_scored_each_and_together(of_two_tasks, place):
    metrics = json.loads((of_two_tasks.output_dir / "metrics.json").read_text())

    assert set(metrics["validation"]) == {"mood", "echo"}
    assert set(metrics["history"][0]["metrics"]) == {"mood/accuracy", "mood/macro_f1", "echo/exact_match"}
    means = [np.mean(list(values.values())) for values in metrics["validation"].values()]
    assert metrics["score"] == pytest.approx(np.mean(means))
    predictions = lines_of(of_two_tasks.output_dir / "predictions.jsonl")
    assert [Path(prediction["location"]).name.split(":")[0] for prediction in predictions] == (
        ["mood_dev.jsonl"] * 8 + ["echo_dev.jsonl"] * 8
    )


def test_a_prompt_of_several_answers_alone_as_it_was_scored(of_two_tasks, place, t5):
    mood, echo = (PromptedT5(t5, load_prompt(of_two_tasks.prompts[name])) for name in ("mood", "echo"))

    answers = mood.classify([f"film: {row['text']}" for row in lines_of(place.root / "mood_dev.jsonl")])
    texts = echo.generate([f"{row['first']} and {row['second']}" for row in lines_of(place.root / "echo_dev.jsonl")])

    predictions = lines_of(of_two_tasks.output_dir / "predictions.jsonl")
    logs = [list(each["label_log_probabilities"].values()) for each in predictions[:8]]
    np.testing.assert_allclose(logs, [answer.log_probabilities for answer in answers], atol=1e-5)
    assert [prediction["output"] for prediction in predictions[8:]] == texts


def test_a_task_in_the_format_of_sentinels_is_trained_and_kept_in_it(place, tmp_path, monkeypatch):
    t5 = make_sentinel_t5()
    monkeypatch.setattr(run, "load_t5", lambda source, *, dtype, devices: t5)

    result = train_run(place.config(tmp_path / "out", overrides=("task.target_format=sentinel", "training.steps=3")))

    prompt = load_prompt(result.prompts["mood"])
    assert (prompt.target_format, prompt.max_target_tokens) == ("sentinel", 6)  # 5 pieces and the end, as in "text"
    assert load_config(result.output_dir / "config.yaml").tasks[0].target_format == "sentinel"
    texts = [f"film: {row['text']}" for row in lines_of(place.root / "mood_dev.jsonl")]
    predictions = lines_of(result.output_dir / "predictions.jsonl")
    assert [choice.label for choice in PromptedT5(t5, prompt).classify(texts)] == [row["output"] for row in predictions]


def test_batches_of_a_run_open_with_the_sentinel(place, tmp_path):
    t5 = make_sentinel_t5()
    config = place.config(tmp_path / "out", overrides=("task.target_format=sentinel",))
    data = [run.read_task_data(run.load_task(task)) for task in config.tasks]
    model = run.build_model(t5, config, [each.task for each in data])

    ((_, targets),) = run.training_batches(t5, model, data, config).dataset(first_step=0).take(1)

    words = [[219, *ids, 1] for ids in t5.tokenize(["negative", "positive"])]
    assert {tuple(row) for row in targets.numpy().tolist()} <= {tuple(row) for row in words}


@pytest.mark.parametrize("length_buckets", [1, 3])
def test_batches_of_a_run_are_dealt_out_as_its_config_says(place, t5, tmp_path, monkeypatch, length_buckets):
    config = place.config(tmp_path / "out", overrides=(f"training.length_buckets={length_buckets}",))
    data = [run.read_task_data(run.load_task(task)) for task in config.tasks]
    model = run.build_model(t5, config, [each.task for each in data])
    made = []
    monkeypatch.setattr(configured, "BatchStream", lambda examples, **settings: made.append(settings))

    run.training_batches(t5, model, data, config)

    assert [settings["length_buckets"] for settings in made] == [length_buckets]


def test_batches_of_a_run_are_as_wide_as_its_config_says(place, t5, tmp_path):
    config = place.config(tmp_path / "out", overrides=("training.pad_to_multiple_of=7",))
    data = [run.read_task_data(run.load_task(task)) for task in config.tasks]
    model = run.build_model(t5, config, [each.task for each in data])

    batches = run.training_batches(t5, model, data, config)

    widths = [x["encoder_token_ids"].shape[1] for x, _ in (batches.batch(step) for step in range(4))]
    assert [width % 7 for width in widths] == [0] * 4


def test_gradient_checkpointing_is_switched_by_the_config_and_changes_nothing_of_the_run(place, t5, tmp_path):
    configs = [
        place.config(tmp_path / "out", overrides=overrides)
        for overrides in ((), ("training.gradient_checkpointing=true",))
    ]
    models = [run.build_model(t5, config, [run.load_task(task) for task in config.tasks]) for config in configs]

    assert [model.gradient_checkpointing for model in models] == [False, True]
    assert config_digest(configs[0]) == config_digest(configs[1])  # so that a run goes on with less memory


def test_micro_batches_are_switched_by_the_config_and_change_nothing_of_the_run(place, t5, tmp_path):
    configs = [
        place.config(tmp_path / "out", overrides=overrides) for overrides in ((), ("training.micro_batch_size=3",))
    ]
    models = [run.build_model(t5, config, [run.load_task(task) for task in config.tasks]) for config in configs]

    assert [model.micro_batch_size for model in models] == [None, 3]
    assert config_digest(configs[0]) == config_digest(configs[1])  # so that a run goes on with less memory


# === Going on ===


def test_defaults_of_later_settings_leave_a_runs_digest_as_it_was(place, tmp_path):
    one, both = place.config(tmp_path / "out"), place.config(tmp_path / "out", ("mood", "echo"))
    sentinel = place.config(tmp_path / "out", overrides=("task.target_format=sentinel",))
    taskless = place.config(tmp_path / "out", overrides=("task.taskless=true",))
    unsorted = place.config(tmp_path / "out", overrides=("training.length_buckets=1",))
    padded = place.config(tmp_path / "out", overrides=("training.pad_to_multiple_of=8",))

    for config in (one, both):
        values = config.model_dump(mode="json", exclude={"output_dir": True, "training": set(FREE_SETTINGS)})
        for task in [values["task"]] if config is one else values["task"]:
            assert task.pop("target_format") == "text"
            assert task.pop("taskless") is False
            assert task.pop("references") is None
            for key in ("preprocess", "preprocess_train", "postprocess", "group_by"):
                assert task.pop(key) == []
        keys = ("schedule", "cycles", "warmup_steps")
        assert [values["training"].pop(key) for key in keys] == ["constant", 2, 0]
        assert (values["training"].pop("length_buckets"), values["training"].pop("pad_to_multiple_of")) == (16, 1)
        assert (values["training"].pop("cached_states"), values["training"].pop("prompt_dropout")) == ("auto", 0.0)
        assert [values["training"].pop(term) for term in ("near_text", "distill_from")] == [None, None]
        weights = ("near_text_weight", "distill_weight", "distill_hidden_weight")
        assert [values["training"].pop(weight) for weight in weights] == [0.1, 1.0, 0.0]
        assert (values["prompt"].pop("position"), values["prompt"].pop("sees")) == (None, "all")
        assert (values["training"].pop("search_candidates"), values["training"].pop("search_window")) == (10, 10)
        expected = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
        assert config_digest(config) == expected
    assert len({config_digest(each) for each in (one, sentinel, taskless, unsorted, padded)}) == 5


def test_a_finished_run_does_nothing_more(result, place, tmp_path, monkeypatch):
    shutil.copytree(result.output_dir, tmp_path / "out")
    monkeypatch.setattr(PromptedT5, "fit", lambda *arguments, **keywords: pytest.fail("it trains again"))

    again = train_run(place.config(tmp_path / "out"))

    assert again.training.steps_done == 6
    np.testing.assert_array_equal(load_prompt(again.prompts["mood"]).prompt, load_prompt(result.prompts["mood"]).prompt)
    assert again.scores["mood"].metrics == result.scores["mood"].metrics


def test_a_finished_run_says_that_nothing_was_trained(result, place, tmp_path, capsys):
    shutil.copytree(result.output_dir, tmp_path / "out")

    again = train_run(place.config(tmp_path / "out"))

    assert "This run was finished before, at step 6: nothing was trained." in capsys.readouterr().err
    assert (result.training.steps_taken, again.training.steps_taken) == (6, 0)


@pytest.fixture(scope="module")
def run_on_copied_rows(place, tmp_path_factory):
    """A function: a number of steps to the directory of a run of so many; `mood_*.jsonl` in it are its rows."""

    @functools.cache
    def run_of(steps):
        directory = tmp_path_factory.mktemp("copied")
        for name in ("train", "dev"):
            shutil.copy(place.root / f"mood_{name}.jsonl", directory / f"mood_{name}.jsonl")
        train_run(place.config(directory / "out", overrides=(*rows_in(directory), f"training.steps={steps}")))
        return directory

    return run_of


def rows_in(directory):
    return (f"task.train={directory}/mood_train.jsonl", f"task.validation={directory}/mood_dev.jsonl")


@contextlib.contextmanager
def kept(path):
    """Give a file its content and time back afterwards."""
    content, status = path.read_bytes(), path.stat()
    try:
        yield
    finally:
        path.write_bytes(content)
        os.utime(path, (status.st_atime, status.st_mtime))


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("steps", [6, 4], ids=["finished", "half way"])
def test_data_that_changed_are_refused_by_name_and_the_run_stays_as_it_was(
    place, run_on_copied_rows, tmp_path, split, steps
):
    directory = run_on_copied_rows(steps)
    shutil.copytree(directory / "out", tmp_path / "out")
    path = directory / ("mood_train.jsonl" if split == "train" else "mood_dev.jsonl")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    status = path.stat()
    with kept(path):
        path.write_text(path.read_text().replace("positive", "negative", 1))  # of the same size
        os.utime(path, (status.st_atime, status.st_mtime))

        with pytest.raises(
            TrainingError, match=rf"Received: mood/{split} with \d+ rows in {path.name} \(\d+ bytes, of 20.*began with"
        ):
            train_run(place.config(tmp_path / "out", overrides=rows_in(directory)))

    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()} == before


def test_a_file_of_another_time_and_the_same_rows_is_the_same_data(place, run_on_copied_rows, tmp_path):
    directory = run_on_copied_rows(4)
    shutil.copytree(directory / "out", tmp_path / "out")
    path = directory / "mood_train.jsonl"
    with kept(path):
        path.write_text(path.read_text() + "\n")

        again = train_run(place.config(tmp_path / "out", overrides=rows_in(directory)))

    assert (again.training.steps_taken, again.training.steps_done) == (2, 6)


def test_a_run_from_before_there_were_digests_goes_on(result, place, tmp_path):
    shutil.copytree(result.output_dir, tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()

    train_run(place.config(tmp_path / "out"))

    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record == json.loads((result.output_dir / "run.json").read_text())


def test_a_backbone_of_other_weights_is_refused(result, place, tmp_path, monkeypatch):
    shutil.copytree(result.output_dir, tmp_path / "out")
    monkeypatch.setattr(run, "load_t5", lambda source, *, dtype, devices: make_tiny_t5(seed=5))

    with pytest.raises(TrainingError, match="goes on with the backbone that it began with"):
        train_run(place.config(tmp_path / "out"))


def test_other_first_values_are_refused(place, tmp_path):
    np.save(tmp_path / "first.npy", np.zeros((4, 16), np.float32))
    overrides = (f"prompt.init=file:{tmp_path}/first.npy", "training.steps=3")
    train_run(place.config(tmp_path / "out", overrides=overrides))
    np.save(tmp_path / "first.npy", np.ones((4, 16), np.float32))

    with pytest.raises(TrainingError, match="goes on with the first values that it began with"):
        train_run(place.config(tmp_path / "out", overrides=overrides))


@pytest.mark.parametrize(("tasks", "name"), [(("mood",), "prompt"), (("mood", "echo"), "echo")], ids=["one", "several"])
def test_a_prompt_without_the_checkpoints_of_its_run_is_not_written_over(place, tmp_path, tasks, name):
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(b"of a finished run")

    with pytest.raises(TrainingError, match=rf"must not write over other work\. Received: {file}, which exists"):
        train_run(place.config(tmp_path, tasks))

    assert file.read_bytes() == b"of a finished run"
    assert [path.name for path in tmp_path.glob("[!.]*")] == [file.name]


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "metrics.json", "predictions.jsonl"])
def test_a_new_run_writes_over_no_files_of_other_work(place, tmp_path, name):
    (tmp_path / name).write_text('{"steps": 1}  # my notes')

    with pytest.raises(TrainingError, match=rf"must not write over other work\. Received: .*{name}, which exists"):
        train_run(place.config(tmp_path))

    assert (tmp_path / name).read_text() == '{"steps": 1}  # my notes'
    assert [path.name for path in tmp_path.glob("[!.]*")] == [name]


def test_what_a_start_without_a_checkpoint_left_is_no_other_work(place, tmp_path):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    (tmp_path / "config.yaml").write_text(run.dump_config(place.config(tmp_path)))  # as a copy of another run's
    for overrides in ((), ("training.learning_rate=0.1",)):
        config = place.config(tmp_path, overrides=overrides)
        with pytest.raises(Stopped):
            train_run(config, on_start=stop)

        assert load_config(tmp_path / "config.yaml") == config


def test_a_run_directory_in_use_is_refused(result, place, tmp_path):
    with (
        locked(tmp_path / "out", error_type=TrainingError),
        pytest.raises(TrainingError, match="one process at a time"),
    ):
        train_run(place.config(tmp_path / "out"))


def test_a_killed_process_is_gone_on_with_to_the_same_bits(result, place, tmp_path, forked):
    place.config(tmp_path / "out")  # writes run.yaml
    code = (
        "import os, signal, sys; from softprompt_tf.runs import run; from softprompt_tf.config import load_config\n"
        "scored, evaluate = [], run._score_all\n"
        "def die_at_the_second(model, data):\n"
        "    scored.append(1)\n"
        "    return evaluate(model, data) if len(scored) == 1 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "run._score_all = die_at_the_second\n"
        "run.train_run(load_config(sys.argv[1]))"
    )

    killed = forked.run(code, place.root / "run.yaml")  # at step 6; the newest checkpoint is of step 4
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (tmp_path / "out" / "prompt.safetensors").exists()
    resumed = train_run(place.config(tmp_path / "out"))

    np.testing.assert_array_equal(
        load_prompt(resumed.prompts["mood"]).prompt, load_prompt(result.prompts["mood"]).prompt
    )
    assert resumed.training.history == result.training.history
    assert resumed.scores == result.scores


def test_more_steps_go_on_with_the_same_run(result, place, tmp_path):
    shutil.copytree(result.output_dir, tmp_path / "out")

    longer = train_run(place.config(tmp_path / "out", overrides=("training.steps=8",)))

    assert longer.training.steps_done == 8
    assert [evaluation.step for evaluation in longer.training.history] == [3, 6, 8]


def test_another_length_is_another_run_where_the_schedule_ends_with_it(place, tmp_path):
    cosine = ("training.schedule=cosine",)
    train_run(place.config(tmp_path / "out", overrides=cosine))

    with pytest.raises(TrainingError, match=r"`training.steps` is 8, it was 6"):
        train_run(place.config(tmp_path / "out", overrides=(*cosine, "training.steps=8")))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.3, 0.3, 0.3, 0.3]),
        ({"warmup_steps": 4}, [0.0, 0.15, 0.3, 0.3]),
        ({"schedule": "cosine"}, [0.3, 0.288582, 0.15, 0.0]),  # 0.15 (1 + cos(pi t / 16)) at 2, 8, 16
        ({"schedule": "cosine", "warmup_steps": 4}, [0.0, 0.15, 0.225, 0.0]),  # 0.15 (1 + cos(pi (t - 4) / 12))
    ],
)
def test_rates_at_the_start_and_at_steps_2_8_and_16_by_hand(settings, expected):
    rate = configured._learning_rate(TrainingConfig(steps=16, **settings))

    found = [float(rate(step)) if callable(rate) else rate for step in (0, 2, 8, 16)]

    assert found == pytest.approx(expected, abs=1e-6)


def test_another_config_is_refused_and_the_run_stays_as_it_was(result, place, tmp_path):
    shutil.copytree(result.output_dir, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    with pytest.raises(
        TrainingError, match=r"config it began with. Received: `training.learning_rate` is 0.1, it was 0.3 in"
    ):
        train_run(place.config(tmp_path / "out", overrides=("training.learning_rate=0.1",)))

    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


# === Mistakes ===


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_task_without_a_split_is_refused(place, tmp_path, split):
    values = yaml.safe_load(place.tasks["mood"].read_text())
    del values[split]
    task = write_yaml(place.root / "half.yaml", values)
    config = load_config(write_yaml(tmp_path / "run.yaml", run_values(place.backbone, [task], tmp_path / "out")))

    with pytest.raises(ConfigError, match=f"both train rows and dev rows. Received: task 'mood' without `{split}`"):
        train_run(config)

    assert not (tmp_path / "out").exists()


def test_two_tasks_of_one_name_are_refused(place, tmp_path):
    with pytest.raises(ConfigError, match="must have different names. Received: mood, mood."):
        train_run(place.config(tmp_path / "out", ("mood", "mood")))


def test_tasks_of_different_formats_are_refused(place, tmp_path):
    values = {**yaml.safe_load(place.tasks["echo"].read_text()), "target_format": "sentinel"}
    tasks = [place.tasks["mood"], write_yaml(place.root / "other.yaml", values)]
    config = load_config(write_yaml(place.root / "run.yaml", run_values(place.backbone, tasks, tmp_path / "out")))

    with pytest.raises(ConfigError, match="same `target_format`. Received: mood: text, echo: sentinel. Train them one"):
        train_run(config)


def test_an_unknown_method_is_refused_with_the_known_ones(place, tmp_path):
    with pytest.raises(
        ConfigError, match="`prompt.method` must be one of .*prompt_tuning.* Received: 'prompt_tunning'"
    ):
        train_run(place.config(tmp_path / "out", overrides=("prompt.method=prompt_tunning",)))


def test_missing_rows_are_told_before_the_backbone_is_loaded(place, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_t5", lambda *arguments, **keywords: pytest.fail("it loads the backbone"))

    with pytest.raises(DataError, match="No such file: .*mood_trian.jsonl"):
        train_run(place.config(tmp_path / "out", overrides=(f"task.train={place.root}/mood_trian.jsonl",)))


def test_an_output_that_is_a_file_is_refused(place, tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(TrainingError, match="cannot be made"):
        train_run(place.config(tmp_path / "out"))


def test_a_searched_prompt_is_told_in_words(place, t5, tmp_path):
    """Every row is a piece of the vocabulary, and the text is that of these pieces."""
    overrides = ("training.optimizer=autoprompt", "training.search_window=1", "training.steps=2")

    result = train_run(place.config(tmp_path / "out", overrides=overrides))

    rows = load_prompt(tmp_path / "out" / "prompt.safetensors").prompt
    distances = np.linalg.norm(rows[:, None] - t5.embedding_table[None], axis=-1)  # [P, V]
    assert distances.min(axis=1).tolist() == [0.0] * 4
    text = t5.detokenize([distances.argmin(axis=1).tolist()])[0]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert metrics["words"] == result.words == text
    assert f"in words: {text}" in summary_lines(result, backbone="tiny")
