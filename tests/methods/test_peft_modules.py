"""PEFT adapters that change modules of a T5: what is read of them and written, and what is refused by its name."""

import dataclasses
import json
import math

import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptFileError
from softprompt_tf.methods import TaskPrompt, check_backbone, load_prompt, write_peft_adapter, write_prompt

HIDDEN, INNER = 6, 8  # H and N * D, which differ
ATTENTIONS = {
    "encoder": ("encoder", 0, "SelfAttention"),
    "decoder": ("decoder", 0, "SelfAttention"),
    "cross": ("decoder", 1, "EncDecAttention"),
}
LAYERS = {"encoder": 3, "decoder": 2}


def module(place, layer, part):
    stack, number, block = ATTENTIONS[place]
    return f"{stack}.block.{layer}.layer.{number}.{block}.{part}"


def lora_tensors(modules, rank=2, ranks=None):
    """Return drawn matrices A and B of modules by PEFT's names."""
    rng, tensors = np.random.default_rng(3), {}
    for name in modules:
        width_in, width_out = (INNER, HIDDEN) if name.endswith(".o") else (HIDDEN, INNER)
        count = (ranks or {}).get(name, rank)
        tensors[f"base_model.model.{name}.lora_A.weight"] = rng.normal(size=(count, width_in)).astype(np.float32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = rng.normal(size=(width_out, count)).astype(np.float32)
    return tensors


def all_modules(parts="qv", places=ATTENTIONS):
    return [
        module(place, layer, part)
        for place in places
        for layer in range(LAYERS["encoder" if place == "encoder" else "decoder"])
        for part in parts
    ]


def write_adapter(folder, tensors, **changes):
    config = {"peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": 2, "lora_alpha": 5, "target_modules": ["q", "v"]}
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    (folder / "adapter_model.safetensors").write_bytes(safetensors.numpy.save(tensors))
    return folder


def delta(tensors, name, scale):
    """Return what is added to a projection, [F_in, F_out]."""
    down, up = (tensors[f"base_model.model.{name}.lora_{which}.weight"].astype(np.float64) for which in "AB")
    return scale * (up @ down).T


def added(task, name, layer, width_in):
    rows = task.tensors[name][:, layer].astype(np.float64)
    return rows[:, :width_in].T @ rows[:, width_in:]


# === LoRA is read ===


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 2.5), ({"use_rslora": True}, 5 / math.sqrt(2)), ({"bias": "lora_only"}, 2.5)]
)
def test_each_projection_gets_what_peft_adds_to_it(tmp_path, settings, scale):
    tensors = lora_tensors(all_modules("qvo"))

    task = load_prompt(write_adapter(tmp_path / "film", tensors, target_modules=["q", "v", "o"], **settings))

    assert (task.method, task.task_id, task.length, task.backbone_hidden_dim) == ("lora", "film", 2, HIDDEN)
    assert len(task.tensors) == 9
    for place in ATTENTIONS:
        for part, projection, width in (("q", "query", HIDDEN), ("v", "value", HIDDEN), ("o", "output", INNER)):
            name = f"{place}_{projection}_delta"
            assert task.tensors[name].shape == (
                2,
                LAYERS["encoder" if place == "encoder" else "decoder"],
                HIDDEN + INNER,
            )
            expected = delta(tensors, module(place, 1, part), scale)
            np.testing.assert_allclose(added(task, name, 1, width), expected, rtol=1e-5)


