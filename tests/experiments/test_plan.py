"""A plan: every run once, first seeds first, and what cannot be run here is refused or left out by name."""

import pytest
from tiny_run import mood_rows, write_rows, write_yaml

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.experiments.plan import make_plan
from softprompt_tf.experiments.settings import ARMS, read_sweep
from softprompt_tf.methods import METHODS

EVERY = list(ARMS)


def planned(place, experiments, **keywords):
    return make_plan(read_sweep(place.sweep(experiments)), **keywords)


def told(plan):
    return [(each.arm, each.x, each.task.name, each.trial.seed) for each in plan.scorings]


def test_every_first_seed_comes_before_the_second_ones(place):
    plan = planned(place, {"one": {"tasks": [place.mood]}, "two": {"tasks": [place.echo], "seeds": [5]}})

    assert told(plan) == [
        ("prompt_tuning", None, "mood", 1),
        ("prompt_tuning", None, "echo", 5),
        ("prompt_tuning", None, "mood", 2),
    ]


def test_a_run_is_called_by_the_method_that_it_trains(place):
    late = {"tasks": [place.mood], "prompt": {"method": "late_prompts"}, "seeds": [1]}
    plan = planned(place, {"late": late, "words": {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}})

    assert list(map(str, plan.scorings)) == ["late, late_prompts, mood, seed 1", "words, random_prompt, mood, seed 1"]


def test_a_random_prompt_is_planned_beside_every_method(place):
    arms = {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1], "vary": {"prompt.method": list(METHODS)}}

    trials = {each.x: each.trial for each in planned(place, {"methods": arms}).scorings}

    assert list(trials) == list(METHODS)
    assert trials["low_rank"].config["prompt"] == {"length": 3}  # as the sweep has it
    for name in ("lora", "ia3", "adapters", "mad_x"):
        assert trials[name].config["prompt"] == {"length": 20}  # prompt tuning's


def test_methods_that_no_seed_changes_run_once(place):
    plan = planned(place, {"methods": {"tasks": [place.mood], "arms": EVERY}})

    seeds = {arm: [each.trial.seed for each in plan.scorings if each.arm == arm] for arm in EVERY}
    assert seeds == {arm: [1, 2] for arm in EVERY} | {"prompt_design_zero_shot": [0]}


def test_a_model_of_several_tasks_is_one_run_with_a_score_for_each(place):
    plan = planned(
        place, {"methods": {"tasks": [place.mood, place.echo], "arms": ["multitask_model_tuning"], "seeds": [1]}}
    )

    assert [each.task.name for each in plan.scorings] == ["mood", "echo"]
    ((first, second),) = plan.trials().values()
    assert first.trial == second.trial
    assert [task.name for task in first.trial.tasks] == ["mood", "echo"]
    assert first.config != second.config


def test_two_experiments_share_a_run_that_is_the_same(place):
    lengths = {"tasks": [place.mood], "vary": {"prompt.length": [2, 3]}, "seeds": [1]}
    inits = {"tasks": [place.mood], "vary": {"prompt.init": ["sampled_vocabulary", "class_labels"]}, "seeds": [1]}

    plan = planned(place, {"prompt_length": lengths, "initialization": inits})

    assert len(plan.scorings) == 4
    shared = [scorings for scorings in plan.trials().values() if len(scorings) == 2]
    assert [{(each.experiment, each.x) for each in scorings} for scorings in shared] == [
        {("prompt_length", 3), ("initialization", "sampled_vocabulary")}
    ]
    assert len(plan.trials()) == 3


def test_other_tasks_are_scored_without_being_trained_on(place):
    shift = {"tasks": [place.mood], "evaluate_on": {place.mood: [place.echo]}, "arms": ["prompt_tuning"], "seeds": [1]}

    plan = planned(place, {"domain_shift": shift})

    assert [(each.task.name, each.eval_task.name) for each in plan.scorings] == [("mood", "mood"), ("mood", "echo")]
    assert len(plan.trials()) == 1


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        (
            (("one", "clean"), ("one", "noisy")),
            r"must have its own `name`. Received: 'mine' in .*clean.* and in .*noisy",
        ),
        (
            (("one", "clean"), ("two", "noisy")),
            r"must have files of other names or folders. Received: .*clean.* and .*noisy",
        ),
    ],
)
def test_two_tasks_that_would_be_taken_for_one_are_refused(place, tmp_path, experiments, message):
    """A cell of the report is one task's seeds, and a result is known by its files' names and folders alone."""
    tasks: dict[str, dict[str, list[str]]] = {}
    for experiment, directory in experiments:
        (tmp_path / directory / "data").mkdir(parents=True)
        write_rows(tmp_path / directory / "data" / "rows.jsonl", mood_rows())
        values = {"name": "mine", "inputs": "{text}", "labels": {"negative": "bad", "positive": "good"}}
        sources = dict.fromkeys(("train", "validation"), "data/rows.jsonl")
        file = str(write_yaml(tmp_path / directory / "task.yaml", values | sources))
        tasks.setdefault(experiment, {"tasks": []})["tasks"].append(file)

    with pytest.raises(ConfigError, match=message):
        planned(place, tasks)


