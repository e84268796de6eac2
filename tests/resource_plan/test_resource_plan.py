"""What plans say: weights of published T5s, parts that add up, what fits, and what is refused."""

import json

import numpy as np
import pytest
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import BackboneError, ConfigError
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.resource_plan.backbone_form import KNOWN_FORMS
from softprompt_tf.resource_plan.given_bytes import as_bytes
from softprompt_tf.resource_plan.memory import weight_bytes
from softprompt_tf.resource_plan.rate import measured_rate
from softprompt_tf.resource_plan.source_form import form_of

# keras_hub.models.T5Backbone.presets, "params".
PARAMETERS = {
    "t5_1.1_small": 60_511_616,
    "t5_1.1_base": 247_577_856,
    "t5_1.1_large": 750_251_008,
    "t5_1.1_xl": 2_849_757_184,
    "t5_1.1_xxl": 11_135_332_352,
    "t5_small_multi": 60_506_624,
    "t5_base_multi": 222_903_552,
    "t5_large_multi": 737_668_096,
    "flan_small_multi": 76_961_152,
    "flan_large_multi": 783_150_080,
}
WIDTHS = {"float32": 4, "bfloat16": 2, "int8": 1}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_published_t5(name):
    assert KNOWN_FORMS[name].num_parameters == PARAMETERS[name]


def test_the_form_of_a_loaded_t5_has_its_weights(tiny_t5):
    name, form = form_of(tiny_t5)

    assert name == tiny_t5.name
    assert form.num_parameters == tiny_t5.backbone.count_params()


def test_the_form_of_mini_is_read_from_its_config():
    assert form_of("mini")[1].num_parameters == 10_491_648  # 41,966,592 bytes of float32


@pytest.mark.parametrize(
    ("mode", "dtype", "compute_bytes"), [("int8", "float32", 4), ("int4", "float32", 4), ("int4", "bfloat16", 2)]
)
def test_quantized_weights_are_those_of_a_quantized_t5(mode, dtype, compute_bytes):
    t5 = make_tiny_t5(dtype, num_layers=1)
    t5.quantize(mode)

    held = sum(int(np.prod(weight.shape)) * WIDTHS[weight.dtype] for weight in t5.backbone.weights)

    assert weight_bytes(form_of(t5)[1], compute_bytes, mode) == held


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_plan(name, tiny_t5):
    made = sp.plan(tiny_t5, name, batch_size=2, input_tokens=16, target_tokens=4)

    assert made.method == name
    assert made.trained > 0
    assert made.total_bytes == sum(made.memory.values())
    assert made.step_operations > 2 * made.served_row_operations


def test_a_task_file_is_as_large_as_the_plan_says(tiny_t5, tmp_path):
    method = sp.prompt_tuning(length=20)
    model = sp.PromptedT5(tiny_t5, method, labels=["yes", "no"])
    model.save_prompt(tmp_path / "task.safetensors", task_id="task")

    planned = sp.plan(tiny_t5, method).task_file_bytes

    written = (tmp_path / "task.safetensors").stat().st_size
    assert 4 * 20 * 16 < written <= planned < written + 2_000


def test_shared_variables_are_counted_once_for_several_tasks(tiny_t5):
    tasks = [f"task{k}" for k in range(10)]

    made = sp.plan(tiny_t5, sp.mpt(length=4, rank=1, task_ids=tasks))

    shared, own = 4 * 16, 4 * 1 + 1 * 16
    assert made.memory["task tensors"] == 4 * (shared + 10 * own)


def test_cached_states_take_the_encoder_out():
    late, cached = (
        sp.plan("small", sp.late_prompts(length=5), target_tokens=4, cached_states=cached) for cached in (False, True)
    )

    assert cached.step_operations < late.step_operations / 5
    assert cached.memory["activations kept"] == late.memory["activations kept"]
    assert cached.served_row_operations == late.served_row_operations