def test_modules_of_their_own_rank_and_alpha_keep_both(tmp_path):
    special = module("decoder", 1, "q")
    tensors = lora_tensors(all_modules(), ranks={special: 3})
    patterns = {
        "rank_pattern": {r"decoder.block.1.layer.0.SelfAttention.q": 3},
        "alpha_pattern": {"v": 7, "SelfAttention.q": 4},
    }

    task = load_prompt(write_adapter(tmp_path / "film", tensors, **patterns))

    assert task.tensors["decoder_query_delta"].shape[0] == 3
    np.testing.assert_array_equal(task.tensors["decoder_query_delta"][2, 0], 0)  # the other layer has two
    for name, at, scale in (("query", "q", 4 / 3), ("value", "v", 7 / 2)):
        expected = delta(tensors, module("decoder", 1, at), scale)
        np.testing.assert_allclose(added(task, f"decoder_{name}_delta", 1, HIDDEN), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("modules", "settings"),
    [
        (
            [module("encoder", 1, "q"), module("encoder", 1, "v")],
            {"layers_to_transform": [1], "exclude_modules": r"decoder.*"},
        ),
        (
            [module("encoder", 1, "q"), module("encoder", 1, "v")],
            {
                "layers_to_transform": 1,
                "layers_pattern": "block",
                "exclude_modules": ["EncDecAttention.q", *all_modules(places=["decoder", "cross"])],
            },
        ),
        ([module("encoder", 1, "q"), module("encoder", 1, "v")], {"target_modules": r"encoder.*block\.1.*\.(q|v)"}),
        ([module("encoder", 1, "q")], {"target_modules": [module("encoder", 1, "q")]}),
    ],
    ids=["layers", "one layer", "pattern", "full name"],
)
def test_layers_that_the_adapter_leaves_out_have_zeros(tmp_path, modules, settings):
    tensors = lora_tensors(modules)

    task = load_prompt(write_adapter(tmp_path / "film", tensors, **settings))

    assert set(task.tensors) <= {"encoder_query_delta", "encoder_value_delta"}
    np.testing.assert_array_equal(task.tensors["encoder_query_delta"][:, 0], 0)
    np.testing.assert_allclose(
        added(task, "encoder_query_delta", 1, HIDDEN), delta(tensors, modules[0], 2.5), rtol=1e-5
    )


def test_an_adapter_without_target_modules_has_those_that_peft_chooses(tmp_path):
    task = load_prompt(write_adapter(tmp_path / "film", lora_tensors(all_modules()), target_modules=None))

    assert len(task.tensors) == 6


# === What is refused ===

FEED_FORWARD = "encoder.block.0.layer.1.DenseReluDense.wi_0"


def with_feed_forward(name=FEED_FORWARD):
    return {**lora_tensors(all_modules()), f"base_model.model.{name}.lora_A.weight": np.ones((2, 6), np.float32)}


def without(name):
    tensors = lora_tensors(all_modules())
    del tensors[name]
    return tensors


@pytest.mark.parametrize(
    ("tensors", "settings", "message"),
    [
        (with_feed_forward(), {}, r"must change q, k, v and o of the attentions alone, .*Received: base_model.*wi_0.lora_A"),
        (with_feed_forward("lm_head"), {}, r"Received: base_model.model.lm_head.lora_A.weight"),
        (with_feed_forward("shared"), {}, r"Received: base_model.model.shared.lora_A.weight"),
        (with_feed_forward("encoder.block.0.layer.1.EncDecAttention.q"), {}, r"Received: .*layer.1.EncDecAttention.q"),
        (with_feed_forward("decoder.block.00.layer.0.SelfAttention.q"), {}, r"Received: .*block.00"),
        (with_feed_forward("decoder.block.3000000000.layer.0.SelfAttention.q"), {}, r"Received: .*block.3000000000"),
        ({"base_model.model.lora_A.weight": np.ones((2, 6), np.float32)}, {}, r"Received: base_model.model.lora_A"),
        (
            without(f"base_model.model.{module('cross', 1, 'v')}.lora_B.weight"),
            {},
            r"must hold lora_A.weight and lora_B.weight of each module. Received: none of decoder.block.1.*lora_B",
        ),
        (lora_tensors(all_modules("qvk")), {}, r"targeted modules alone: .*Received: also decoder.block.0.*\.k, .* 3 more"),
        (lora_tensors(all_modules("q")), {}, r"every module that its config targets. Received: none of encoder.*\.v"),
        (lora_tensors(all_modules(places=["decoder", "cross"])), {}, r"Received: none of encoder.block.0.*\.q, "),
        (lora_tensors(all_modules()), {"layers_to_transform": [0]}, r"alone: .*Received: also decoder.block.1"),
        (lora_tensors(all_modules()), {"target_modules": "all-linear"}, r"Received: none of encoder.*\.k"),
        (lora_tensors(all_modules()), {"target_modules": "(q"}, r"by a regular expression. Received: missing"),
        (lora_tensors(all_modules()), {"target_modules": 3}, r"by a regular expression. Received: "),
        (lora_tensors(all_modules()), {"layers_to_transform": {"a": 1}}, r"Received: also decoder"),
        (lora_tensors(all_modules()), {"rank_pattern": {"(q": 2}}, r"must have patterns as `rank_pattern`. Received"),
        (lora_tensors(all_modules()), {"rank_pattern": {"q": 3}}, r"Received: .*Attention.q with \[2, 6\] and .*, rank 3"),
        (lora_tensors(all_modules()), {"r": 0}, r"a rank and an alpha for decoder.*Received: r=0, lora_alpha=5"),
        (lora_tensors(all_modules()), {"lora_alpha": 10**400}, r"Received: r=2, lora_alpha=1000"),
        (lora_tensors(all_modules()), {"r": 10**400, "use_rslora": True}, r"a rank and an alpha .* Received: r=1000"),
        (lora_tensors(all_modules()), {"lora_alpha": None}, r"Received: r=2, lora_alpha=None"),
        (lora_tensors(all_modules()), {"use_dora": True}, r"settings than those .*Received: use_dora=True"),
        (lora_tensors(all_modules()), {"lora_bias": True}, r"Received: lora_bias=True"),
        (lora_tensors(all_modules()), {"layer_replication": [[0, 2]]}, r"Received: layer_replication="),
        (lora_tensors(all_modules()), {"what_comes_next": "x"}, r"Received: what_comes_next='x'"),
        (lora_tensors(all_modules()), {"bias": "all"}, r"must leave biases as they are. Received: bias='all'"),
        (lora_tensors(all_modules()), {"init_lora_weights": "pissa"}, r"own weights.*Received: init_lora_weights='pissa'"),
        (lora_tensors(all_modules()), {"modules_to_save": ["shared"]}, r"Received: modules_to_save=\['shared'\]"),
        (lora_tensors(all_modules()), {"task_type": "CAUSAL_LM"}, r"Received: task_type='CAUSAL_LM'"),
        ({k: v[0] for k, v in lora_tensors(all_modules()).items()}, {}, r"must hold matrices. Received: decoder.block.0"),
        ({k: v * np.nan for k, v in lora_tensors(all_modules()).items()}, {}, r"must be finite.*File: .*film"),
        ({k: v.astype(int) for k, v in lora_tensors(all_modules()).items()}, {}, r"Received: dtype I64"),
    ],
)  # fmt: skip
def test_what_this_library_does_not_have_is_refused_by_its_name(tmp_path, tensors, settings, message):
    with pytest.raises(PromptFileError, match=message):
        load_prompt(write_adapter(tmp_path / "film", tensors, **settings))


