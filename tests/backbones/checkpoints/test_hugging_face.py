"""Hugging Face directories in all the forms in which they lie around, and one clear line for each damaged one."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import answers
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import t5_models

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import open_checkpoint, torch_pickle
from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.errors import BackboneError

RECORDED = Path(answers.__file__).parent / "recorded"
HIDDEN_DIM = 24  # of the cases t5_1_0, t5_1_1 and mt5
HEAD, TABLE = "lm_head.weight", "shared.weight"


@pytest.fixture
def copy_of(hugging_face, tmp_path):
    """A function: a case's name to a directory that a test may change."""
    return lambda case: shutil.copytree(hugging_face(case), tmp_path / case)


def write_weights(directory, weights, name="model.safetensors"):
    safetensors.numpy.save_file(weights, directory / name, metadata={"format": "pt"})


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_shards(directory, weights, num_shards=3):
    """Replace model.safetensors by shards and their index, as transformers does for large models."""
    (directory / "model.safetensors").unlink()
    weight_map = {}
    for k in range(num_shards):
        name = f"model-{k + 1:05d}-of-{num_shards:05d}.safetensors"
        part = dict(list(weights.items())[k::num_shards])
        write_weights(directory, part, name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def arrays(directory):
    """Return the architecture and every weight, as they are read before a model is built."""
    checkpoint = open_checkpoint(directory)
    return checkpoint.architecture, {name: tensor.array() for name, tensor in checkpoint.tensors.items()}


def assert_same_checkpoint(one, other):
    (architecture, weights), (other_architecture, other_weights) = arrays(one), arrays(other)
    assert architecture == other_architecture
    assert weights.keys() == other_weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(value, other_weights[name], err_msg=name)


def logits_of(directory, case):
    return answers.answers(load_t5(directory), case)[1]


def recorded_logits(case):
    return np.load(RECORDED / f"{case}.npz")["logits"]


# === What it is ===


def test_a_t5_1_0_is_tied_scaled_and_plain(hugging_face):
    architecture = open_checkpoint(hugging_face("t5_1_0")).architecture

    assert (architecture.has_tied_head, architecture.scales_logits, architecture.head_factor) == (True, True, 1.0)
    assert (architecture.activation, architecture.is_gated, architecture.head_dim) == ("relu", False, 8)


def test_a_t5_1_1_is_untied_unscaled_and_gated(hugging_face):
    architecture = open_checkpoint(hugging_face("t5_1_1")).architecture

    assert (architecture.has_tied_head, architecture.scales_logits, architecture.head_factor) == (False, False, 1.0)
    assert (architecture.activation, architecture.is_gated, architecture.head_dim) == ("gelu_tanh", True, 10)


def test_depths_buckets_distance_and_epsilon_are_the_configs(hugging_face):
    byt5 = open_checkpoint(hugging_face("byt5")).architecture
    other = open_checkpoint(hugging_face("other_buckets")).architecture

    assert (byt5.num_layers, byt5.num_decoder_layers, byt5.vocabulary_size) == (3, 1, 384)
    assert (other.relative_buckets, other.relative_max_distance, other.norm_epsilon) == (12, 40, 1e-4)


def test_weights_are_turned_to_input_output(hugging_face):
    weights = t5_models.weights("t5_1_1")

    _, read = arrays(hugging_face("t5_1_1"))

    assert len(read) == len(weights)
    np.testing.assert_array_equal(read["token_embedding"], weights[TABLE])
    np.testing.assert_array_equal(read["head"], weights[HEAD].T)
    np.testing.assert_array_equal(
        read["decoder.1.cross_attention.output"], weights["decoder.block.1.layer.1.EncDecAttention.o.weight"].T
    )
    np.testing.assert_array_equal(
        read["decoder.1.feed_forward.gate"], weights["decoder.block.1.layer.2.DenseReluDense.wi_1.weight"].T
    )
    np.testing.assert_array_equal(
        read["encoder.relative_bias"],
        weights["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"],
    )


@pytest.mark.parametrize("max_values", [1, 25, 500, 10**9])
def test_blocks_of_a_weight_put_together_are_the_weight(hugging_face, max_values):
    tensors = open_checkpoint(hugging_face("t5_1_1")).tensors

    for name in ("token_embedding", "head", "encoder.0.feed_forward.input", "encoder.norm"):
        expected = tensors[name].array()
        filled = np.full_like(expected, np.nan)
        for place, block in tensors[name].blocks(max_values):
            filled[place] = block
        np.testing.assert_array_equal(filled, expected, err_msg=name)


def test_a_model_read_in_small_blocks_is_the_same(hugging_face, loaded, monkeypatch):
    monkeypatch.setattr(StoredTensor.blocks, "__defaults__", (1000,))

    again = load_t5(hugging_face("byt5"))

    for ours, expected in zip(again.backbone.weights, loaded("byt5").backbone.weights, strict=True):
        np.testing.assert_array_equal(ours, expected, err_msg=expected.path)


# === How the files lie ===


def test_shards_are_read_as_one_file_is(copy_of, hugging_face):
    directory = copy_of("t5_1_1")
    write_shards(directory, t5_models.weights("t5_1_1"))

    assert_same_checkpoint(directory, hugging_face("t5_1_1"))


def test_a_float16_file_is_read_into_float32(copy_of):
    directory = copy_of("byt5")
    weights = {name: value.astype(np.float16) for name, value in t5_models.weights("byt5").items()}
    write_weights(directory, weights)

    t5 = load_t5(directory)

    table = t5.backbone.token_embedding
    assert table.embeddings.dtype == "float32"
    np.testing.assert_array_equal(table.embeddings, weights[TABLE].astype(np.float32))
    np.testing.assert_array_equal(table.reverse_embeddings, weights[HEAD].astype(np.float32).T)


def test_a_bfloat16_file_has_the_fingerprint_of_the_float32_file(copy_of, loaded):
    directory = copy_of("byt5")
    write_weights(
        directory, {name: value.astype(ml_dtypes.bfloat16) for name, value in t5_models.weights("byt5").items()}
    )

    assert load_t5(directory, dtype="bfloat16").fingerprint == loaded("byt5").fingerprint


def test_the_table_may_be_stored_under_the_encoders_name_only(copy_of, hugging_face):
    directory = copy_of("t5_1_0")
    weights = t5_models.weights("t5_1_0")
    weights["encoder.embed_tokens.weight"] = weights.pop(TABLE)
    write_weights(directory, weights)

    assert_same_checkpoint(directory, hugging_face("t5_1_0"))


def test_copies_of_the_table_and_a_table_that_no_layer_reads_are_passed_over(copy_of, hugging_face):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    for stack in ("encoder", "decoder"):
        weights[f"{stack}.embed_tokens.weight"] = weights[TABLE].copy()
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    weights[unused] = np.ones((32, 3), np.float32)
    write_weights(directory, weights)

    assert_same_checkpoint(directory, hugging_face("t5_1_1"))


def test_a_head_equal_to_the_table_is_tied(copy_of, hugging_face):
    directory = copy_of("t5_1_0")
    weights = t5_models.weights("t5_1_0")
    write_weights(directory, {**weights, HEAD: weights[TABLE].copy()})

    assert_same_checkpoint(directory, hugging_face("t5_1_0"))


def test_a_decoder_table_of_its_own_is_refused(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    write_weights(directory, {**weights, "decoder.embed_tokens.weight": weights[TABLE] + 1})

    with pytest.raises(
        BackboneError, match=r"share one .*table\. Received: decoder\.embed_tokens\.weight in .*differs from"
    ):
        open_checkpoint(directory)


def test_two_tables_without_a_shared_one_are_refused(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    table = weights.pop(TABLE)
    tables = {"encoder.embed_tokens.weight": table, "decoder.embed_tokens.weight": table * 2}
    write_weights(directory, weights | tables)

    with pytest.raises(BackboneError, match="share one .*which differs from encoder.embed_tokens.weight"):
        open_checkpoint(directory)


def test_an_untied_model_without_a_head_is_refused(copy_of):
    directory = copy_of("t5_1_0")
    change_config(directory, tie_word_embeddings=False)

    with pytest.raises(BackboneError, match=r"must have a head of its own\. Received: no weight lm_head\.weight"):
        open_checkpoint(directory)


# === The head's scale, as it is said in each version's config ===


@pytest.mark.parametrize(("case", "name"), [("t5_1_1", "T5Model"), ("mt5", "MT5Model")])
def test_a_t5_1_1_that_transformers_5_wrote_without_a_head_is_refused(copy_of, case, name):
    directory = copy_of(case)
    change_config(directory, architectures=[name], tie_word_embeddings=True, scale_decoder_outputs=False)
    weights = t5_models.weights(case)
    del weights[HEAD]
    write_weights(directory, weights)

    with pytest.raises(BackboneError, match=rf"head of its own.*no weight lm_head\.weight in .* says {name}\. Load"):
        open_checkpoint(directory)


def test_a_t5_1_0_without_a_head_is_complete(copy_of, hugging_face):
    directory = copy_of("t5_1_0")
    change_config(directory, architectures=["T5Model"])

    assert_same_checkpoint(directory, hugging_face("t5_1_0"))


def test_tied_without_scaling_gives_logits_that_are_larger_by_the_root_of_the_width(copy_of):
    directory = copy_of("t5_1_0")
    change_config(directory, tie_word_embeddings=True, scale_decoder_outputs=False)

    logits = logits_of(directory, "t5_1_0")

    expected = recorded_logits("t5_1_0") * HIDDEN_DIM**0.5
    np.testing.assert_allclose(logits, expected, atol=5e-4, rtol=0)


def test_untied_with_scaling_gives_logits_that_are_smaller_by_the_root_of_the_width(copy_of):
    directory = copy_of("t5_1_1")
    change_config(directory, tie_word_embeddings=True, scale_decoder_outputs=True)

    logits = logits_of(directory, "t5_1_1")

    expected = recorded_logits("t5_1_1") * HIDDEN_DIM**-0.5
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("case", "config"),
    [
        ("t5_1_0", {"tie_word_embeddings": True, "scale_decoder_outputs": True}),
        ("t5_1_1", {"tie_word_embeddings": True, "scale_decoder_outputs": False}),
        ("mt5", {"tie_word_embeddings": True}),  # transformers 5 writes this for every mT5, none of which scales
    ],
    ids=["t5_1_0", "t5_1_1", "mt5"],
)
def test_configs_of_transformers_5_mean_what_those_of_transformers_4_mean(copy_of, hugging_face, case, config):
    directory = copy_of(case)
    change_config(directory, **config)

    assert open_checkpoint(directory).architecture == open_checkpoint(hugging_face(case)).architecture


@pytest.mark.parametrize(
    ("projection", "form"),
    [
        ("relu", ("relu", False)),
        ("gelu", ("gelu", False)),
        ("gelu_new", ("gelu_tanh", False)),
        ("silu", ("silu", False)),
    ],
)
def test_plain_feed_forward_forms(copy_of, projection, form):
    directory = copy_of("t5_1_0")
    change_config(directory, feed_forward_proj=projection)

    architecture = open_checkpoint(directory).architecture

    assert (architecture.activation, architecture.is_gated) == form


# === torch, which is not in the tests' environment ===


# A copy of these rows in transformers 5.23: `dense_act_fn` and `is_gated_act` of config.json are what its blocks use.
@pytest.mark.parametrize(
    ("changes", "form"),
    [
        ({"dense_act_fn": "gelu"}, ("gelu", True)),
        ({"dense_act_fn": "relu", "is_gated_act": True}, ("relu", True)),
        ({"feed_forward_proj": "gelu", "is_gated_act": True}, ("gelu", True)),
        ({"dense_act_fn": "gelu_new", "is_gated_act": True}, ("gelu_tanh", True)),
        ({"dense_act_fn": "gelu_pytorch_tanh"}, ("gelu_tanh", True)),
        ({"dense_act_fn": "swish"}, ("silu", True)),
        ({"dense_act_fn": None, "is_gated_act": None}, ("gelu_tanh", True)),
    ],
)
def test_the_activation_and_the_gate_are_those_of_their_own_keys(copy_of, changes, form):
    directory = copy_of("t5_1_1")
    change_config(directory, **changes)

    architecture = open_checkpoint(directory).architecture

    assert (architecture.activation, architecture.is_gated) == form


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dense_act_fn": "tanh"}, r"`dense_act_fn` of .* must be one of relu.*Received: 'tanh'"),
        ({"dense_act_fn": ["gelu"]}, r"`dense_act_fn` of .*Received: \['gelu'\]"),
        ({"is_gated_act": "yes"}, r"`is_gated_act` of .* must be true or false\. Received: 'yes'"),
        ({"is_gated_act": False}, r"missing \(encoder\.block\.0\.layer\.1\.DenseReluDense\.wi\.weight"),
    ],
)
def test_an_activation_or_a_gate_that_is_not_known_is_refused(copy_of, changes, message):
    directory = copy_of("t5_1_1")
    change_config(directory, **changes)

    with pytest.raises(BackboneError, match=message):
        open_checkpoint(directory)


