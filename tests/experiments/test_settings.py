"""A sweep's YAML file: what each experiment says lies over what all share, and a mistake is told before the first run."""

from pathlib import Path

import pytest
from tiny_run import write_yaml

from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.experiments.settings import ARMS, read_sweep
from softprompt_tf.methods import METHODS
from softprompt_tf.report.experiments import EXPERIMENTS

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "experiments"
BENCHMARKS = CONFIGS.parents[1] / "benchmarks"


def read(directory, experiments, **shared):
    return read_sweep(write_yaml(directory / "sweep.yaml", {**shared, "experiments": experiments}))


def test_an_experiment_lies_over_what_all_share(tmp_path):
    experiments = read(
        tmp_path,
        {
            "plain": {"tasks": ["trec"]},
            "other": {"tasks": ["trec", "sst2"], "seeds": [7], "training": {"steps": 9}, "prompt": {"length": 2}},
        },
        seeds=[1, 2],
        training={"steps": 5, "batch_size": 3},
        prompt={"init": "class_labels"},
    )

    ((x, plain),), ((_, other),) = experiments["plain"].settings(), experiments["other"].settings()
    assert x is None
    assert (experiments["plain"].seeds, experiments["other"].seeds) == ((1, 2), (7,))
    assert experiments["other"].tasks == ("trec", "sst2")
    assert (plain.training.steps, plain.training.batch_size) == (5, 3)
    assert (other.training.steps, other.training.batch_size) == (9, 3)
    assert (other.prompt.length, other.prompt.init) == (2, "class_labels")


def test_one_key_is_varied(tmp_path):
    experiments = read(tmp_path, {"length": {"tasks": ["trec"], "vary": {"prompt.length": [1, 5]}}}, backbone="base")

    settings = experiments["length"].settings()
    assert [(x, each.prompt.length, each.backbone) for x, each in settings] == [(1, 1, "base"), (5, 5, "base")]


def test_variants_change_several_keys(tmp_path):
    variants = {
        0: {"backbone": "a"},
        100: {"backbone": "b", "target_format": "sentinel"},
        "long": {"training.steps": 8},
    }

    settings = read(tmp_path, {"steps": {"tasks": ["trec"], "variants": variants}})["steps"].settings()

    assert [x for x, _ in settings] == [0, 100, "long"]
    assert [each.backbone for _, each in settings] == ["a", "b", "mini"]
    assert [each.target_format for _, each in settings] == [None, "sentinel", None]
    assert settings[2][1].training.steps == 8


def test_a_rate_that_is_left_out_is_that_of_each_optimizer(tmp_path):
    variants = {name: {"training.optimizer": name} for name in ("adam", "prodigy")}
    both = {"tasks": ["trec"], "variants": variants}
    cases = (({}, [0.3, 1.0]), ({"optimizer": "prodigy"}, [0.3, 1.0]), ({"learning_rate": 0.1}, [0.1, 0.1]))

    for training, rates in cases:
        sweep = read(tmp_path, {"both": {**both, "training": training}})

        assert [settings.training.learning_rate for _, settings in sweep["both"].settings()] == rates


def test_a_file_includes_others(tmp_path):
    write_yaml(tmp_path / "base.yaml", {"training": {"steps": 5}, "experiments": {"one": {"tasks": ["trec"]}}})
    sweep = {"include": "base.yaml", "experiments": {"one": {"seeds": [4]}, "two": {"tasks": ["sst2"]}}}

    experiments = read_sweep(write_yaml(tmp_path / "sweep.yaml", sweep))

    assert list(experiments) == ["one", "two"]
    assert (experiments["one"].tasks, experiments["one"].seeds) == (("trec",), (4,))
    assert experiments["two"].settings()[0][1].training.steps == 5


def test_a_precision_that_nothing_can_measure_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"Received: training.strategy=tpu of experiment `one` in .*sweep.yaml"):
        read(tmp_path, {"one": {"tasks": ["trec"]}}, training={"precision": "auto", "strategy": "tpu"})


def test_environment_variables_are_put_in_where_they_are_set(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "/models")
    monkeypatch.delenv("NOT_SET", raising=False)
    variants = {"a": {"backbone": "${PLACE}/span"}, "b": {"backbone": "${NOT_SET}/lm"}}

    settings = read(tmp_path, {"objective": {"tasks": ["trec"], "variants": variants}})["objective"].settings()

    assert [each.backbone for _, each in settings] == ["/models/span", "${NOT_SET}/lm"]


def test_a_tilde_is_the_home_directory_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    own = {
        "tasks": ["~/film.yaml"],
        "evaluate_on": {"~/film.yaml": ["~/book.yaml"]},
        "prompt": {"init": "file:~/a.npy"},
    }

    (one,) = read(tmp_path, {"one": own}, backbone="~/t5", training={"states_directory": "~/states"}).values()

    assert (one.backbone, one.training.states_directory) == ("/home/ada/t5", "/home/ada/states")
    assert (one.tasks, one.evaluate_on) == (("/home/ada/film.yaml",), {"/home/ada/film.yaml": ("/home/ada/book.yaml",)})
    assert one.prompt.init == "file:/home/ada/a.npy"