def test_a_t5_of_another_width_is_refused_though_the_sum_of_the_widths_is_the_same(tmp_path):
    task = load_prompt(write_adapter(tmp_path / "film", lora_tensors(all_modules())))

    with pytest.raises(
        BackboneMismatchError, match=r"made for an unnamed backbone \(H=6\). Received: model t5 \(H=8\)"
    ):
        check_backbone(task, backbone="t5", fingerprint="f", hidden_dim=8, tokenizer_fingerprint="t")


@pytest.mark.parametrize(
    ("fingerprint", "what_to_do"),
    [("", "If it was trained on this T5 without its last layers, save it for all layers"), ("f", "Train a new prompt")],
)
def test_an_adapter_of_fewer_layers_says_what_that_may_mean(tmp_path, fingerprint, what_to_do):
    task = load_prompt(write_adapter(tmp_path / "film", lora_tensors(all_modules())))
    task = dataclasses.replace(task, backbone_fingerprint=fingerprint)
    sizes = BackboneSizes(hidden_dim=6, encoder_layers=4, decoder_layers=2, num_heads=2, head_dim=4)

    with pytest.raises(BackboneMismatchError, match=rf"delta \[P, 4, 14\]\)\. {what_to_do}"):
        check_backbone(task, backbone="t5", fingerprint="f", hidden_dim=6, tokenizer_fingerprint="t", sizes=sizes)


# === LoRA is written ===


@pytest.mark.parametrize(
    ("modules", "settings", "targets"),
    [
        (all_modules(), {}, ["q", "v"]),
        (all_modules("qkvo"), {"target_modules": ["q", "k", "v", "o"]}, ["k", "o", "q", "v"]),
        (
            [module("encoder", layer, "q") for layer in range(3)],
            {"target_modules": r"encoder.*\.q"},
            r"encoder\.block\.\d+\.layer\.0\.SelfAttention\.q",
        ),
    ],
)
def test_a_written_lora_is_read_again_bit_for_bit(tmp_path, modules, settings, targets):
    task = load_prompt(write_adapter(tmp_path / "film", lora_tensors(modules), **settings))

    write_peft_adapter(tmp_path / "again", load_prompt(write_prompt(tmp_path / "film.safetensors", task)))

    again = load_prompt(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert (config["target_modules"], config["r"], config["lora_alpha"]) == (targets, 2, 2)
    assert list(again.tensors) == list(task.tensors)
    for name, value in task.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], value)


