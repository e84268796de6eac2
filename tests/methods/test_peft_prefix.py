"""PEFT's prefix adapters: which pair of keys and values which layer of the decoder has there, in both directions."""

import json

import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptFileError
from softprompt_tf.methods import TaskPrompt, check_backbone, load_prompt, write_peft_adapter

CONFIG = {
    "peft_type": "PREFIX_TUNING",
    "task_type": "SEQ_2_SEQ_LM",
    "num_virtual_tokens": 2,
    "num_layers": 4,
    "num_attention_heads": 3,
    "token_dim": 6,
    "num_transformer_submodules": 2,
    "prefix_projection": False,
}


def write_adapter(folder, rows, **changes):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "adapter_model.safetensors").write_bytes(safetensors.numpy.save({"prompt_embeddings": rows}))
    return folder


def numbered(num_layers):
    """Rows in which the value of pair l, key or value c, is 10 l + c in row 0 and 1000 more in row 1."""
    pairs = 10 * np.arange(num_layers)[:, None] + np.arange(2)  # [L, 2]
    row = np.repeat(pairs.reshape(-1), 6)  # [L * 2 * N * D]
    return np.stack([row, row + 1000]).astype(np.float32)


def told(task_prompt):
    """Return the keys and the values of each layer in row 0, which are one number each."""
    row = task_prompt.tensors["decoder_past_key_values"][0]
    return [[float(part.min()), float(part.max())] for layer in row for part in layer]


@pytest.mark.parametrize(
    ("num_layers", "pairs"),
    [(1, [0]), (2, [0, 0]), (3, [0, 2, 1]), (4, [0, 2, 0, 2]), (5, [0, 2, 4, 1, 3])],
)
def test_layer_i_has_pair_2i_modulo_the_layers(num_layers, pairs, tmp_path):
    folder = write_adapter(tmp_path / "rte", numbered(num_layers), num_layers=num_layers)

    task_prompt = load_prompt(folder)

    assert task_prompt.tensors["decoder_past_key_values"].shape == (2, num_layers, 2, 3, 2)
    assert told(task_prompt) == [[10 * pair + c] * 2 for pair in pairs for c in (0, 1)]
    np.testing.assert_array_equal(
        task_prompt.tensors["decoder_past_key_values"][1], task_prompt.tensors["decoder_past_key_values"][0] + 1000
    )


def test_heads_stand_behind_each_other_within_keys(tmp_path):
    rows = np.arange(2 * 4 * 2 * 6, dtype=np.float32).reshape(2, -1)

    task_prompt = load_prompt(write_adapter(tmp_path / "rte", rows))

    assert task_prompt.tensors["decoder_past_key_values"][0, 0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert task_prompt.tensors["decoder_past_key_values"][0, 1, 1].tolist() == [[30, 31], [32, 33], [34, 35]]


@pytest.mark.parametrize("submodules", [None, 2])
@pytest.mark.parametrize("projection", [False, True])
def test_what_is_known_of_a_prefix_is_read(submodules, projection, tmp_path):
    changes = {"num_transformer_submodules": submodules, "prefix_projection": projection, "encoder_hidden_size": 7}
    folder = write_adapter(tmp_path / "rte", numbered(4), base_model_name_or_path="t5-tiny", **changes)

    task_prompt = load_prompt(folder)

    assert (task_prompt.task_id, task_prompt.method, task_prompt.backbone) == ("rte", "prefix_tuning", "t5-tiny")
    assert (list(task_prompt.tensors), task_prompt.length) == (["decoder_past_key_values"], 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_transformer_submodules": 1}, r"encoder and decoder\. Received: num_transformer_submodules=1"),
        ({"num_layers": 3}, r"num_layers times 2 .*Received: num_virtual_tokens=2, num_layers=3, .*tensor \[2, 48\]"),
        ({"num_layers": None}, r"Received: num_virtual_tokens=2, num_layers=None"),
        (
            {"num_attention_heads": 4},
            r"multiple of num_attention_heads\. Received: .*num_attention_heads=4, token_dim=6",
        ),
        ({"num_virtual_tokens": 1}, r"Received: num_virtual_tokens=1"),
        ({"task_type": "CAUSAL_LM"}, r"encoder-decoder \(task_type SEQ_2_SEQ_LM\)"),
        ({"modules_to_save": ["shared"]}, r"Received: modules_to_save="),
    ],
    ids=["submodules", "layers", "no layers", "heads", "rows", "task", "modules"],
)
def test_a_prefix_that_does_not_fit_is_refused(changes, message, tmp_path):
    folder = write_adapter(tmp_path / "rte", numbered(4), **changes)

    with pytest.raises(PromptFileError, match=message):
        load_prompt(folder)