def test_a_backbone_takes_the_place_of_the_shared_one(tmp_path):
    path = write_yaml(tmp_path / "sweep.yaml", {"backbone": "mini", "experiments": {"one": {"tasks": ["trec"]}}})

    assert read_sweep(path, backbone="t5_1.1_small")["one"].backbone == "t5_1.1_small"


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ({}, "Missing key `tasks` of experiment `one` in .*sweep.yaml:.*It must be a list of task names or files"),
        ({"tasks": []}, r"`tasks` of experiment `one` must be a list of task names or files. Received: \[\]"),
        (
            {"tasks": ["trec"], "seed": 1},
            r"Unknown key `seed` of experiment `one` in .*sweep.yaml:\d+. Did you mean `seeds`\?",
        ),
        (
            {"tasks": ["trec"], "seeds": [-1]},
            r"`seeds` of experiment `one` must be a list of whole numbers from 0 up. Received: \[-1\]",
        ),
        (
            {"tasks": ["trec"], "seeds": [2**63]},
            "`seeds` of experiment `one` must be a list of whole numbers from 0 up",
        ),
        (
            {"tasks": ["trec"], "arms": ["tuning"]},
            r"`arms` of experiment `one` must be a list of prompt_tuning, .*Received: \['tuning'\]",
        ),
        (
            {"tasks": ["trec"], "vary": {"prompt.lenght": [1]}},
            "Unknown key `prompt.lenght` of experiment `one` in .*yaml:.*`length`",
        ),
        (
            {"tasks": ["trec"], "vary": {"prompt.length": [0]}},
            r"`prompt\.length` of experiment `one` must be a whole number above 0 .*Received: 0 \(.*sweep.yaml:\d+\)",
        ),
        (
            {"tasks": ["trec"], "variants": {"a": {"rows.train": 0}}},
            r"`rows\.train` of experiment `one` must be a whole number above 0, or null for all rows. Received: 0",
        ),
        ({"tasks": ["trec"], "vary": {"prompt.length": [1]}, "variants": {"a": {}}}, "`vary` or `variants`.*both"),
        ({"tasks": ["trec"], "evaluate_on": {"sst2": ["trec"]}}, "must name its tasks. Received: 'sst2'"),
        (
            {"tasks": ["trec"], "seeds": [2, 1, 2]},
            "`seeds` of experiment `one` in .*yaml must have each value once. Received: 2 twice",
        ),
        ({"tasks": ["trec"], "vary": {"rows.train": [8, 8]}}, "`vary` of experiment .* once. Received: 8 twice"),
        (
            {"tasks": ["trec"], "variants": {"1": {}, "1.0": {}}},
            "`variants` of experiment .* once. Received: 1.0 twice",
        ),
        ({"tasks": ["trec"], "ensemble": True}, r"two seeds or more.*Received: seeds \[1\]"),
        ({"tasks": ["trec"], "ensemble": True, "seeds": [1, 2], "arms": ["model_tuning"]}, "prompt tuning alone"),
    ],
    ids=[
        "no tasks",
        "empty tasks",
        "unknown key",
        "negative seed",
        "large seed",
        "unknown arm",
        "unknown varied key",
        "varied out of range",
        "variant out of range",
        "vary and variants",
        "evaluate_on",
        "seed twice",
        "value twice",
        "variants of one number",
        "one seed",
        "ensemble of weights",
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, experiment, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, {"one": experiment})


@pytest.mark.parametrize(
    ("swept", "expected"),
    [
        ({"vary": {"prompt.length": [1, 20]}}, [1, 20]),
        ({"vary": {"rows": [{"train": 8}, {"train": 16}]}}, ['{"train": 8}', '{"train": 16}']),
        ({"prompt": {"method": "lora"}, "vary": {"prompt.projections": [["query", "value"]]}}, ['["query", "value"]']),
        ({"variants": {"1": {}, "0.5": {}, "nan": {}, "inf": {}, "a": {}}}, [1, 0.5, "nan", "inf", "a"]),
    ],
    ids=["numbers", "mappings", "lists", "variants"],
)
def test_a_result_is_known_by_a_number_or_a_text(tmp_path, swept, expected):
    """Lists have no hash, and NaN is not itself: each seed would have a row of the report."""
    one = read(tmp_path, {"one": {"tasks": ["trec"], **swept}})["one"]

    assert [x for x, _ in one.settings()] == expected


@pytest.mark.parametrize(
    "experiment",
    [
        {"prompt": {"method": "nope"}},
        {"prompt": {"method": ["lora"]}},
        {"vary": {"prompt.method": ["nope"]}},
        {"vary": {"prompt.method": [{"lora": 1}]}},
        {"variants": {"own": {"prompt.method": "gated", "prompt.first_gate": 0.5}}},
        {"variants": {"a": {"prompt": {"method": 3}}}},
    ],
    ids=["section", "list", "varied", "varied mapping", "with a setting", "variant"],
)
def test_a_method_that_is_not_known_is_told_with_the_known_ones(tmp_path, experiment):
    with pytest.raises(ConfigError, match="`prompt.method` of experiment `one` must be one of prompt_tuning, .*yaml:"):
        read(tmp_path, {"one": {"tasks": ["trec"], **experiment}})