def test_tensors_of_other_ranks_are_written_with_patterns(tmp_path):
    tensors = {"encoder_query_delta": np.ones((3, 2, 14)), "cross_value_delta": np.ones((1, 1, 14))}
    task = TaskPrompt(tensors=tensors, method="lora", backbone_hidden_dim=6)

    again = load_prompt(write_peft_adapter(tmp_path / "film", task))

    assert {name: value.shape for name, value in again.tensors.items()} == {k: v.shape for k, v in tensors.items()}
    np.testing.assert_array_equal(again.tensors["cross_value_delta"], tensors["cross_value_delta"])


def test_the_hidden_size_must_be_known_to_write_a_lora(tmp_path):
    task = TaskPrompt(tensors={"encoder_query_delta": np.ones((3, 2, 14))}, method="lora")

    with pytest.raises(
        PromptFileError, match=r"hidden size must be known. Received: hidden_dim=None, rows of 14 values"
    ):
        write_peft_adapter(tmp_path / "film", task)
    written = write_peft_adapter(tmp_path / "film", task, hidden_dim=6)

    assert load_prompt(written).backbone_hidden_dim == 6


def test_adapters_have_no_place_in_peft(tmp_path):
    task = TaskPrompt(tensors={"encoder_attention_adapter": np.ones((2, 1, 14))}, method="adapters")

    with pytest.raises(
        PromptFileError, match="no place for these tensors. Received: encoder_attention_adapter. Write a"
    ):
        write_peft_adapter(tmp_path / "film", task)


# === (IA)^3 ===


def ia3_tensors(parts=("k", "v"), *, feed_forward=True):
    rng = np.random.default_rng(4)
    vectors = {name: rng.normal(size=(HIDDEN if name.endswith(".o") else INNER, 1)) for name in all_modules(parts)}
    if feed_forward:
        for stack, number in (("encoder", 1), ("decoder", 2)):
            for layer in range(LAYERS[stack]):
                vectors[f"{stack}.block.{layer}.layer.{number}.DenseReluDense.wo"] = rng.normal(size=(1, 10))
    return {f"base_model.model.{name}.ia3_l": value.astype(np.float32) for name, value in vectors.items()}


def ia3_of_wi_1(encoder_layers):
    """Return vectors of wi_1 of the encoder's layers and of the decoder's two: 3, and ones."""
    places = [("encoder", layer, 1) for layer in encoder_layers] + [("decoder", layer, 2) for layer in range(2)]
    vector = np.array([3, *[1] * 9], np.float32)[:, None]
    return {
        f"base_model.model.{stack}.block.{layer}.layer.{number}.DenseReluDense.wi_1.ia3_l": vector
        for stack, layer, number in places
    }


def write_ia3(folder, tensors, **changes):
    targets = {"target_modules": ["k", "v", "wo"], "feedforward_modules": ["wo"]}
    return write_adapter(folder, tensors, **{"peft_type": "IA3", "r": None, "lora_alpha": None, **targets, **changes})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_modules": r".*\.(k|v|wo)", "feedforward_modules": r".*\.wo"},
        {"target_modules": None, "feedforward_modules": None},
    ],
    ids=["names", "patterns", "chosen by PEFT"],
)
def test_each_vector_of_ia3_becomes_a_scale_and_is_written_again(tmp_path, settings):
    tensors = ia3_tensors()

    task = load_prompt(write_ia3(tmp_path / "film", tensors, **settings))
    again = load_prompt(write_peft_adapter(tmp_path / "again", task))

    assert (task.method, task.task_id, len(task.tensors)) == ("ia3", "film", 8)
    expected = tensors[f"base_model.model.{module('cross', 1, 'v')}.ia3_l"][:, 0]
    np.testing.assert_array_equal(task.tensors["cross_value_scale"][0, 1], expected)
    expected = tensors["base_model.model.encoder.block.2.layer.1.DenseReluDense.wo.ia3_l"][0]
    np.testing.assert_array_equal(task.tensors["encoder_feed_forward_scale"][0, 2], expected)
    for name, value in task.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], value)