def test_a_prefix_of_more_layers_than_the_decoder_says_what_to_do(tmp_path):
    task = load_prompt(write_adapter(tmp_path / "rte", numbered(4)))
    sizes = BackboneSizes(hidden_dim=8, encoder_layers=4, decoder_layers=1, num_heads=3, head_dim=2)

    with pytest.raises(
        BackboneMismatchError, match=r"\[P, 1, 2, 3, 2\]\)\. If .* the encoder's layers, cut its layers to 1\.$"
    ):
        check_backbone(task, backbone="t5", fingerprint="f", hidden_dim=8, tokenizer_fingerprint="t", sizes=sizes)


# === Writing ===


def prefix(num_layers, **tensors):
    """A task whose layers i and i + L / 2 have the same keys and values, where L is even."""
    values = np.random.default_rng(0).normal(size=(2, num_layers, 2, 3, 2)).astype(np.float32)
    if num_layers % 2 == 0:
        values[:, num_layers // 2 :] = values[:, : num_layers // 2]
    return TaskPrompt(
        tensors={"decoder_past_key_values": values, **tensors}, method="prefix_tuning", backbone="t5-tiny"
    )


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4, 5, 6])
def test_a_written_prefix_comes_back(num_layers, tmp_path):
    task_prompt = prefix(num_layers)

    again = load_prompt(write_peft_adapter(tmp_path / "rte", task_prompt))

    np.testing.assert_array_equal(
        again.tensors["decoder_past_key_values"], task_prompt.tensors["decoder_past_key_values"]
    )
    assert (again.method, again.backbone) == ("prefix_tuning", "t5-tiny")


def test_a_written_prefix_has_the_fields_of_peft(tmp_path):
    folder = write_peft_adapter(tmp_path / "rte", prefix(4))

    config = json.loads((folder / "adapter_config.json").read_text())

    assert (CONFIG | {"base_model_name_or_path": "t5-tiny", "inference_mode": True}).items() <= config.items()


def test_keys_of_the_encoder_cannot_be_written(tmp_path):
    task_prompt = prefix(2, encoder_key_values=np.zeros((2, 2, 2, 3, 2), np.float32))

    message = r"only the decoder's self-attention in PEFT\. Received: a task with encoder_key_values\. Write a \.saf"
    with pytest.raises(PromptFileError, match=message):
        write_peft_adapter(tmp_path / "rte", task_prompt)
    assert not (tmp_path / "rte").exists()


@pytest.mark.parametrize("num_layers", [2, 4, 6])
def test_layers_that_differ_are_written_for_one_layer_more(num_layers, tmp_path):
    values = np.random.default_rng(1).normal(size=(2, num_layers, 2, 3, 2)).astype(np.float32)
    task_prompt = TaskPrompt(tensors={"decoder_past_key_values": values}, method="prefix_tuning")

    folder = write_peft_adapter(tmp_path / "rte", task_prompt)

    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["num_layers"], config["token_dim"]) == (num_layers + 1, 6)
    rows = safetensors.numpy.load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
    pairs = rows.reshape(2, num_layers + 1, 2, 3, 2)
    for layer in range(num_layers):  # what PEFT gives it
        np.testing.assert_array_equal(pairs[:, 2 * layer % (num_layers + 1)], values[:, layer])
    np.testing.assert_array_equal(load_prompt(folder).tensors["decoder_past_key_values"], values)