def test_a_varied_method_keeps_what_was_written_of_its_settings(tmp_path):
    varied = {"tasks": ["trec"], "prompt": {"length": 7, "init": "random_uniform"}}
    variants = {"lora": {"prompt.method": "lora", "prompt.rank": 3}, "prefix": {"prompt.method": "prefix_tuning"}}

    settings = dict(read(tmp_path, {"one": {**varied, "variants": variants}})["one"].settings())

    assert (settings["lora"].prompt.method, settings["lora"].prompt.rank) == ("lora", 3)
    assert (settings["prefix"].prompt.method, settings["prefix"].prompt.length) == ("prefix_tuning", 7)


def test_a_shared_key_is_told_with_its_own_line(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("training:\n  steps: x\nexperiments:\n  one:\n    tasks: [trec]\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"`training.steps` of experiment `one` .*Received: 'x' \(.*sweep.yaml:2\)"):
        read_sweep(path)


@pytest.mark.parametrize("own", [3, ["trec"], "trec"])
def test_an_experiment_that_is_no_mapping_is_refused(tmp_path, own):
    with pytest.raises(ConfigError, match="`experiments.one` must be a mapping. Received: "):
        read(tmp_path, {"one": own})


@pytest.mark.parametrize("experiments", [None, {}, ["one"]], ids=["missing", "empty", "list"])
def test_a_file_without_experiments_is_refused(tmp_path, experiments):
    with pytest.raises(ConfigError, match="`experiments` in .* must be a mapping of one experiment or more"):
        read(tmp_path, experiments)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_file_of_the_library_can_be_read(path):
    if path.stem == "mini":  # what the others include
        with pytest.raises(ConfigError, match="must be a mapping of one experiment or more"):
            read_sweep(path)
        return
    experiments = read_sweep(path)

    assert experiments
    assert all(experiment.settings() for experiment in experiments.values())
    assert set(experiments) <= {*EXPERIMENTS, *METHODS}  # so that the report has words for each


def test_the_optimizers_are_compared_at_three_rates_each_and_nothing_else_differs():
    compared, others = [], []
    for experiment in read_sweep(CONFIGS / "optimizers.yaml").values():
        for _, settings in experiment.settings():
            values = settings.model_dump()
            compared.append(tuple(values["training"].pop(key) for key in ("optimizer", "schedule", "learning_rate")))
            others.append(values)

    assert all(values == others[0] for values in others)
    rates = {"adam": (0.1, 0.3, 1.0), "adafactor": (0.3, 1.0, 3.0)}
    assert sorted(compared) == sorted(
        (name, schedule, rate) for name in rates for schedule in ("cosine", "constant") for rate in rates[name]
    )


def test_the_experiments_train_as_the_bundled_backbone_does_by_default():
    default = load_config(CONFIGS.parent / "runs" / "sentiment.yaml").training

    for experiment in read_sweep(CONFIGS / "initialization.yaml").values():
        for _, settings in experiment.settings():
            for key in ("optimizer", "learning_rate", "schedule", "warmup_steps"):
                assert getattr(settings.training, key) == getattr(default, key)


def test_the_documented_table_of_objectives_is_the_shipped_comparison_and_the_bundled_backbone():
    own = read_sweep(CONFIGS / "pretraining_objective.yaml")["pretraining_objective"]

    table = read_sweep(BENCHMARKS / "pretraining_objective.yaml")["pretraining_objective"]

    settings, (name, mini) = table.settings()[:-1], table.settings()[-1]
    assert settings == own.settings()
    assert (name, mini.backbone) == ("instruction_mixture", "mini")
    assert table.tasks == own.tasks
    assert table.seeds == (1, 2, 3)


def test_the_documented_longer_prompts_differ_from_the_shipped_comparison_in_their_steps_alone():
    own = read_sweep(CONFIGS / "pretraining_objective.yaml")["pretraining_objective"]

    longer = read_sweep(BENCHMARKS / "pretraining_objective_2000_steps.yaml")["pretraining_objective"]

    steps = {"steps": 2000, "evaluate_every": 250}
    expected = [
        (x, settings.model_copy(update={"training": settings.training.model_copy(update=steps)}))
        for x, settings in own.settings()
    ]
    assert longer.settings() == expected
    assert set(longer.tasks) < set(own.tasks)


def test_reproduce_has_all_that_the_paper_does():
    experiments = read_sweep(CONFIGS / "reproduce.yaml")

    assert set(experiments) == {
        "methods",
        "prompt_length",
        "initialization",
        "pretraining_objective",
        "adaptation_steps",
        "domain_shift",
        "ensembling",
    }
    assert set(experiments["methods"].arms) == set(ARMS)
    assert len(experiments["methods"].tasks) == 8
    assert [x for x, _ in experiments["prompt_length"].settings()] == [1, 5, 20, 100, 150]
    assert len(experiments["ensembling"].seeds) == 5