def test_an_ensemble_is_a_vote_of_all_seeds(place):
    plan = planned(place, {"ensembling": {"tasks": [place.mood], "ensemble": True, "seeds": [1, 2, 3]}})

    (vote,) = plan.votes
    assert [trial.seed for trial in vote.trials] == [1, 2, 3]
    assert {trial.name for trial in vote.trials} == set(plan.trials())
    assert vote.arms == ("best_of_3", "ensemble_of_3")


def test_what_changes_no_result_changes_no_run(place):
    tasks = {"one": {"tasks": [place.mood], "arms": EVERY, "seeds": [1]}}
    often = {"one": tasks["one"] | {"training": {"checkpoint_every": 3}}}
    longer = {"one": tasks["one"] | {"training": {"steps": 9}}}

    names = {arm: name for name, (each, *_) in planned(place, tasks).trials().items() for arm in [each.arm]}
    same = {arm: name for name, (each, *_) in planned(place, often).trials().items() for arm in [each.arm]}
    others = {arm: name for name, (each, *_) in planned(place, longer).trials().items() for arm in [each.arm]}

    assert same == names
    (tuning,) = [each for each, *_ in planned(place, tasks).trials().values() if each.arm == "prompt_tuning"]
    later = {"length_buckets", "pad_to_multiple_of", "gradient_checkpointing", "cached_states", "states_directory"}
    assert not later & set(tuning.trial.config["training"])  # which earlier results do not name
    # Only the prompt is trained by these settings; the weights have settings of their own.
    assert {arm for arm in EVERY if others[arm] != names[arm]} == {"prompt_tuning"}


def test_a_missing_task_is_refused_or_left_out(place, tmp_path):
    echo = {"name": "gone", "inputs": "{first}", "targets": "{answer}", "metrics": ["exact_match"]}
    gone = str(write_yaml(tmp_path / "gone.yaml", echo | {"train": "no.jsonl", "validation": "no.jsonl"}))
    experiments = {"methods": {"tasks": [place.mood, gone], "seeds": [1]}, "empty": {"tasks": [gone]}}

    with pytest.raises(DataError, match=r"no\.jsonl"):
        planned(place, experiments)
    plan = planned(place, experiments, leave_out=True)

    assert [each.task.name for each in plan.scorings] == ["mood"]
    assert set(plan.left_out) == {f"methods, {gone}", f"empty, {gone}"}
    assert "no.jsonl" in plan.left_out[f"methods, {gone}"]
    assert set(plan.missing) == {"empty"}


def test_a_missing_backbone_is_refused_or_left_out(place, monkeypatch):
    monkeypatch.delenv("BACKBONES", raising=False)
    variants = {"a": {"backbone": "${BACKBONES}/a"}, "b": {"backbone": "/no/such/preset"}, "c": {}}
    experiments = {"objective": {"tasks": [place.mood], "variants": variants}}

    with pytest.raises(ConfigError, match="The environment variable `BACKBONES` must be set"):
        planned(place, experiments)
    plan = planned(place, experiments, leave_out=True)

    assert plan.scorings == []  # one that is left compares nothing
    assert set(plan.left_out) == {"objective, a", "objective, b"}
    assert "`BACKBONES` must be set" in plan.missing["objective"]
    assert "must be a name or a directory that is there. Received: /no/such/preset" in plan.missing["objective"]


def test_a_sweep_goes_on_with_two_values_that_are_left(place):
    variants = {"a": {"backbone": "/no/such/preset"}, "b": {}, "c": {"prompt.length": 2}}

    plan = planned(place, {"objective": {"tasks": [place.mood], "variants": variants, "seeds": [1]}}, leave_out=True)

    assert [each.x for each in plan.scorings] == ["b", "c"]
    assert set(plan.left_out) == {"objective, a"}
    assert plan.missing == {}