@pytest.mark.parametrize(("setting", "runs_encoder"), [("auto", False), ("off", True)])
def test_the_command_plans_late_prompts_on_cached_states_as_a_run_has_them(capsys, setting, runs_encoder):
    main(["plan", "small", f"training.cached_states={setting}", "--method", "late_prompts", "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["cached_states"] is not runs_encoder


def test_the_dtype_is_that_of_a_loaded_t5(tiny_t5_bfloat16):
    assert sp.plan(tiny_t5_bfloat16).settings["dtype"] == "bfloat16"


def test_micro_batches_keep_the_activations_of_their_rows():
    whole, parts, small = (
        sp.plan("small", batch_size=rows, micro_batch_size=micro) for rows, micro in ((32, None), (32, 4), (4, None))
    )

    assert parts.memory == small.memory
    assert parts.step_operations == whole.step_operations


# === What fits ===


def test_the_largest_batch_fits_and_one_row_more_does_not():
    limit = as_bytes("4GB")
    rows = sp.plan("base", memory=limit).fit.largest_batch

    assert sp.plan("base", batch_size=rows).total_bytes <= limit
    assert sp.plan("base", batch_size=rows + 1).total_bytes > limit


def test_remedies_fit():
    fit = sp.plan("base", memory="4GB").fit

    assert not fit.fits
    assert {remedy.change for remedy in fit.remedies} >= {"gradient checkpointing and bfloat16"}
    assert all(remedy.total_bytes <= fit.limit for remedy in fit.remedies)


def test_nothing_helps_where_the_weights_do_not_fit():
    fit = sp.plan("xxl", memory="8GB").fit

    assert (fit.largest_batch, fit.remedies) == (0, ())


def test_seconds_are_operations_by_the_rate():
    made = sp.plan("small", flops_per_second=1e12)

    assert made.seconds_per_step == pytest.approx(made.step_operations / 1e12)


def test_the_rate_is_measured(tiny_t5):
    assert 1e5 < measured_rate(form_of(tiny_t5)[1]) < 1e16


@pytest.mark.parametrize(
    ("value", "expected"), [("16GB", 16 * 10**9), ("24 GiB", 24 * 2**30), ("512m", 512 * 10**6), (1000, 1000)]
)
def test_bytes_are_read(value, expected):
    assert as_bytes(value) == expected


@pytest.mark.parametrize("value", ["", "0GB", "-1GB", "much", "16XB", True, 0])
def test_other_bytes_are_refused(value):
    with pytest.raises(ConfigError, match="such as 16GB"):
        as_bytes(value)


# === What is refused ===


@pytest.mark.parametrize(
    ("backbone", "settings", "error", "message"),
    [
        ("bse", {}, BackboneError, "Did you mean `base`"),
        ("base", {"method": "promt_tuning"}, ConfigError, "Did you mean `prompt_tuning`"),
        ("base", {"batch_size": 0}, ConfigError, "`batch_size` must be a whole number above 0"),
        ("base", {"dtype": "float16"}, ConfigError, "`dtype` must be one of float32, bfloat16"),
        ("base", {"flops_per_second": 0.0}, ConfigError, "`flops_per_second` must be a number above 0"),
        ("base", {"cached_states": True}, ConfigError, "`cached_states` are for methods that enter above"),
        ("base", {"devices": 25}, ConfigError, "Received: devices=25 for 24 layers"),
        ("base", {"devices": 2, "memory": "1GB"}, ConfigError, "`memory` is that of one device"),
    ],
    ids=["backbone", "method", "rows", "dtype", "rate", "cached states", "devices", "devices and memory"],
)
def test_mistakes_are_told(backbone, settings, error, message):
    with pytest.raises(error, match=message):
        sp.plan(backbone, **settings)


def test_an_unknown_t5_is_told_all_names_once():
    with pytest.raises(BackboneError) as raised:
        sp.plan("a_t5_of_mine")

    rule, names = str(raised.value).removesuffix(".").split(" Known: ")
    assert names.split(", ") == ["mini", *KNOWN_FORMS]
    assert rule.endswith("Received: 'a_t5_of_mine'.")


# === The command ===


def test_the_command_prints_json(capsys):
    status = main(["plan", "base", "prompt.length=100", "--batch-size", "8", "--memory", "1GB", "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert printed["trained"] == 100 * 768
    assert printed["memory"]["weights"] == 4 * PARAMETERS["t5_1.1_base"]
    assert printed["total_bytes"] == sum(printed["memory"].values())
    assert printed["fit"]["fits"] is False


def test_the_command_says_what_would_fit(capsys):
    main(["plan", "base", "--memory", "4GB", "--flops-per-second", "1e12"])

    printed = capsys.readouterr().out
    assert "base: 248 million parameters, float32" in printed
    assert "It does not fit into 4 GB" in printed
    assert "one training step, at least" in printed


@pytest.mark.parametrize(("optimizer", "slots"), [("adam", 2), ("schedule_free_adam", 3), ("prodigy", 4)])
def test_the_command_reads_the_config_of_a_run(optimizer, slots, tmp_path, capsys):
    task = {"name": "mood", "inputs": "{text}", "max_input_tokens": 64, "max_target_tokens": 4}
    config = {"backbone": "mini", "task": task, "prompt": {"method": "lora", "rank": 4}, "output_dir": "out"}
    (tmp_path / "run.yaml").write_text(json.dumps({**config, "training": {"batch_size": 5, "optimizer": optimizer}}))

    main(["plan", str(tmp_path / "run.yaml"), "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert printed["method"] == "lora"
    assert (
        printed["settings"] | {"batch_size": 5, "input_tokens": 64, "target_tokens": 4, "optimizer": optimizer}
        == (printed["settings"])
    )
    assert printed["memory"]["optimizer slots"] == slots * printed["memory"]["task tensors"]