def test_outputs_of_wi_1_are_scaled_as_inputs_of_wo_and_times_what_these_have(tmp_path):
    tensors = {**ia3_tensors(), **ia3_of_wi_1(range(3))}

    task = load_prompt(write_ia3(tmp_path / "film", tensors, target_modules=["k", "v", "wo", "wi_1"]))

    expected = tensors["base_model.model.encoder.block.2.layer.1.DenseReluDense.wo.ia3_l"][0] * [3, *[1] * 9]
    np.testing.assert_allclose(task.tensors["encoder_feed_forward_scale"][0, 2], expected, rtol=1e-6)


def test_vectors_of_wi_1_alone_are_read(tmp_path):
    targets = {"target_modules": ["wi_1"], "feedforward_modules": []}

    task = load_prompt(write_ia3(tmp_path / "film", ia3_of_wi_1(range(3)), **targets))

    assert {name: value.shape for name, value in task.tensors.items()} == {
        "encoder_feed_forward_scale": (1, 3, 10),
        "decoder_feed_forward_scale": (1, 2, 10),
    }
    np.testing.assert_array_equal(task.tensors["encoder_feed_forward_scale"][0, 1], [3, *[1] * 9])


def test_what_ia3_leaves_out_is_scaled_by_1(tmp_path):
    tensors = ia3_tensors("o", feed_forward=False)
    left_out = module("encoder", 0, "o")
    del tensors[f"base_model.model.{left_out}.ia3_l"]

    task = load_prompt(write_ia3(tmp_path / "film", tensors, target_modules=["o"], exclude_modules=[left_out]))

    assert task.tensors["encoder_output_scale"].shape == (1, 3, HIDDEN)
    np.testing.assert_array_equal(task.tensors["encoder_output_scale"][0, 0], 1)


def test_ia3_of_one_attention_is_written_with_a_pattern(tmp_path):
    rows = np.ones((1, 2, 8), np.float32)
    tensors = {"decoder_key_scale": 2 * rows, "decoder_feed_forward_scale": 3 * rows}

    again = load_prompt(write_peft_adapter(tmp_path / "film", TaskPrompt(tensors=tensors, method="ia3")))

    assert list(again.tensors) == list(tensors)
    np.testing.assert_array_equal(again.tensors["decoder_feed_forward_scale"], 3 * rows)


@pytest.mark.parametrize(
    ("tensors", "settings", "message"),
    [
        (
            ia3_tensors(),
            {"feedforward_modules": ["k", "wo"]},
            r"inputs of wo. Received: the inputs of decoder.*\.k, by feed",
        ),
        (
            ia3_tensors(),
            {"feedforward_modules": []},
            r"Received: the outputs of decoder.*\.wo, by feedforward_modules=\[\]",
        ),
        (ia3_tensors(), {"feedforward_modules": "(wo"}, r"by a regular expression. Received: missing"),
        (ia3_tensors(), {"target_modules": ["k", "v"]}, r"have no effect in PEFT. Received: also .*DenseReluDense.wo"),
        (ia3_tensors(feed_forward=False), {}, r"Received: none of encoder.*DenseReluDense.wo"),
        (
            ia3_of_wi_1([0, 2]),
            {"target_modules": ["wi_1"], "feedforward_modules": []},
            r"Received: none of encoder\.block\.1.*wi_1",
        ),
        (
            ia3_of_wi_1(range(3)),
            {"target_modules": ["wi_1"], "feedforward_modules": ["wi_1"]},
            r"Received: the inputs of .*\.wi_1",
        ),
        (
            {**ia3_tensors(), "base_model.model.encoder.block.0.layer.1.DenseReluDense.wi.ia3_l": np.ones((1, 6), "f")},
            {},
            r"must change q, k, v and o of the attentions, wo and wi_1 alone, .*Received: .*DenseReluDense.wi.ia3_l",
        ),
        (ia3_tensors(), {"use_something": True}, r"settings than those .*Received: use_something=True"),
        (
            {name: value.T for name, value in ia3_tensors().items()},
            {},
            r"must hold vectors .*Received: .* with \[10, 1\]",
        ),
    ],
)
def test_an_ia3_that_this_library_does_not_have_is_refused(tmp_path, tensors, settings, message):
    with pytest.raises(PromptFileError, match=message):
        load_prompt(write_ia3(tmp_path / "film", tensors, **settings))
