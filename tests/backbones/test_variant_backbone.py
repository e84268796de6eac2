"""The variant backbone: KerasHub's own where both can be had, T5's bucket formula where KerasHub fixes it."""

import functools
import math

import keras
import keras_hub
import numpy as np
import numpy_t5
import pytest
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import FrozenT5, load_t5, write_preset
from softprompt_tf.backbones.fingerprint import weights_fingerprint
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.loading.variant_backbone import T5VariantBackbone

pytestmark = pytest.mark.thorough

SHAPE = {
    "vocabulary_size": 128,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "key_value_dim": 6,
    "dropout": 0.0,
}
BUCKETS, MAX_DISTANCE = 8, 20
VARIANT = {
    **SHAPE,
    "num_decoder_layers": 1,
    "relative_attention_buckets": BUCKETS,
    "relative_attention_max_distance": MAX_DISTANCE,
    "activation": keras.saving.get_registered_object("keras_hub>gelu_approximate"),
    "tie_embedding_weights": False,
    "layer_norm_epsilon": 1e-4,
}
DISTANCES = np.arange(-300, 301, dtype=np.int32)


def make(kind, **choices):
    """Make a backbone from its sizes; `test_built_layers.py` compares it with one whose layers Keras traces."""
    return (plain_backbone if kind is keras_hub.models.T5Backbone else kind)(**choices)


def draw(backbone, seed=0):
    """Give every weight drawn values, by its place among the weights."""
    generator = np.random.default_rng(seed)
    for variable in backbone.weights:
        variable.assign(generator.normal(size=variable.shape).astype("float32"))
    return backbone


@pytest.fixture(scope="module")
def variant():
    return draw(make(T5VariantBackbone, **VARIANT))


@functools.cache
def small(buckets, max_distance):
    """Return a model with one layer and one head."""
    return make(
        T5VariantBackbone,
        **{**SHAPE, "num_layers": 1, "num_heads": 1},
        relative_attention_buckets=buckets,
        relative_attention_max_distance=max_distance,
    )


def inputs():
    generator = np.random.default_rng(5)
    mask = (np.arange(30) < np.array([30, 11])[:, None]).astype("int32")
    return {
        "encoder_token_ids": generator.integers(3, 128, size=(2, 30)).astype("int32") * mask,
        "encoder_padding_mask": mask,
        "decoder_token_ids": generator.integers(3, 128, size=(2, 7)).astype("int32"),
        "decoder_padding_mask": np.ones((2, 7), "int32"),
    }


def outputs(backbone):
    return {name: np.asarray(value) for name, value in backbone(inputs()).items()}


# === As KerasHub's own ===


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "plain"])
def test_with_equal_depths_and_32_buckets_it_is_kerashubs_backbone(tie, gated):
    choices = {**SHAPE, "tie_embedding_weights": tie, "use_gated_activation": gated}
    theirs, ours = draw(make(keras_hub.models.T5Backbone, **choices)), draw(make(T5VariantBackbone, **choices))

    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    expected, got = outputs(theirs), outputs(ours)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_it_has_the_fingerprint_of_kerashubs_backbone_with_its_weights():
    theirs, ours = draw(make(keras_hub.models.T5Backbone, **SHAPE)), draw(make(T5VariantBackbone, **SHAPE))

    assert weights_fingerprint(ours) == weights_fingerprint(theirs)


def test_layers_have_kerashubs_names():
    theirs, ours = make(keras_hub.models.T5Backbone, **SHAPE), make(T5VariantBackbone, **SHAPE)

    def given_names(backbone):
        return {layer.name for layer in backbone.layers if type(layer).__name__ not in ("GetItem", "Dropout")}

    assert given_names(ours) == given_names(theirs)


def test_weights_of_kerashubs_backbone_are_read_from_its_file(tmp_path):
    theirs, ours = draw(make(keras_hub.models.T5Backbone, **SHAPE)), make(T5VariantBackbone, **SHAPE)
    theirs.save_weights(tmp_path / "t5.weights.h5")

    ours.load_weights(tmp_path / "t5.weights.h5")

    for got, expected in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(got, expected, err_msg=expected.path)


def test_the_decoder_is_as_deep_as_the_encoder_if_nothing_is_said():
    assert len(make(T5VariantBackbone, **SHAPE).decoder_transformer_layers) == 2


# === What KerasHub's own has not ===


def test_depths_differ(variant):
    assert (len(variant.encoder_transformer_layers), len(variant.decoder_transformer_layers)) == (2, 1)


def test_it_has_one_table_of_biases_per_stack_and_nothing_left_of_kerashubs(variant):
    tables = [tuple(w.shape) for w in variant.weights if w.name == "embeddings" and w.shape[-1] == 2]

    assert tables == [(BUCKETS, 2), (BUCKETS, 2)]
    attention, feed_forward, norm = 4 * 16 * 12, 3 * 16 * 24, 16
    encoder, decoder = attention + feed_forward + 2 * norm, 2 * attention + feed_forward + 3 * norm
    assert variant.count_params() == 2 * 128 * 16 + 2 * encoder + decoder + 2 * norm + 2 * BUCKETS * 2


