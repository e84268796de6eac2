"""The prompt file: round trips, and every way in which a file can be wrong."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptError, PromptFileError
from softprompt_tf.methods import TaskPrompt, check_backbone, load_prompt, write_prompt
from softprompt_tf.version import __version__

PROMPT = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
FULL = TaskPrompt(
    prompt=PROMPT,
    task_id="sst2",
    backbone="mini",
    backbone_fingerprint="b1",
    tokenizer_fingerprint="t1",
    template="sst2 sentence: {sentence} \N{WHITE SMILING FACE}\n",
    labels=("négatif", "positif"),
    max_input_tokens=128,
    max_target_tokens=4,
    target_format="sentinel",
    metrics={"accuracy": 0.1 + 0.2, "loss": float("nan")},
    training_config={"training": {"steps": 1500, "learning_rate": 0.3}, "seed": None},
)
KEY_VALUES = np.random.default_rng(1).normal(size=(5, 3, 2, 2, 4)).astype(np.float32)
PREFIX = TaskPrompt(
    tensors={"cross_key_values": KEY_VALUES[:, :1], "encoder_key_values": KEY_VALUES},
    task_id="rte",
    method="prefix_tuning",
    backbone="mini",
)
FIELDS = [name for name in TaskPrompt.__dataclass_fields__ if name not in ("tensors", "metrics", "library_version")]


def write_raw(path, tensors, **metadata):
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"format": "softprompt-tf/1", **metadata}))
    return path


# === What is kept ===


@pytest.mark.parametrize("task_prompt", [FULL, TaskPrompt(PROMPT)], ids=["full", "bare"])
def test_a_prompt_comes_back_as_it_was(task_prompt, tmp_path):
    path = write_prompt(tmp_path / "sst2.safetensors", task_prompt)

    again = load_prompt(path)

    np.testing.assert_array_equal(again.prompt, task_prompt.prompt)
    for name in FIELDS:
        assert getattr(again, name) == getattr(task_prompt, name), name
    assert repr(again.metrics) == repr(task_prompt.metrics)  # as text, since NaN differs from itself
    assert again.library_version == __version__


def test_the_file_is_plain_safetensors_with_string_metadata(tmp_path):
    write_prompt(tmp_path / "sst2.safetensors", FULL)

    with safe_open(tmp_path / "sst2.safetensors", framework="np") as file:
        metadata, tensors = file.metadata(), list(file.keys())

    assert tensors == ["prompt"]
    assert metadata["format"] == "softprompt-tf/2"
    assert metadata["template"] == FULL.template
    assert json.loads(metadata["labels"]) == ["négatif", "positif"]
    assert json.loads(metadata["max_input_tokens"]) == 128
    assert set(metadata) == {"format", "library_version", "metrics", *FIELDS}


def test_a_file_without_a_target_format_is_of_plain_text(tmp_path):
    path = write_raw(tmp_path / "old.safetensors", {"prompt": PROMPT}, task_id="sst2")

    assert load_prompt(path).target_format == "text"


def test_a_file_of_an_unknown_target_format_is_an_error(tmp_path):
    path = write_raw(tmp_path / "new.safetensors", {"prompt": PROMPT}, target_format="prefix")

    message = (
        r"`target_format` must be one of text, sentinel\. Received: target_format='prefix'\. File: .*new.safetensors"
    )
    with pytest.raises(PromptFileError, match=message):
        load_prompt(path)


def test_a_prompt_file_is_replaced_and_nothing_else_is_left(tmp_path):
    write_prompt(tmp_path / "a" / "sst2.safetensors", FULL)
    write_prompt(tmp_path / "a" / "sst2.safetensors", TaskPrompt(PROMPT + 1))

    np.testing.assert_array_equal(load_prompt(tmp_path / "a" / "sst2.safetensors").prompt, PROMPT + 1)
    assert [item.name for item in (tmp_path / "a").iterdir()] == ["sst2.safetensors"]


def test_a_prompt_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_prompt(tmp_path / "sst2.safetensors", FULL)

    assert (tmp_path / "sst2.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_transposed_view_is_written_in_its_own_order(tmp_path):
    write_prompt(tmp_path / "sst2.safetensors", TaskPrompt(PROMPT.T))

    np.testing.assert_array_equal(load_prompt(tmp_path / "sst2.safetensors").prompt, PROMPT.T)


# === Other tensors than a prompt ===


def test_named_tensors_come_back_as_they_were(tmp_path):
    path = write_prompt(tmp_path / "p.safetensors", PREFIX)

    again = load_prompt(path)

    assert again.method == "prefix_tuning"
    assert list(again.tensors) == ["encoder_key_values", "cross_key_values"]
    for name, value in PREFIX.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], value)


def test_the_file_holds_each_tensor_under_its_name(tmp_path):
    write_prompt(tmp_path / "p.safetensors", PREFIX)

    with safe_open(tmp_path / "p.safetensors", framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118

    assert shapes == {"encoder_key_values": [5, 3, 2, 2, 4], "cross_key_values": [5, 1, 2, 2, 4]}


@pytest.mark.parametrize(
    ("tensors", "method", "message"),
    [
        (
            {"prompt": PROMPT, "decoder_keys_values": KEY_VALUES},
            "prefix_tuning",
            r"known names\. Received: `decoder_keys_values`\. Did you mean `decoder_key_values`\?",
        ),
        (
            {"encoder_key_values": KEY_VALUES},
            "prompt_tuning",
            r"method prompt_tuning has the tensors: prompt and any of prompt_sight\. Received: encoder_key_values\.",
        ),
        (
            {"prompt": PROMPT, "cross_key_values": KEY_VALUES},
            "prompt_tuning",
            r"method prompt_tuning has the tensors: prompt and any of prompt_sight\. Received: prompt, cross_key_values\.",
        ),
        ({}, "prefix_tuning", r"method prefix_tuning has the tensors: any of prompt, .*\. Received: none\."),
        (
            {"encoder_key_values": KEY_VALUES, "cross_key_values": KEY_VALUES[:3]},
            "prefix_tuning",
            r"equally many rows\. Received: encoder_key_values 5, cross_key_values 3\.",
        ),
        (
            {"encoder_key_values": KEY_VALUES[:, :, :1]},
            "prefix_tuning",
            r"`encoder_key_values` must have the shape \[P, L, 2, N, D\].*Received: shape \[5, 3, 1, 2, 4\]",
        ),
        (
            {"encoder_key_values": KEY_VALUES[:, 0]},
            "prefix_tuning",
            r"the shape \[P, L, 2, N, D\].*Received: shape \[5, 2, 2, 4\]",
        ),
        (
            {"cross_key_values": np.where(np.arange(5)[:, None, None, None, None] == 3, np.inf, KEY_VALUES)},
            "prefix_tuning",
            r"`cross_key_values` must be finite\. Received: .* in 1 of 5 rows, the first in row 3\.",
        ),
    ],
    ids=["unknown", "missing", "too many", "none", "rows", "no pair", "rank", "infinite"],
)
def test_a_file_of_wrong_tensors_is_refused_with_their_names(tensors, method, message, tmp_path):
    values = {name: value.astype(np.float32) for name, value in tensors.items()}
    path = write_raw(tmp_path / "p.safetensors", values, format="softprompt-tf/2", method=method)

    with pytest.raises(PromptFileError, match=rf"{message}.* File: .*p\.safetensors"):
        load_prompt(path)


def test_a_named_tensor_of_another_dtype_is_an_error(tmp_path):
    values = {"encoder_key_values": KEY_VALUES.astype(np.float16)}
    path = write_raw(tmp_path / "p.safetensors", values, format="softprompt-tf/2", method="prefix_tuning")

    with pytest.raises(PromptFileError, match=r"`encoder_key_values` of .* must have the dtype F32.*: dtype F16"):
        load_prompt(path)


# === A file of the format before ===


def test_a_file_of_format_1_is_read_as_it_was_written():
    again = load_prompt(Path(__file__).parent / "older" / "of_format_1.safetensors")

    assert again.prompt.tolist() == [[0.5, -1.25, 2.0], [3.0, 0.0, -0.0625]]
    assert list(again.tensors) == ["prompt"]
    assert {name: getattr(again, name) for name in (*FIELDS, "metrics", "library_version")} == {
        "task_id": "sst2",
        "method": "prompt_tuning",
        "backbone": "mini",
        "backbone_fingerprint": "b1",
        "tokenizer_fingerprint": "t1",
        "backbone_hidden_dim": None,
        "template": "sst2 sentence: {sentence}",
        "labels": ("négatif", "positif"),
        "max_input_tokens": 128,
        "max_target_tokens": 4,
        "target_format": "sentinel",
        "metrics": {"accuracy": 0.75},
        "training_config": {"seed": 3},
        "library_version": "0.1.0",
    }


# === Never half a file ===


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_other(call, tmp_path, monkeypatch):
    path = write_prompt(tmp_path / "sst2.safetensors", FULL)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(PromptFileError, match=r"sst2\.safetensors cannot be written\..*No space left.* is kept"):
            write_prompt(path, TaskPrompt(PROMPT + 1))

    np.testing.assert_array_equal(load_prompt(path).prompt, PROMPT)
    assert [item.name for item in tmp_path.iterdir()] == ["sst2.safetensors"]


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_prompt(tmp_path / "sst2.safetensors", FULL)

    assert list(tmp_path.iterdir()) == []


def test_the_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), real_fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), real_replace(*paths)))

    write_prompt(tmp_path / "sst2.safetensors", FULL)

    assert calls == ["fsync", "replace", "fsync"]  # the file, the rename, the directory


def test_values_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path):
    task_prompt = TaskPrompt(PROMPT, training_config={"callback": object()})

    with pytest.raises(PromptError, match="`training_config` must hold JSON values only. Received: Object of type"):
        write_prompt(tmp_path / "sst2.safetensors", task_prompt)

    assert list(tmp_path.iterdir()) == []


def test_a_name_with_another_ending_is_refused(tmp_path):
    with pytest.raises(PromptFileError, match=r"`path` must end in \.safetensors\. Received: .*sst2\.bin"):
        write_prompt(tmp_path / "sst2.bin", FULL)


# === What cannot be read ===


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(PromptFileError, match=r"Prompt file must exist\. Received: .*none\.safetensors"):
        load_prompt(tmp_path / "none.safetensors")


def test_a_file_cut_anywhere_is_one_clear_line(tmp_path):
    content = write_prompt(tmp_path / "sst2.safetensors", FULL).read_bytes()
    path = tmp_path / "cut.safetensors"

    for size in {0, 1, 7, 8, 9, len(content) - 1, *range(0, len(content), 37)}:
        path.write_bytes(content[:size])
        with pytest.raises(PromptFileError, match="must be a whole safetensors file. Received: ") as caught:
            load_prompt(path)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_never_raise_anything_else(tmp_path):
    content = write_prompt(tmp_path / "sst2.safetensors", FULL).read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.safetensors"

    for _ in range(300):
        damaged = bytearray(content)
        damaged[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            assert load_prompt(path).prompt.shape == (5, 8)
        except PromptFileError as error:
            assert "damaged.safetensors" in str(error)


def test_a_file_of_another_kind_is_an_error(tmp_path):
    (tmp_path / "prompt.bin").write_bytes(b"\x80\x04" + b"not a prompt" * 10)

    with pytest.raises(PromptFileError, match=r"whole safetensors file.*pickle files \(\.bin, \.pt\) are never read"):
        load_prompt(tmp_path / "prompt.bin")


@pytest.mark.parametrize(
    ("tag", "hint"),
    [("softprompt-tf/3", "another version"), ("pt", "not a prompt file of this library"), ("", "not a prompt file")],
)
def test_another_format_tag_is_an_error(tag, hint, tmp_path):
    path = write_raw(tmp_path / "p.safetensors", {"prompt": PROMPT}, format=tag)

    with pytest.raises(PromptFileError, match=rf"the format 'softprompt-tf/2'\. Received: format='{tag}'\..*{hint}"):
        load_prompt(path)


def test_a_file_without_metadata_is_an_error(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(safetensors.numpy.save({"prompt": PROMPT}))

    with pytest.raises(PromptFileError, match="Received: format=None. It is not a prompt file"):
        load_prompt(tmp_path / "p.safetensors")


def test_a_second_tensor_is_an_error_and_not_dropped(tmp_path):
    path = tmp_path / "p.safetensors"
    write_raw(path, {"prompt": PROMPT, "head": PROMPT})

    with pytest.raises(PromptFileError, match=r"`prompt` and no other\. Received: also head\."):
        load_prompt(path)


def test_a_missing_tensor_is_an_error(tmp_path):
    path = write_raw(tmp_path / "p.safetensors", {"weight": PROMPT})

    with pytest.raises(PromptFileError, match=r"must hold the tensor `prompt`\. Received: tensors \['weight'\]"):
        load_prompt(path)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_a_tensor_of_another_dtype_is_an_error(dtype, tmp_path):
    path = write_raw(tmp_path / "p.safetensors", {"prompt": PROMPT.astype(dtype)})

    with pytest.raises(PromptFileError, match=r"must have the dtype F32\. Received: dtype [FI]\d\d"):
        load_prompt(path)


@pytest.mark.parametrize("shape", [(40,), (1, 5, 8), (0, 8)], ids=str)
def test_a_tensor_of_another_rank_is_an_error(shape, tmp_path):
    path = write_raw(tmp_path / "p.safetensors", {"prompt": np.zeros(shape, np.float32)})

    with pytest.raises(
        PromptFileError, match=r"must have the shape \[P, H\].*Received: shape .*File: .*p\.safetensors"
    ):
        load_prompt(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_an_error(value, tmp_path):
    prompt = PROMPT.copy()
    prompt[3, 2] = prompt[4, 0] = value
    path = write_raw(tmp_path / "p.safetensors", {"prompt": prompt})

    with pytest.raises(
        PromptFileError, match=r"must be finite\..* in 2 of 5 rows, the first in row 3\. File: .*p\.saf"
    ):
        load_prompt(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"labels": "[oops"}, r"Metadata `labels` of prompt file .* must be JSON"),
        ({"labels": '"positive"'}, r"`labels` of prompt file .* has the wrong type\. Received: labels=\"positive\""),
        ({"labels": "[1]"}, r"`labels` must be a sequence of strings.*File: "),
        ({"max_input_tokens": "1.5"}, r"`max_input_tokens` of prompt file .* has the wrong type"),
        ({"metrics": '{"accuracy": "high"}'}, r"`metrics` must hold numbers.*File: "),
        ({"training_config": "[]"}, r"`training_config` of prompt file .* has the wrong type"),
        ({"training_config": '{"a":' * 100_000}, r"Metadata `training_config` of prompt file .* must be JSON"),
        ({"metrics": f'{{"accuracy": 1{"0" * 400}}}'}, r"`metrics` must hold numbers.*File: "),
        (
            {"max_target_tokens": "-5"},
            r"`max_target_tokens` must be a whole number from 1 to 2147483647, .*=-5\. File: ",
        ),
        (
            {"max_input_tokens": "0"},
            r"`max_input_tokens` must be a whole number from 1.*Received: max_input_tokens=0\.",
        ),
        ({"max_input_tokens": "1099511627776"}, r"`max_input_tokens` must be a whole number from 1 to 2147483647"),
        ({"backbone_hidden_dim": "true"}, r"`backbone_hidden_dim` must be a whole number from 1.*=True"),
        ({"labels": r'["\ud800"]'}, r"`labels` must be valid Unicode\. Received: labels='\\ud800'\. File: "),
    ],
)
def test_damaged_metadata_is_an_error(metadata, message, tmp_path):
    path = write_raw(tmp_path / "p.safetensors", {"prompt": PROMPT}, **metadata)

    with pytest.raises(PromptFileError, match=message):
        load_prompt(path)


# === TaskPrompt ===


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_task_prompt_is_a_read_only_float32_copy(dtype):
    array = np.ones((2, 3), dtype)
    task_prompt = TaskPrompt(array)

    array[:] = 5

    assert task_prompt.prompt.dtype == np.float32
    assert (task_prompt.length, task_prompt.hidden_dim) == (2, 3)
    assert task_prompt.prompt.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        task_prompt.prompt[0, 0] = 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": np.ones((2, 3, 4))}, r"\[P, H\], one task's rows\. Received: shape \[2, 3, 4\]"),
        ({"prompt": np.ones((2, 3), int)}, r"`prompt` must be floating\. Received: dtype int64"),
        ({"prompt": np.full((2, 3), 1e300)}, r"`prompt` must be finite"),
        ({"prompt": PROMPT, "task_id": None}, r"`task_id` must be a string\. Received: task_id=None"),
        ({"prompt": PROMPT, "labels": "positive"}, r"`labels` must be a sequence of strings"),
        ({"prompt": PROMPT, "labels": None}, r"`labels` must be a sequence of strings\. Received: labels=None"),
        ({"prompt": PROMPT, "labels": {"a", "b"}}, r"`labels` must be a sequence of strings\. Received: labels=\{"),
        ({"prompt": PROMPT, "labels": {"a": 1}}, r"`labels` must be a sequence of strings\. Received: labels=\{"),
        ({"prompt": PROMPT, "metrics": [0.5]}, r"`metrics` must map names to numbers\. Received: metrics=\[0\.5\]"),
        ({"prompt": PROMPT, "metrics": None}, r"`metrics` must map names to numbers\. Received: metrics=None"),
        ({"prompt": PROMPT, "training_config": [1]}, r"`training_config` must be a mapping\. Received: \[1\]"),
        ({"prompt": PROMPT, "task_id": "a\ud800"}, r"`task_id` must be valid Unicode\. Received: task_id='a\\ud800'"),
        ({"prompt": np.array(1.0)}, r"`prompt` must have the shape \[P, H\].*Received: shape \[\]"),
        (
            {"prompt": PROMPT, "tensors": {"mixture_weight": np.array(1.0)}},
            r"`mixture_weight` must have the shape \[1, 1\].*Received: shape \[\]",
        ),
        ({"tensors": [PROMPT]}, r"`tensors` must map names to arrays\. Received: list\."),
        ({"tensors": {"promt": PROMPT}}, r"`promt`\. Did you mean `prompt`\?"),
    ],
)
def test_a_task_prompt_refuses_what_no_file_could_hold(fields, message):
    with pytest.raises(PromptError, match=message):
        TaskPrompt(**fields)


def test_labels_may_come_from_an_iterator_and_counts_from_numpy(tmp_path):
    task = TaskPrompt(PROMPT, labels=iter(["yes", "no"]), max_input_tokens=np.int64(64))

    again = load_prompt(write_prompt(tmp_path / "p.safetensors", task))

    assert (task.labels, again.labels) == (("yes", "no"), ("yes", "no"))
    assert again.max_input_tokens == 64


def test_a_task_without_a_prompt_names_its_method_and_its_tensors():
    message = (
        r"This needs a prompt's rows \[P, H\]\. Received: Prompt 'rte' of the method prefix_tuning, with the tensors "
        r"encoder_key_values, cross_key_values\. Use a prompt of prompt_tuning\."
    )
    for name in ("prompt", "hidden_dim"):
        with pytest.raises(PromptError, match=message):
            getattr(PREFIX, name)


def test_the_length_of_a_task_is_the_rows_of_its_tensors():
    assert PREFIX.length == 5
    assert TaskPrompt(PROMPT[:2], tensors=PREFIX.tensors, method="both").length == 2


def test_replacing_the_prompt_replaces_the_tensor():
    other = dataclasses.replace(FULL, prompt=PROMPT + 1)

    np.testing.assert_array_equal(other.tensors["prompt"], PROMPT + 1)
    assert other.labels == FULL.labels


def test_replacing_the_tensors_replaces_all_of_them():
    tensors = {"decoder_key_values": KEY_VALUES}
    other = dataclasses.replace(FULL, tensors=tensors, method="prefix_tuning")

    assert list(other.tensors) == ["decoder_key_values"]
    assert other.template == FULL.template


def test_replacing_a_field_leaves_the_tensors():
    other = dataclasses.replace(PREFIX, labels=("yes", "no"))

    assert list(other.tensors) == ["encoder_key_values", "cross_key_values"]
    np.testing.assert_array_equal(other.tensors["encoder_key_values"], KEY_VALUES)


def test_named_tensors_are_read_only_copies():
    values = {"encoder_key_values": KEY_VALUES.copy()}
    task_prompt = TaskPrompt(tensors=values, method="prefix_tuning")

    values["encoder_key_values"][:] = 5

    np.testing.assert_array_equal(task_prompt.tensors["encoder_key_values"], KEY_VALUES)
    with pytest.raises(ValueError, match="read-only"):
        task_prompt.tensors["encoder_key_values"][0] = 2


def test_a_task_prompt_can_be_pickled():
    again = pickle.loads(pickle.dumps(PREFIX))

    np.testing.assert_array_equal(again.tensors["cross_key_values"], KEY_VALUES[:, :1])


# === The backbone ===

FITTING = {"backbone": "mini", "fingerprint": "b1", "hidden_dim": 8, "tokenizer_fingerprint": "t1"}


def test_the_same_backbone_is_accepted_under_any_name():
    check_backbone(FULL, **FITTING | {"backbone": "a local copy"})


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        (
            {"backbone": "t5_v1_1_small", "hidden_dim": 512, "fingerprint": "b2"},
            r"^Prompt 'sst2' was made for mini \(H=8\)\. Received: model t5_v1_1_small \(H=512\)\. Train a new",
        ),
        (
            {"backbone": "mini-2", "fingerprint": "b2"},
            r"made for mini \(fingerprint b1\)\. Received: model mini-2 \(fingerprint b2\)\. Train a new prompt or",
        ),
        (
            {"tokenizer_fingerprint": "t2"},
            r"another tokenizer \(fingerprint t1\)\. Received: model mini with tokenizer fingerprint t2",
        ),
    ],
    ids=["width", "weights", "tokenizer"],
)
def test_another_backbone_is_refused_with_both_names(difference, message):
    with pytest.raises(BackboneMismatchError, match=message):
        check_backbone(FULL, **FITTING | difference)


def test_a_prompt_without_fingerprints_is_checked_by_its_width():
    bare = TaskPrompt(PROMPT)

    check_backbone(bare, **FITTING)
    with pytest.raises(
        BackboneMismatchError, match=r"The prompt was made for an unnamed backbone \(H=8\)\. Received: mod"
    ):
        check_backbone(bare, **FITTING | {"hidden_dim": 16})


SIZES = BackboneSizes(hidden_dim=8, encoder_layers=3, decoder_layers=1, num_heads=2, head_dim=4)


def test_keys_and_values_of_the_backbones_sizes_are_accepted():
    check_backbone(PREFIX, **FITTING, sizes=SIZES)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"encoder_layers": 4},
            r"mini \(encoder_key_values \[P, 3, 2, 2, 4\]\)\. Received: model other \(.*\[P, 4, 2, 2, 4\]",
        ),
        (
            {"decoder_layers": 2},
            r"mini \(cross_key_values \[P, 1, 2, 2, 4\]\)\. Received: model other \(.*\[P, 2, 2, 2, 4\]",
        ),
        (
            {"head_dim": 6},
            r"mini \(encoder_key_values \[P, 3, 2, 2, 4\]\)\. Received: model other \(.*\[P, 3, 2, 2, 6\]",
        ),
    ],
    ids=["encoder", "decoder", "head"],
)
def test_keys_and_values_of_other_sizes_are_refused_with_both(sizes, message):
    with pytest.raises(BackboneMismatchError, match=rf"^Prompt 'rte' was made for {message}\)\. Train a new"):
        check_backbone(PREFIX, **FITTING | {"backbone": "other"}, sizes=dataclasses.replace(SIZES, **sizes))


def test_without_sizes_keys_and_values_are_checked_by_the_fingerprint():
    check_backbone(PREFIX, **FITTING)
    with pytest.raises(BackboneMismatchError, match=r"fingerprint b1\).*fingerprint b2"):
        check_backbone(dataclasses.replace(PREFIX, backbone_fingerprint="b1"), **FITTING | {"fingerprint": "b2"})


def test_one_prompt_is_always_the_same_file(tmp_path):
    tensors = {"prompt": np.ones((2, 3), np.float32), "label_rows": np.zeros((2, 3), np.float32)}
    prompt = TaskPrompt(
        tensors=tensors, method="warp", task_id="\u00e9t\u00e9", labels=("x", "y"), metrics={"b": 1.0, "a": 0.5}
    )

    files = [write_prompt(tmp_path / f"{k}.safetensors", prompt).read_bytes() for k in range(8)]

    assert len(set(files)) == 1
    length = int.from_bytes(files[0][:8], "little")
    assert length % 8 == 0
    assert list(json.loads(files[0][8 : 8 + length])["__metadata__"])[:2] == ["backbone", "backbone_fingerprint"]
    again = load_prompt(tmp_path / "0.safetensors")
    assert (again.task_id, again.labels, again.metrics) == ("\u00e9t\u00e9", ("x", "y"), {"b": 1.0, "a": 0.5})
    for name, value in tensors.items():
        np.testing.assert_array_equal(again.tensors[name], value)
