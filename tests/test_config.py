"""Configs: what a YAML file becomes, how files and overrides are merged, and how mistakes are named."""

import operator
from pathlib import Path

import pytest
from pydantic import ValidationError

from softprompt_tf.config import RunConfig, TaskConfig, TrainingConfig, dump_config, load_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig as PromptConfig
from softprompt_tf.settings.yaml_tree import Tree

SHIPPED = Path(__file__).parents[1] / "configs"

RUN = """\
backbone: mini
task: {name: sst2, inputs: "sst2 sentence: {sentence}", labels: {0: negative, 1: positive}, train: data/train.tsv}
prompt: {length: 5}
training:
  steps: 50
  learning_rate: 1e-1
output_dir: runs/sst2
seed: 7
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files below a directory `configs`, the working directory being another; return the path of `run.yaml`."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def write_files(run=RUN, **files):
        for name, text in {"run": run, **files}.items():
            path = tmp_path / "configs" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "configs/run.yaml"

    return write_files


# === Values ===


def test_file_becomes_a_typed_config_with_the_recipe_where_it_is_silent(write, tmp_path):
    config = load_config(write())

    assert config == RunConfig(
        backbone="mini",
        task=TaskConfig(
            name="sst2",
            inputs="sst2 sentence: {sentence}",
            targets="{label}",
            labels={"0": "negative", "1": "positive"},
            metrics=("accuracy",),
            train=str(tmp_path / "configs/data/train.tsv"),
            max_input_tokens=512,
        ),
        prompt=PromptConfig(method="prompt_tuning", length=5, init="class_labels", population_size=5_000),
        training=TrainingConfig(steps=50, learning_rate=0.1, batch_size=32, weight_decay=1e-5, z_loss=1e-4),
        output_dir="runs/sst2",
        seed=7,
    )


def test_the_target_format_of_a_task_is_plain_text_unless_named(write):
    assert load_config(write()).tasks[0].target_format == "text"
    assert load_config(write(), ["task.target_format=sentinel"]).tasks[0].target_format == "sentinel"


def test_one_name_may_stand_for_a_list_of_preprocessors(write):
    overrides = ["task.preprocess=squad", "task.group_by=[a, b]", "task.references=answers", "task.postprocess=x"]

    task = load_config(write(), overrides).tasks[0]

    assert (task.preprocess, task.group_by, task.references) == (("squad",), ("a", "b"), "answers")
    assert (task.preprocess_train, task.postprocess, task.taskless) == ((), ("x",), False)


def test_config_is_frozen(write):
    with pytest.raises(ValidationError, match="frozen"):
        load_config(write()).seed = 3


def test_several_tasks_are_a_list_of_files_and_mappings(write):
    run = RUN.replace("task: {", "task:\n  - tasks/rte.yaml\n  - {")
    path = write(run, tasks__rte='name: rte\ninputs: "{x}"\ntrain: rte.tsv\n')

    config = load_config(path)

    assert [task.name for task in config.tasks] == ["rte", "sst2"]
    assert config.tasks[0].train == str(path.parent / "tasks/rte.tsv")
    assert config.tasks == config.task


def test_one_task_is_a_tuple_of_one_too(write):
    assert [task.name for task in load_config(write()).tasks] == ["sst2"]


@pytest.mark.parametrize(
    ("source", "resolved"),
    [
        ("data/dev.jsonl", "configs/data/dev.jsonl"),
        ("../dev.csv.gz", "dev.csv.gz"),
        ("dev.jsonl[:100]", "configs/dev.jsonl[:100]"),
        ("dev-v1.1.json", "configs/dev-v1.1.json"),
        ("${DATA}/dev.tsv", "elsewhere/dev.tsv"),
        ("${RELATIVE}/dev.tsv", "work/here/dev.tsv"),
        ("present.txt", "configs/present.txt"),
    ],
)
def test_source_files_are_relative_to_the_file_that_names_them(write, tmp_path, monkeypatch, source, resolved):
    monkeypatch.setenv("DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("RELATIVE", "here")
    path = write(RUN.replace("data/train.tsv", f'"{source}"'))
    (path.parent / "present.txt").touch()

    assert load_config(path).tasks[0].train == str(tmp_path / resolved)


@pytest.mark.parametrize("key", ["output_dir", "backbone", "training.states_directory"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [("~/runs/a", "/home/me/runs/a"), ("${PLACE}/a", "/elsewhere/a"), ("runs/~a", "runs/~a")],
    ids=["home", "variable", "as it is"],
)
def test_a_path_may_begin_with_the_home_directory_or_a_variable(write, monkeypatch, key, written, meant):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/elsewhere")

    config = load_config(write(), [f"{key}={written}"])

    assert operator.attrgetter(key)(config) == meant


@pytest.mark.parametrize("source", ["glue/sst2", "ag_news_subset@test", "super_glue/boolq:1.0.2"])
def test_tfds_names_are_left_alone(write, source):
    assert load_config(write(RUN.replace("data/train.tsv", source))).tasks[0].train == source


def test_prompt_file_is_relative_to_the_file_that_names_it(write, tmp_path):
    config = load_config(write(RUN.replace("{length: 5}", '{init: "file:../a.safetensors"}')))

    assert config.prompt.init == f"file:{tmp_path / 'a.safetensors'}"


@pytest.mark.parametrize("kind", ["source", "best_source"])
def test_a_directory_of_prompts_is_relative_to_its_file_and_bundled_is_a_name(kind, write, tmp_path):
    config = load_config(write(RUN.replace("{length: 5}", f'{{init: "{kind}:../prompts"}}')))
    assert config.prompt.init == f"{kind}:{tmp_path / 'prompts'}"

    config = load_config(write(RUN.replace("{length: 5}", f'{{init: "{kind}:bundled"}}')))
    assert config.prompt.init == f"{kind}:bundled"


@pytest.mark.parametrize("source", ["data/train.tsv", "glue/sst2"])
def test_dumped_config_reads_back_equal_from_another_directory(write, tmp_path, source):
    run = RUN.replace("data/train.tsv", source).replace("negative, 1: positive", '"no", yes: "1e-5", "010": "a: b"')
    config = load_config(write(run + "# end\n", again=""), ["prompt.init='text:\"quoted\": é # 1'"])
    again = tmp_path / "elsewhere.yaml"
    again.write_text(dump_config(config))

    assert load_config(again) == config
    assert config.tasks[0].labels == {"0": "no", "yes": "1e-5", "010": "a: b"}


def test_dumped_config_of_several_tasks_reads_back_equal(write, tmp_path):
    config = load_config(write(RUN.replace("task: {", "task:\n  - {")))
    (tmp_path / "again.yaml").write_text(dump_config(config))

    assert load_config(tmp_path / "again.yaml") == config


# === Includes ===


def test_includes_merge_in_order_and_the_files_own_keys_win(write):
    run = "include: [a.yaml, more/b.yaml]\n" + RUN.replace("prompt: {length: 5}\n", "").replace("  steps: 50\n", "")
    path = write(
        run,
        a="training: {steps: 1, batch_size: 2, learning_rate: 9}\nseed: 1\n",
        more__b="include: ../c.yaml\ntraining: {batch_size: 3}\n",
        c="prompt: {length: 4}\ntraining: {batch_size: 8, z_loss: 0.5}\n",
    )

    config = load_config(path)

    assert (config.training.steps, config.training.batch_size, config.training.learning_rate) == (1, 3, 0.1)
    assert (config.training.z_loss, config.prompt.length, config.seed) == (0.5, 4, 7)


def test_inline_task_changes_an_included_task_file_key_by_key(write):
    task = "task: tasks/sst2.yaml\n"
    path = write(
        "include: base.yaml\nbackbone: mini\noutput_dir: out\ntask: {train: own.tsv}\n",
        base=task,
        tasks__sst2='name: sst2\ninputs: "{x}"\ntrain: a.tsv\nvalidation: b.tsv\n',
    )

    (config,) = load_config(path).tasks

    assert config.train == str(path.parent / "own.tsv")
    assert config.validation == str(path.parent / "tasks/b.tsv")


def test_task_file_replaces_an_included_task_as_a_whole(write):
    path = write(
        "include: [one.yaml, two.yaml]\nbackbone: mini\noutput_dir: out\n",
        one="task: a.yaml\n",
        two="task: b.yaml\n",
        a='name: a\ninputs: "{x}"\ntrain: a.tsv\nlabels: {0: zero}\n',
        b='name: b\ninputs: "{y}"\n',
    )

    assert load_config(path).tasks == (TaskConfig(name="b", inputs="{y}"),)


def test_the_same_file_may_be_included_twice(write):
    path = write("include: [a.yaml, b.yaml]\n" + RUN, a="include: c.yaml\n", b="include: c.yaml\n", c="seed: 1\n")

    assert load_config(path).seed == 7


def test_include_cycle_is_refused(write):
    path = write("include: a.yaml\n" + RUN, a="include: [b.yaml]\n", b="include: a.yaml\n")

    with pytest.raises(ConfigError, match="must not include itself. Received: a.yaml -> b.yaml -> a.yaml"):
        load_config(path)


def test_mistake_in_an_included_file_names_that_file(write):
    path = write("include: a.yaml\n" + RUN, a="# comment\ntraining:\n  batch_size: 0\n")

    with pytest.raises(ConfigError, match=r"Received: 0 \(.*/configs/a.yaml:3\)"):
        load_config(path)


# === Overrides ===


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.steps=7", lambda config: config.training.steps == 7),
        ("training.learning_rate=1e-3", lambda config: config.training.learning_rate == 1e-3),
        ("training.early_stopping_patience=null", lambda config: config.training.early_stopping_patience is None),
        ("training.strategy=mirrored", lambda config: config.training.strategy == "mirrored"),
        (
            "prompt={init: sampled_vocabulary}",
            lambda config: config.prompt == PromptConfig(init="sampled_vocabulary", length=5),
        ),
        ("task.metrics=[accuracy, f1]", lambda config: config.tasks[0].metrics == ("accuracy", "f1")),
        ("task.labels.2=both=neither", lambda config: config.tasks[0].labels["2"] == "both=neither"),
        ("prompt.init=text:a film", lambda config: config.prompt.init == "text:a film"),
        ("prompt.init=text:Good? Review:", lambda config: config.prompt.init == "text:Good? Review:"),
        ("prompt.init=text:Task: mood. Text:", lambda config: config.prompt.init == "text:Task: mood. Text:"),
        ("task.inputs=film: {text}", lambda config: config.tasks[0].inputs == "film: {text}"),
        ("task.labels=2: neither", lambda config: config.tasks[0].labels["2"] == "neither"),
        ("task.train=own.tsv", lambda config: config.tasks[0].train == str(Path.cwd() / "own.tsv")),
    ],
)
def test_override_sets_one_key(write, override, value):
    assert value(load_config(write(), [override]))


def test_later_overrides_win(write):
    assert load_config(write(), ["seed=1", "seed=2"]).seed == 2


def test_task_override_names_a_file_in_the_working_directory(write):
    Path("rte.yaml").write_text('name: rte\ninputs: "{x}"\n')

    config = load_config(write(), ["task=rte.yaml", "task.max_input_tokens=9"])

    assert config.tasks == (TaskConfig(name="rte", inputs="{x}", max_input_tokens=9),)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.stps=5", r"Unknown key `training.stps` in override `training.stps=5`. Did you mean `steps`\?"),
        ("sed=5", r"Unknown key `sed` in override `sed=5`. Did you mean `seed`\?"),
        (
            "zzz.y=5",
            "Unknown key `zzz` in override `zzz.y=5`. Known: backbone, output_dir, prompt, seed, task, training.",
        ),
        ("training.steps", "must have the form key=value. Received: 'training.steps'"),
        ("training..steps=1", "must have the form key=value"),
        ("seed=[1", r"override `seed=\[1`:1 is not YAML"),
        ("prompt={length: -1}", r"`prompt.length` must be .* Received: -1 \(override `prompt={length: -1}`\)"),
        ("seed.x=1", r"`seed` must be a whole number from 0 up. Received: {'x': 1} \(override `seed.x=1`\)"),
    ],
)
def test_wrong_overrides_are_named(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(), [override])


def test_key_of_a_list_of_tasks_cannot_be_overridden(write):
    with pytest.raises(
        ConfigError, match="`task` is a list, so it cannot be changed by key. Received: override `task.train=x`"
    ):
        load_config(write(RUN.replace("task: {", "task:\n  - {")), ["task.train=x"])


# === Mistakes ===


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  learning_rate",
            "  learning_rat",
            r"Unknown key `training.learning_rat` in .*run.yaml:6. Did you mean `learning_rate`\?",
        ),
        ("name: sst2", "name: sst2, lables: {}", r"Unknown key `task.lables` in .*run.yaml:2. Did you mean `labels`\?"),
        (
            "backbone: mini\n",
            "",
            "Missing key `backbone` in .*run.yaml. It must be a bundled name, a KerasHub preset or a directory",
        ),
        ("name: sst2, ", "", "Missing key `task.name` in .*run.yaml:2"),
        (
            "steps: 50",
            "steps: 0",
            r"`training.steps` must be a whole number above 0 \(batches\). Received: 0 \(.*run.yaml:5\)",
        ),
        (
            "steps: 50",
            "steps: 1.5",
            r"`training.steps` must be a whole number above 0 .*Received: 1.5 \(.*run.yaml:5\)",
        ),
        (
            "{length: 5}",
            "{method: {lora: 1}}",
            r"`prompt.method` must be one of prompt_tuning, .*Received: {'lora': 1}",
        ),
        (
            "{length: 5}",
            "{method: late_prompts, layer: [1]}",
            r"^`prompt.layer` must be an encoder layer, or \"output\" for behind the encoder. Received: \[1\] \([^\n]*\)\.$",
        ),
        (
            "name: sst2",
            "name: sst2, metrics: [[f1]]",
            r"^`task.metrics` must be a list of metric names. Received: \[\['f1'\]\] \([^\n]*\)\.$",
        ),
        ("steps: 50", "steps: true", "`training.steps` must be a whole number above 0 .*Received: True"),
        ("steps: 50", 'steps: "50"', "`training.steps` must be a whole number above 0 .*Received: '50'"),
        ("1e-1", ".nan", "`training.learning_rate` must be a number above 0 .*Received: nan"),
        ("1e-1", "fast", "`training.learning_rate` must be a number above 0 .*Received: 'fast'"),
        (
            "  steps",
            "  strategy: pod\n  steps",
            "`training.strategy` must be default, mirrored, tpu or multi_worker. Received: 'pod'",
        ),
        (
            "  steps",
            "  precision: float16\n  steps",
            "must be float32, bfloat16, or auto: bfloat16 where it is faster and agrees. Received: 'float16'",
        ),
        (
            "length: 5",
            "init: words",
            "`prompt.init` must be class_labels, .* or best_source:DIRECTORY. Received: 'words'",
        ),
        (
            "name: sst2",
            "name: sst2, target_format: span",
            r"`task.target_format` must be text or sentinel. Received: 'span' \(.*run.yaml:2\)",
        ),
        (
            "name: sst2",
            "name: sst2, taskless: 1",
            r"`task.taskless` must be true or false .*Received: 1 \(.*run.yaml:2\)",
        ),
        ("name: sst2", "name: sst2, preprocess: 3", "`task.preprocess` must be the name of a preprocessor, or a list"),
        (
            "name: sst2",
            "name: sst2, group_by: {a: b}",
            "`task.group_by` must be the name of a field, or a list of them",
        ),
        ("0: negative", "0: 3", r"`task.labels.0` must be a mapping from raw value to label word.* Received: 3"),
        ("{length: 5}", "5", r"`prompt` must be a mapping. Received: 5 \(.*run.yaml:3\)"),
        ("seed: 7", "seed: -1", r"`seed` must be a whole number from 0 up. Received: -1 \(.*run.yaml:8\)"),
        ("seed: 7", "task: 3", "`task` must stand once. Received: .*run.yaml:2 and .*run.yaml:8"),
        ("seed: 7", "seed: [7", "run.yaml:9 is not YAML"),
        ("seed: 7", "\tseed: 7", "run.yaml:8 is not YAML"),
        ("seed: 7", "include: [3]", "`include` must be file names. Received: 3"),
        ("seed: 7", "include: nothing.yaml", "No such config file: .*nothing.yaml"),
        (
            "data/train.tsv",
            "'${NO_SUCH_VARIABLE}/a.tsv'",
            "`NO_SUCH_VARIABLE` must be set for `task.train`. Received: .*run.yaml:2",
        ),
        ("backbone: mini", "backbone: '${NO_SUCH_VARIABLE}/t5'", r"`NO_SUCH_VARIABLE` must be set for `backbone`\."),
    ],
)
def test_mistakes_name_file_line_key_and_value(write, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(RUN.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("3", r"`task` must be a mapping, the path of a task file, or a list of these. Received: 3 \(.*run.yaml:2\)"),
        ("[]", "`task` must be a mapping, the path of a task file, or a list of these"),
        (
            '\n  - {name: a, inputs: "{x}"}\n  - {name: b, input: "{x}"}',
            r"Unknown key `task.1.input` in .*run.yaml:4. Did you mean",
        ),
        ("ste2.yaml", r"No such config file: .*ste2.yaml. Did you mean `sst2.yaml`\?"),
    ],
)
def test_wrong_tasks_are_named(write, task, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(f"backbone: mini\ntask: {task}\noutput_dir: out\n", sst2="name: sst2\n"))


def test_every_mistake_is_listed(write):
    with pytest.raises(ConfigError) as error:
        load_config(write(RUN.replace("steps: 50", "steps: 0").replace("seed: 7", "seed: -1")))

    assert [line.split()[0] for line in str(error.value).splitlines()] == ["`training.steps`", "`seed`"]


def test_missing_file_names_the_nearest(write):
    path = write()

    with pytest.raises(ConfigError, match=r"No such config file: .*rnu.yaml. Did you mean `run.yaml`\?"):
        load_config(path.with_name("rnu.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "must hold keys and values. Received: tuple"),
        (b"a: \xff\n", r"must be UTF-8 text \(invalid start byte at byte 3\)"),
        (b"a: 1\n---\nb: 2\n", "run.yaml:2 is not YAML: but found another document"),
        (b"a: !!python/object:x 1\n", "run.yaml:1 is not YAML: could not determine a constructor"),
        (b"a: \x00\n", "run.yaml is not YAML"),
        (b"!x a: 1\n", "run.yaml:1 is not YAML: could not determine a constructor"),
        (b"b: 1\n!!int a: 1\n", "run.yaml:2 is not YAML: invalid literal"),
        (b"a: &x [1, *x]\n", "run.yaml must be YAML of few levels. Received: values in values without end"),
        (b"a: &x {b: *x}\n", "run.yaml must be YAML of few levels"),
        (b"a: " + 2_000 * b"[", "run.yaml must be YAML of few levels"),
        (b"", "Missing key `backbone`"),
    ],
)
def test_files_that_are_no_config_are_refused(write, content, message):
    path = write()
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_directory_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match="must be a file. Received: the directory"):
        load_config(tmp_path)


# === Shipped configs ===


@pytest.mark.parametrize("path", sorted((SHIPPED / "runs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_runs_load(path, monkeypatch, tmp_path):
    from softprompt_tf.tasks import load_task

    monkeypatch.setenv("SOFTPROMPT_DATA", str(tmp_path))

    config = load_config(path)

    length = 100 if path.stem == "ag_news" else 20
    assert (config.backbone, config.prompt.length, config.output_dir) == ("mini", length, f"runs/{path.stem}")
    assert [load_task(task).name for task in config.tasks] == [path.stem]


@pytest.mark.parametrize("path", sorted((SHIPPED / "tasks").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_tasks_load_and_say_where_their_data_come_from(path, monkeypatch, tmp_path):
    from softprompt_tf.tasks import load_task

    if "rouge" in path.read_text():
        pytest.importorskip("rouge_score")
    monkeypatch.setenv("SOFTPROMPT_DATA", str(tmp_path))

    task = load_task(path)

    assert task.name == path.stem
    assert task.validation or task.test
    header = path.read_text().split("\nname:")[0]
    assert all(line.startswith("# ") for line in header.splitlines())
    assert all(f"\n# {word}" in header for word in ("Source: ", "Licence of the data: ", "Metric: "))


@pytest.mark.parametrize("path", sorted((SHIPPED / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_prompts_have_their_size_in_their_name(write, path):
    run = write(f"include: {path}\n" + RUN.replace("prompt: {length: 5}\n", ""))

    config = load_config(run)

    settings = config.prompt.model_dump()
    size = next((settings[name] for name in ("length", "rank", "bottleneck_dim") if name in settings), None)
    where = "_in_decoder" if settings.get("encoder") is False else ""
    assert path.stem == config.prompt.method + ("" if size is None else f"_{size}") + where


def test_shipped_defaults_are_the_defaults_of_the_code(write):
    run = f"include: {SHIPPED / 'defaults.yaml'}\nbackbone: mini\ntask: {{name: a, inputs: '{{x}}'}}\noutput_dir: out\n"

    config = load_config(write(run))

    assert config.training == TrainingConfig()
    assert config == RunConfig(backbone="mini", task=TaskConfig(name="a", inputs="{x}"), output_dir="out")
    assert config.training.learning_rate == 0.3
    assert load_config(write(run), ["training.optimizer=prodigy"]).training.learning_rate == 1.0


def test_a_method_that_is_named_on_top_drops_the_settings_of_the_one_below(tmp_path):
    (tmp_path / "below.yaml").write_text("prompt: {method: prompt_tuning, length: 7, init: random_uniform}\n")
    run = {"backbone": "mini", "output_dir": "runs/x"}
    task = "task: {name: a, inputs: '{x}', train: a.csv, validation: b.csv}\n"
    text = "include: [below.yaml]\n" + "".join(f"{key}: {value}\n" for key, value in run.items()) + task
    (tmp_path / "run.yaml").write_text(text)

    config = load_config(tmp_path / "run.yaml", ["prompt.method=p_tuning_v2"])

    assert (config.prompt.method, config.prompt.length, config.prompt.cross) == ("p_tuning_v2", 7, True)
    with pytest.raises(ConfigError, match=r"Unknown key `prompt.init` in override `prompt.init=text:x`"):
        load_config(tmp_path / "run.yaml", ["prompt.method=p_tuning_v2", "prompt.init=text:x"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prompt.mlp_dmi=3"], "Unknown key `prompt.mlp_dmi` in .*Did you mean `mlp_dim`"),
        (["prompt.encoder=1"], "`prompt.encoder` must be true or false"),
        (
            ["prompt.method=gated"],
            "one of .*, warp. Received: 'gated' .override.*. If a package of yours has it, install",
        ),
        (["prompt.method=prefx_tuning"], "`prompt.method` must be one of .*Did you mean `prefix_tuning`"),
    ],
)
def test_settings_are_those_of_the_method(tmp_path, overrides, message):
    task = "{name: a, inputs: '{x}', train: a.csv, validation: b.csv}"
    (tmp_path / "run.yaml").write_text(
        f"backbone: mini\noutput_dir: runs/x\ntask: {task}\nprompt: {{method: prefix_tuning}}\n"
    )

    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "run.yaml", overrides)


def test_a_key_has_the_place_of_the_nearest_one_above_it():
    tree = Tree({}, {("training",): "run.yaml:3"})

    assert tree.place(("training", "seed")) == "run.yaml:3"
    assert tree.place(("prompt", "length")) == "the overrides"
