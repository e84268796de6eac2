"""Prompts of other tools: .npy files and PEFT adapter folders."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.errors import PromptError, PromptFileError
from softprompt_tf.methods import TaskPrompt, load_prompt, write_npy, write_peft_adapter

PROMPT = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def write_adapter(folder, rows, **changes):
    config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 5, "token_dim": 8}
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    (folder / "adapter_model.safetensors").write_bytes(safetensors.numpy.save({"prompt_embeddings": rows}))
    return folder


# === .npy ===


def test_a_npy_prompt_comes_back_with_empty_fields(tmp_path):
    write_npy(tmp_path / "sst2.npy", TaskPrompt(PROMPT, task_id="other", backbone="mini", labels=["a"]))

    again = load_prompt(tmp_path / "sst2.npy")

    np.testing.assert_array_equal(again.prompt, PROMPT)
    np.testing.assert_array_equal(np.load(tmp_path / "sst2.npy"), PROMPT)
    assert (again.task_id, again.backbone, again.backbone_fingerprint, again.labels) == ("sst2", "", "", ())


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_npy_prompt_of_any_floating_dtype_is_read(dtype, order, tmp_path):
    np.save(tmp_path / "p.npy", np.asarray(PROMPT, dtype, order=order))

    again = load_prompt(str(tmp_path / "p.npy")).prompt

    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, PROMPT.astype(dtype).astype(np.float32))


def test_a_npy_prompt_in_bfloat16_is_read(tmp_path):
    values = PROMPT.astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "sst2.npy", values)  # whose header says "two bytes"

    np.testing.assert_array_equal(load_prompt(tmp_path / "sst2.npy").prompt, values.astype(np.float32))


def test_the_ending_of_a_npy_file_may_be_in_capitals(tmp_path):
    write_npy(tmp_path / "p.npy", TaskPrompt(PROMPT)).rename(tmp_path / "P.NPY")

    np.testing.assert_array_equal(load_prompt(tmp_path / "P.NPY").prompt, PROMPT)


def test_a_npy_file_cut_anywhere_is_one_clear_line(tmp_path):
    content = write_npy(tmp_path / "p.npy", TaskPrompt(PROMPT)).read_bytes()

    for size in range(0, len(content), 11):
        (tmp_path / "cut.npy").write_bytes(content[:size])
        with pytest.raises(PromptFileError, match=r"cut\.npy must be a whole \.npy file\. Received: ") as caught:
            load_prompt(tmp_path / "cut.npy")
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")
def test_damaged_npy_headers_never_raise_anything_else(tmp_path):
    content = write_npy(tmp_path / "p.npy", TaskPrompt(PROMPT)).read_bytes()
    generator = np.random.default_rng(0)

    for _ in range(600):
        damaged = bytearray(content)
        damaged[generator.integers(128)] ^= 1 << generator.integers(8)
        (tmp_path / "damaged.npy").write_bytes(damaged)
        try:
            load_prompt(tmp_path / "damaged.npy")
        except PromptFileError as error:
            assert "damaged.npy" in str(error)
            assert "\n" not in str(error)


@pytest.mark.parametrize("header", ["-" * 9_000 + "1", "+".join(["1"] * 4_000), "(" * 9_000], ids=lambda text: text[:3])
def test_a_npy_header_that_is_nested_too_deep_is_one_clear_line(header, tmp_path):
    path = tmp_path / "deep.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())

    with pytest.raises(PromptFileError, match=r"deep\.npy must be a whole \.npy file\. Received: .+\.$"):
        load_prompt(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{"a": 1}], dtype=object), r"must be a whole \.npy file"),
        (np.ones(8, np.float32), r"must have the shape \[P, H\].*Received: shape \[8\].*File: .*p\.npy"),
        (np.ones((5, 8), np.int64), r"must be floating\. Received: dtype int64.*File: .*p\.npy"),
        (np.full((5, 8), np.nan, np.float32), r"must be finite.*File: .*p\.npy"),
    ],
    ids=["pickle", "rank", "dtype", "NaN"],
)
def test_a_npy_file_without_a_prompt_is_an_error(array, message, tmp_path):
    np.save(tmp_path / "p.npy", array, allow_pickle=True)

    with pytest.raises(PromptFileError, match=message):
        load_prompt(tmp_path / "p.npy")


def test_a_missing_npy_file_is_an_error(tmp_path):
    with pytest.raises(PromptFileError, match=r"Prompt file must exist\. Received: .*none\.npy"):
        load_prompt(tmp_path / "none.npy")


def test_write_npy_needs_the_ending(tmp_path):
    with pytest.raises(PromptFileError, match=r"`path` must end in \.npy\. Received: .*p\.bin"):
        write_npy(tmp_path / "p.bin", TaskPrompt(PROMPT))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["sst2", "mrpc", "rte"])
def test_published_prompts_are_read_as_numpy_reads_them(name, shared_data, tmp_path):
    path = shared_data / "t5" / "prompts" / f"{name}.npy"

    task_prompt = load_prompt(path)
    copy = write_npy(tmp_path / "copy.npy", task_prompt)

    assert (task_prompt.task_id, task_prompt.length, task_prompt.hidden_dim) == (name, 100, 768)
    np.testing.assert_array_equal(task_prompt.prompt, np.load(path))
    assert copy.read_bytes()[-100 * 768 * 4 :] == path.read_bytes()[-100 * 768 * 4 :]


# === PEFT ===


def test_a_peft_adapter_comes_back(tmp_path):
    task_prompt = TaskPrompt(PROMPT, task_id="other", backbone="google/t5-base-lm-adapt", labels=["a"])

    again = load_prompt(write_peft_adapter(tmp_path / "sst2", task_prompt, num_attention_heads=12, num_layers=12))

    np.testing.assert_array_equal(again.prompt, PROMPT)
    assert (again.task_id, again.backbone, again.labels) == ("sst2", "google/t5-base-lm-adapt", ())


def test_a_written_adapter_has_the_fields_of_peft(tmp_path):
    folder = write_peft_adapter(tmp_path / "sst2", TaskPrompt(PROMPT, backbone="mini"), num_layers=6)

    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = safetensors.numpy.load_file(folder / "adapter_model.safetensors")

    assert sorted(item.name for item in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert list(tensors) == ["prompt_embeddings"]
    expected = {
        "base_model_name_or_path": "mini",
        "inference_mode": True,
        "num_attention_heads": None,
        "num_layers": 6,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": 5,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "task_type": "SEQ_2_SEQ_LM",
        "token_dim": 8,
    }
    assert expected.items() <= config.items()


def test_the_second_half_of_a_two_submodule_adapter_is_left_out(tmp_path):
    rows = np.concatenate([PROMPT, PROMPT + 100])

    folder = write_adapter(tmp_path / "sst2", rows, num_transformer_submodules=2)

    np.testing.assert_array_equal(load_prompt(folder).prompt, PROMPT)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64], ids=["F16", "BF16", "F64"])
def test_an_adapter_of_any_floating_dtype_is_read(dtype, tmp_path):
    folder = write_adapter(tmp_path / "sst2", PROMPT.astype(dtype))

    np.testing.assert_array_equal(load_prompt(folder).prompt, PROMPT.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            PROMPT,
            {"peft_type": "LOHA"},
            r"sst2 must be of type PROMPT_TUNING or P_TUNING or PREFIX_TUNING or LORA or IA3\. Received: peft_type='LOHA'\. "
            r"PEFT can save it as LoRA: peft\.save_as_lora\.$",
        ),
        (PROMPT, {"peft_type": "ADALORA"}, r"Received: peft_type='ADALORA'\.$"),
        (PROMPT, {"peft_type": ["LORA"]}, r"Received: peft_type=\['LORA'\]"),
        (PROMPT, {"peft_type": {}}, r"Received: peft_type=\{\}"),
        (PROMPT, {"num_virtual_tokens": 4}, r"Received: num_virtual_tokens=4, .*tensor \[5, 8\]"),
        (PROMPT, {"num_virtual_tokens": None}, r"Received: num_virtual_tokens=None, .*tensor \[5, 8\]"),
        (PROMPT[0], {}, r"rows \[P, H\]\. Received: num_virtual_tokens=5, .*tensor \[8\]"),
        (PROMPT, {"num_transformer_submodules": 2}, r"num_transformer_submodules=2, tensor \[5, 8\]"),
        (np.tile(PROMPT, (2, 1)), {"num_transformer_submodules": 1}, r"num_transformer_submodules=1, tensor \[10, 8\]"),
        (PROMPT, {"token_dim": 16}, r"width that its config says\. Received: token_dim=16, tensor \[5, 8\]"),
        (
            PROMPT,
            {"task_type": "CAUSAL_LM"},
            r"encoder-decoder \(task_type SEQ_2_SEQ_LM\)\. Received: task_type='CAUSAL_LM'",
        ),
        (PROMPT, {"task_type": "SEQ_CLS"}, r"Received: task_type='SEQ_CLS'"),
        (PROMPT, {"modules_to_save": ["shared"]}, r"as they are\. Received: modules_to_save=\['shared'\]"),
        (PROMPT.astype(np.int32), {}, r"Received: dtype I32"),
        (PROMPT * np.nan, {}, r"must be finite.*File: .*sst2"),
    ],
    ids=[
        "type",
        "another type",
        "type is a list",
        "type is a mapping",
        "length",
        "no length",
        "rank",
        "submodules",
        "fewer submodules",
        "width",
        "task",
        "another task",
        "modules",
        "dtype",
        "NaN",
    ],
)
def test_an_adapter_of_another_kind_is_an_error(rows, changes, message, tmp_path):
    folder = write_adapter(tmp_path / "sst2", rows, **changes)

    with pytest.raises(PromptFileError, match=message):
        load_prompt(folder)


@pytest.mark.parametrize("submodules", [None, 1, 2])
def test_as_many_rows_as_submodules_say_are_read(submodules, tmp_path):
    rows = np.tile(PROMPT, (submodules or 2, 1))

    folder = write_adapter(tmp_path / "sst2", rows, num_transformer_submodules=submodules)

    np.testing.assert_array_equal(load_prompt(folder).prompt, PROMPT)


@pytest.mark.parametrize("names", [["base_model.shared.weight"], ["base_model.lm_head.weight", "lora_A"]])
def test_an_adapter_with_other_tensors_is_refused_by_their_names(names, tmp_path):
    folder = write_adapter(tmp_path / "sst2", PROMPT)
    tensors = {"prompt_embeddings": PROMPT} | dict.fromkeys(names, PROMPT)
    (folder / "adapter_model.safetensors").write_bytes(safetensors.numpy.save(tensors))

    with pytest.raises(PromptFileError, match=f"and no other. Received: also {', '.join(names)}[.]"):
        load_prompt(folder)


def test_the_task_id_of_the_working_directory_is_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_adapter(tmp_path / "sst2", PROMPT))

    assert load_prompt(".").task_id == "sst2"


def test_a_folder_without_an_adapter_config_is_an_error(tmp_path):
    with pytest.raises(PromptFileError, match=r"must hold adapter_config\.json\. Received: .*Name the \.safetensors"):
        load_prompt(tmp_path)

    (tmp_path / "prompt.safetensors").touch()  # as in the directory of a run
    with pytest.raises(PromptFileError, match=r"Did you mean `.*prompt\.safetensors`\?$"):
        load_prompt(tmp_path)


def test_a_folder_of_several_adapters_names_them(tmp_path):
    folders = [write_adapter(tmp_path / name, PROMPT) for name in ("rte", "sst2")]

    with pytest.raises(PromptFileError) as caught:
        load_prompt(tmp_path)

    assert str(caught.value).endswith(f"It holds folders of adapters. Did you mean `{folders[0]}` or `{folders[1]}`?")


def test_the_directory_of_a_model_is_no_prompt(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(PromptFileError, match=r"It holds a model and no prompt: a T5 is the backbone\.$"):
        load_prompt(tmp_path)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "adapter_model.bin"])
def test_a_file_of_an_adapter_names_its_folder(tmp_path, name):
    folder = write_adapter(tmp_path / "sst2", PROMPT)
    (folder / "adapter_model.bin").touch()

    with pytest.raises(PromptFileError, match=rf"by its folder\. Received: .*{name}\. Did you mean `{folder}`\?$"):
        load_prompt(folder / name)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000], ids=["cut", "list", "deep"])
def test_a_damaged_adapter_config_is_an_error(text, tmp_path):
    (tmp_path / "adapter_config.json").write_text(text)

    with pytest.raises(
        PromptFileError, match=r"adapter_config\.json must (be a JSON file|hold a JSON object)\. Received"
    ):
        load_prompt(tmp_path)


def test_a_config_that_an_editor_of_windows_has_written_is_read(tmp_path):
    folder = write_adapter(tmp_path / "sst2", PROMPT)
    text = json.dumps(json.loads((folder / "adapter_config.json").read_text()), indent=1)
    (folder / "adapter_config.json").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    np.testing.assert_array_equal(load_prompt(folder).prompt, PROMPT)


def test_an_adapter_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path, monkeypatch):
    folder = write_peft_adapter(tmp_path / "sst2", TaskPrompt(PROMPT))
    real_fsync, synced = os.fsync, []

    def fail(descriptor):
        synced.append(descriptor)
        if len(synced) > 1:
            raise OSError(28, "No space left on device")
        real_fsync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(PromptFileError, match="No space left"):
        patch.setattr(os, "fsync", fail)
        write_peft_adapter(folder, TaskPrompt(2 * PROMPT[:3]))

    np.testing.assert_array_equal(load_prompt(folder).prompt, PROMPT)


def test_a_pickled_adapter_is_never_read(tmp_path):
    folder = write_adapter(tmp_path / "sst2", PROMPT)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")

    with pytest.raises(PromptFileError, match=r"must hold adapter_model\.safetensors\. Received: .*safe_serialization"):
        load_prompt(folder)


def test_an_adapter_without_the_tensor_is_an_error(tmp_path):
    folder = write_adapter(tmp_path / "sst2", PROMPT)
    (folder / "adapter_model.safetensors").write_bytes(safetensors.numpy.save({"lora_A": PROMPT}))

    with pytest.raises(
        PromptFileError, match=r"must hold the tensor `prompt_embeddings`\. Received: tensors \['lora_A'"
    ):
        load_prompt(folder)


# === Tasks that are no prompt alone ===

KEY_VALUES = np.zeros((5, 2, 2, 3, 4), np.float32)


def test_a_task_without_a_prompt_is_no_npy_file(tmp_path):
    task_prompt = TaskPrompt(tensors={"cross_key_values": KEY_VALUES}, method="prefix_tuning")

    with pytest.raises(PromptError, match=r"the method prefix_tuning, with the tensors cross_key_values\."):
        write_npy(tmp_path / "p.npy", task_prompt)


@pytest.mark.parametrize(("write", "name"), [(write_npy, "p.npy"), (write_peft_adapter, "p")], ids=["npy", "peft"])
def test_a_prompt_is_not_written_without_the_tasks_other_tensors(write, name, tmp_path):
    task_prompt = TaskPrompt(PROMPT, tensors={"cross_key_values": KEY_VALUES}, method="both")

    message = r"holds a prompt alone\. Received: a task with cross_key_values too\. Write a \.safetensors file\."
    with pytest.raises(PromptFileError, match=message):
        write(tmp_path / name, task_prompt)
    assert list(tmp_path.iterdir()) == []