def test_the_default_feed_forward_of_mt5_is_gated(copy_of):
    directory = copy_of("mt5")
    config = json.loads((directory / "config.json").read_text())
    del config["feed_forward_proj"]
    (directory / "config.json").write_text(json.dumps(config))

    architecture = open_checkpoint(directory).architecture

    assert (architecture.activation, architecture.is_gated) == ("gelu_tanh", True)


# === Values that are no weights ===


@pytest.mark.parametrize("quantization", [None, "int8"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused(copy_of, value, dtype, quantization):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    name = "encoder.block.1.layer.0.SelfAttention.q.weight"
    weights[name][3, 1] = value
    write_weights(directory, weights)

    with pytest.raises(BackboneError, match=rf"Weight {name} of .* 1 of \d+ values are NaN or infinite"):
        load_t5(directory, dtype=dtype, quantization=quantization)


def test_a_bfloat16_file_with_nan_is_refused(copy_of):
    directory = copy_of("t5_1_1")
    weights = {name: value.astype(ml_dtypes.bfloat16) for name, value in t5_models.weights("t5_1_1").items()}
    weights["decoder.final_layer_norm.weight"][0] = np.nan
    write_weights(directory, weights)

    with pytest.raises(BackboneError, match=r"decoder\.final_layer_norm\.weight .* NaN or infinite"):
        load_t5(directory, dtype="bfloat16")


@pytest.mark.parametrize(
    ("dtype", "called"), [(np.int8, "I8"), (ml_dtypes.float8_e4m3fn, "F8_E4M3")], ids=["integers", "8 bits"]
)
@pytest.mark.parametrize("name", ["encoder.block.0.layer.1.DenseReluDense.wo.weight", HEAD])
def test_a_weight_of_a_quantized_model_is_refused(copy_of, name, dtype, called):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    write_weights(directory, {**weights, name: weights[name].astype(dtype)})

    with pytest.raises(
        BackboneError, match=rf"Weight {name} .* dtype must be one of float32.* and is {called}\..*not quan"
    ):
        open_checkpoint(directory)


def test_a_weight_in_two_shards_is_refused(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    write_shards(directory, weights)
    second = list(weights)[1]
    first = dict(list(weights.items())[::3])
    write_weights(directory, {**first, second: weights[second]}, "model-00001-of-00003.safetensors")

    with pytest.raises(BackboneError, match=rf"must lie in one shard\. Received: {second} again in .*model-00002"):
        open_checkpoint(directory)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_a_torch_file_is_read_as_safetensors_are(torch, copy_of, hugging_face, is_zip):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    state = {name: torch.from_numpy(value) for name, value in t5_models.weights("t5_1_1").items()}
    state["encoder.embed_tokens.weight"] = state[TABLE]
    torch.save(state, directory / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)

    assert_same_checkpoint(directory, hugging_face("t5_1_1"))


def test_a_bfloat16_torch_file_is_read_as_bfloat16(torch, copy_of):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    weights = t5_models.weights("t5_1_1")
    state = {name: torch.from_numpy(value).to(torch.bfloat16) for name, value in weights.items()}
    torch.save(state, directory / "pytorch_model.bin")

    _, read = arrays(directory)

    assert read["head"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(read["head"], weights[HEAD].T.astype(ml_dtypes.bfloat16))


def test_a_torch_file_of_parameters_is_read(torch, copy_of, hugging_face):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    weights = t5_models.weights("t5_1_1")
    state = {name: torch.nn.Parameter(torch.from_numpy(value)) for name, value in weights.items()}
    torch.save({**state, "encoder.embed_tokens.weight": state[TABLE]}, directory / "pytorch_model.bin")

    assert_same_checkpoint(directory, hugging_face("t5_1_1"))


@pytest.mark.parametrize("name", ["encoder.block.0.layer.1.DenseReluDense.wo.weight", HEAD])
def test_a_torch_file_of_a_quantized_model_is_refused(torch, copy_of, name):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    state = {key: torch.from_numpy(value) for key, value in t5_models.weights("t5_1_1").items()}
    torch.save({**state, name: state[name].to(torch.int8)}, directory / "pytorch_model.bin")

    with pytest.raises(BackboneError, match=rf"Weight {name} .* dtype must be one of float32.* and is int8\."):
        open_checkpoint(directory)


def test_a_torch_file_of_something_else_is_refused(torch, copy_of):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    torch.save([1, 2], directory / "pytorch_model.bin")

    with pytest.raises(
        BackboneError, match=r"pytorch_model\.bin must be a torch checkpoint of tensors\. Received: list\."
    ):
        load_t5(directory)


# === What is refused ===


@pytest.mark.parametrize("version", ["2.9.1+cpu", "1.13.1", "unknown"])
def test_a_torch_that_a_file_could_make_run_code_reads_none(copy_of, monkeypatch, version):
    loads = []
    fake = SimpleNamespace(__version__=version, __spec__=None, load=lambda *args, **kwargs: loads.append(args))
    monkeypatch.setattr(torch_pickle.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", fake)
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")

    with pytest.raises(BackboneError, match=rf"torch 2\.10 or newer.*Received: torch {re.escape(version)}\. Update it"):
        load_t5(directory)
    assert loads == []


def test_a_torch_file_without_torch_says_what_to_do(copy_of, monkeypatch):
    monkeypatch.setattr(torch_pickle.importlib.util, "find_spec", lambda name: None)
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")

    with pytest.raises(
        BackboneError, match=r"pytorch_model\.bin can only be read where torch is installed.*pip install"
    ):
        load_t5(directory)


def test_a_truncated_shard_is_named(copy_of):
    directory = copy_of("t5_1_1")
    write_shards(directory, t5_models.weights("t5_1_1"))
    shard = directory / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])

    with pytest.raises(
        BackboneError, match=r"model-00002-of-00003\.safetensors must be a whole safetensors file\. Rec"
    ):
        load_t5(directory)


def test_a_missing_shard_is_named(copy_of):
    directory = copy_of("t5_1_1")
    write_shards(directory, t5_models.weights("t5_1_1"))
    (directory / "model-00002-of-00003.safetensors").unlink()

    message = r"must lie beside it\. Received: 1 of 3 missing \(model-00002-of-00003\.safetensors\)\."
    with pytest.raises(BackboneError, match=message):
        load_t5(directory)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {"shared.weight": 3}}', '{"weight_map": []}'])
def test_an_index_without_a_weight_map_is_refused(copy_of, content):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(content)

    with pytest.raises(BackboneError, match="must hold a `weight_map` of weight -> file"):
        load_t5(directory)


def test_a_weight_of_another_shape_is_refused_by_its_name_in_the_file(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    name = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
    weights[name] = weights[name][:, :-1].copy()
    write_weights(directory, weights)

    message = rf"Weight {name} of checkpoint .* must have the shape \[24, 48\]\. Received: \[24, 47\]\."
    with pytest.raises(BackboneError, match=message):
        load_t5(directory)


def test_a_missing_weight_is_named(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    del weights["decoder.final_layer_norm.weight"]
    write_weights(directory, weights)

    with pytest.raises(BackboneError, match=r"1 missing \(decoder\.final_layer_norm\.weight\); nothing left over\."):
        load_t5(directory)


def test_a_missing_table_is_named(copy_of):
    directory = copy_of("t5_1_1")
    weights = t5_models.weights("t5_1_1")
    del weights[TABLE]
    write_weights(directory, weights)

    with pytest.raises(BackboneError, match=r"1 missing \(shared\.weight\); nothing left over\."):
        load_t5(directory)


def test_a_weight_too_many_is_named(copy_of):
    directory = copy_of("t5_1_1")
    write_weights(directory, {**t5_models.weights("t5_1_1"), "classifier.weight": np.ones((2, 2), np.float32)})

    with pytest.raises(BackboneError, match=r"nothing missing; 1 left over \(classifier\.weight\)\."):
        load_t5(directory)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("T5EncoderModel", "an encoder alone"),
        ("MT5ForSequenceClassification", "a classifier"),
        ("T5ForQuestionAnswering", "a model that marks answers in a text"),
    ],
)
def test_weights_of_another_class_are_refused_with_its_name(copy_of, name, kind):
    directory = copy_of("t5_1_1")
    change_config(directory, architectures=[name])
    write_weights(directory, {**t5_models.weights("t5_1_1"), "classifier.weight": np.ones((2, 2), np.float32)})

    with pytest.raises(BackboneError, match=rf"1 left over .*\. Its config says {name}, {kind}\. Load the T5ForCond"):
        open_checkpoint(directory)


def test_of_many_missing_weights_some_are_named(copy_of):
    directory = copy_of("t5_1_1")
    write_weights(
        directory, {k: v for k, v in t5_models.weights("t5_1_1").items() if not k.startswith("decoder.block")}
    )

    with pytest.raises(
        BackboneError, match=r"2[0-9] missing \(decoder\.block\.0.* and [0-9]+ more\); nothing left over"
    ):
        load_t5(directory)


def test_a_directory_without_weights_says_what_it_holds(copy_of):
    directory = copy_of("t5_1_1")
    (directory / "model.safetensors").unlink()

    message = r"must hold model\.safetensors, .*Received: .* with \['config\.json', 'spiece\.model'\]\."
    with pytest.raises(BackboneError, match=message):
        load_t5(directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("d_model", 0),
        ("d_ff", -3),
        ("num_heads", "eight"),
        ("vocab_size", None),
        ("num_layers", 2.0),
        ("d_kv", True),
        ("num_decoder_layers", -1),
        ("relative_attention_num_buckets", "many"),
        ("relative_attention_max_distance", 0),
    ],
)
def test_a_size_that_is_no_positive_integer_is_refused(copy_of, key, value):
    directory = copy_of("t5_1_1")
    change_config(directory, **{key: value})

    with pytest.raises(
        BackboneError, match=rf"`{key}` of .*config\.json must be a positive integer\. Received: {value!r}"
    ):
        load_t5(directory)


@pytest.mark.parametrize("value", [0, "small", -1e-6, None, True])
def test_an_epsilon_that_is_no_small_number_is_refused(copy_of, value):
    directory = copy_of("t5_1_1")
    change_config(directory, layer_norm_epsilon=value)

    with pytest.raises(
        BackboneError, match=rf"`layer_norm_epsilon` of .* must be a small number\. Received: {value!r}"
    ):
        load_t5(directory)


@pytest.mark.parametrize("projection", ["gated-swish", "tanh", None, ["relu"]])
def test_an_unknown_feed_forward_is_refused(copy_of, projection):
    directory = copy_of("t5_1_1")
    change_config(directory, feed_forward_proj=projection)

    with pytest.raises(BackboneError, match=r"`feed_forward_proj` of .* must be one of relu, gated-relu.* Received: "):
        load_t5(directory)


def test_a_list_of_the_one_end_of_sequence_is_that_one(copy_of, hugging_face):
    directory = copy_of("t5_1_1")
    change_config(directory, eos_token_id=[1])

    assert_same_checkpoint(directory, hugging_face("t5_1_1"))


@pytest.mark.parametrize("key", ["pad_token_id", "eos_token_id", "decoder_start_token_id"])
def test_other_special_ids_are_refused(copy_of, key):
    directory = copy_of("t5_1_1")
    change_config(directory, **{key: 7})

    with pytest.raises(BackboneError, match=rf"`{key}` of .*config\.json must be [01]\. Received: 7\."):
        load_t5(directory)


def test_a_size_that_does_not_fit_the_weights_names_a_weight(copy_of):
    directory = copy_of("t5_1_1")
    change_config(directory, vocab_size=129)

    with pytest.raises(
        BackboneError, match=r"Weight shared\.weight .* must have the shape \[129, 24\]\. Received: \[128, 24\]"
    ):
        load_t5(directory)