@pytest.mark.parametrize(("buckets", "max_distance"), [(8, 20), (12, 40), (32, 64), (64, 128), (4, 128), (32, 128)])
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_the_bias_of_two_positions_is_their_buckets_in_t5s_formula(stack, buckets, max_distance):
    attention = getattr(small(buckets, max_distance), f"{stack}_transformer_layers")[0].self_attention
    attention.relative_attention_bias.assign(np.arange(buckets, dtype="float32")[:, None])

    biases = np.asarray(attention.compute_bias(1, 601, query_start_index=300))[0, 0, 0]  # each is its bucket's number

    expected = [
        numpy_t5.bucket(int(k), bidirectional=stack == "encoder", num_buckets=buckets, max_distance=max_distance)
        for k in DISTANCES
    ]
    np.testing.assert_array_equal(biases, expected)
    assert biases.max() == buckets - 1


def test_some_buckets_by_hand():
    """8 buckets up to 20, one way: 0 to 3 stand alone, the other four cut [4, 20) at 4 * 5^(1/4), 4 * 5^(2/4), 4 * 5^(3/4)."""
    attention = small(8, 20).decoder_transformer_layers[0].self_attention
    attention.relative_attention_bias.assign(np.arange(8, dtype="float32")[:, None])
    cuts = [4 * 5 ** (k / 4) for k in (1, 2, 3)]  # 5.98, 8.94, 13.37
    assert [math.ceil(cut) for cut in cuts] == [6, 9, 14]

    biases = np.asarray(attention.compute_bias(1, 26, query_start_index=25))[0, 0, 0][::-1]  # by the distance back

    by_hand = [0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6] + [7] * 12
    np.testing.assert_array_equal(biases, by_hand)


def test_another_max_distance_alone_changes_far_positions_only():
    near, far = (
        draw(make(T5VariantBackbone, **SHAPE, relative_attention_max_distance=distance)) for distance in (40, 128)
    )

    biases = [
        np.asarray(backbone.encoder_transformer_layers[0].self_attention.compute_bias(1, 60))
        for backbone in (near, far)
    ]

    same = (biases[0] == biases[1]).all(axis=(0, 1, 2))
    assert same[:8].all()  # 16 buckets each way, half of them exact
    assert not same.all()


# === Stored and made again ===


def test_a_config_makes_the_same_model_again(variant):
    again = make(T5VariantBackbone.from_config, config=variant.get_config())
    again.set_weights(variant.get_weights())

    assert again.get_config() == variant.get_config()
    assert (again.num_decoder_layers, again.relative_attention_buckets, again.relative_attention_max_distance) == (
        1,
        BUCKETS,
        MAX_DISTANCE,
    )
    for name, value in outputs(variant).items():
        np.testing.assert_allclose(outputs(again)[name], value, atol=1e-5, err_msg=name)


def test_it_is_known_to_keras_by_its_name(variant):
    config = keras.saving.serialize_keras_object(variant)

    assert config["registered_name"] == "softprompt_tf>T5VariantBackbone"
    assert isinstance(make(keras.saving.deserialize_keras_object, config=config), T5VariantBackbone)


def test_a_preset_of_it_is_read_as_it_was_saved(variant, tmp_path):
    variant.save_to_preset(str(tmp_path))
    keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()).save_to_preset(str(tmp_path))

    t5 = load_t5(tmp_path)

    assert type(t5.backbone) is T5VariantBackbone
    for name, value in outputs(variant).items():
        np.testing.assert_allclose(outputs(t5.backbone)[name], value, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_float16_preset_of_it_holds_its_weights_rounded_to_float16(variant, tmp_path):
    write_preset(variant, tiny_vocabulary(), tmp_path / "variant", dtype="float16")

    t5 = load_t5(tmp_path / "variant")

    for got, expected in zip(t5.backbone.weights, variant.weights, strict=True):
        np.testing.assert_array_equal(
            got, expected.numpy().astype(np.float16).astype(np.float32), err_msg=expected.path
        )


def test_it_runs_in_bfloat16(variant):
    half = make(T5VariantBackbone, **VARIANT, dtype="bfloat16")
    for theirs, ours in zip(variant.weights, half.weights, strict=True):
        ours.assign(theirs.numpy())

    states = outputs(half)["decoder_sequence_output"]

    assert {str(w.dtype) for w in half.weights} == {"bfloat16"}
    assert states.dtype == "bfloat16"
    assert np.isfinite(states.astype(np.float32)).all()


def test_a_frozen_t5_of_it_agrees_with_it(variant):
    t5 = FrozenT5(variant, keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()), name="variant")
    given, expected = inputs(), outputs(variant)

    encoded = t5.encode(t5.embed(given["encoder_token_ids"]), given["encoder_padding_mask"])
    states = t5.decode(given["decoder_token_ids"], encoded, given["encoder_padding_mask"])

    np.testing.assert_allclose(encoded, expected["encoder_sequence_output"], atol=1e-5)
    np.testing.assert_allclose(states, expected["decoder_sequence_output"], atol=1e-5)
