"""The frozen T5's own passes against KerasHub's layers: states, scores, and the gradient of the embeddings."""

import functools

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.passes import cheaper_passes
from softprompt_tf.backbones.passes.absorbed_attention import is_cheaper
from softprompt_tf.backbones.passes.cheaper_passes import by_cost, encode_embeddings
from softprompt_tf.backbones.passes.frozen_forward import FrozenForward
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.injection import Front, Injection, LayerChange

pytestmark = pytest.mark.thorough

V, B, S, H, N, D = 128, 3, 40, 16, 2, 6
TANH_GELU = keras.saving.get_registered_object("keras_hub>gelu_approximate")
FORMS = {
    "t5_1.1": {"activation": TANH_GELU, "use_gated_activation": True, "tie_embedding_weights": False},
    "t5_1.0": {"activation": "relu", "use_gated_activation": False, "tie_embedding_weights": True},
    "kerashub_1.1": {"activation": "gelu", "use_gated_activation": True, "tie_embedding_weights": False},
    "gated_relu": {"activation": "relu", "use_gated_activation": True, "tie_embedding_weights": False},
    "plain_gelu": {"activation": "gelu", "use_gated_activation": False, "tie_embedding_weights": True},
}
OTHER_FORMS = {
    "gated_elu": {"activation": "elu", "use_gated_activation": True, "tie_embedding_weights": False},
    "tanh": {"activation": "tanh", "use_gated_activation": False, "tie_embedding_weights": True},
}
FEW, MANY = 2, 9  # tokens: on the two sides of where absorbed cross-attention pays


def make_t5(form, dtype="float32", dropout=0.0):
    backbone = plain_backbone(
        vocabulary_size=V, num_layers=2, num_heads=N, hidden_dim=H, intermediate_dim=24, key_value_dim=D,
        dropout=dropout, dtype=dtype, **{**FORMS, **OTHER_FORMS}[form],
    )  # fmt: skip
    rng = np.random.default_rng(1)
    for weight in backbone.weights:  # norms and position biases too, which start at one and near zero
        drawn = rng.normal(size=weight.shape)
        norm_like = "norm" in weight.path or "attention/embeddings" in weight.path
        weight.assign(1.0 + 0.3 * drawn if norm_like else drawn * weight.shape[0] ** -0.5)
    return FrozenT5(backbone, keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()), name=form)


@pytest.fixture(scope="module", params=FORMS)
def t5(request):
    return make_t5(request.param)


def rows(num_tokens, dtype="float32"):
    rng = np.random.default_rng(2)
    embeddings = tf.constant(rng.normal(size=(B, S, H)), dtype)
    mask = tf.constant(np.arange(S) < np.array([[S], [9], [23]]), tf.int32)
    return embeddings, mask, tf.constant(rng.integers(3, V, (B, num_tokens)), tf.int32)


def by_the_layers(t5, embeddings, mask, ids):
    return t5.decode(ids, t5.encode(embeddings, mask), mask)


def tune(t5, *batch, **settings):
    """Return the decoder states of `cheaper_passes.tune`."""
    return cheaper_passes.tune(t5, *batch, **settings).decoder


def tune_of(t5):
    return functools.partial(tune, t5)


def states_and_gradient_of(compute, embeddings, *others):
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        states = compute(embeddings, *others)
        weights = tf.cos(tf.reshape(tf.range(tf.size(states), dtype="float32"), tf.shape(states)))
        loss = tf.reduce_sum(tf.sin(states) * tf.cast(weights, states.dtype))
    return tf.cast(states, "float32"), tf.cast(tape.gradient(loss, embeddings), "float32")


def states_and_gradient(compute, *batch):
    return [value.numpy() for value in states_and_gradient_of(compute, *batch)]


def executed_ops(graph, *batch):
    """Run a graph; return the kinds of its operations as TensorFlow's optimizer left them."""
    context.enable_run_metadata()
    try:
        graph(*batch)
        graphs = [found.post_optimization_graph for found in context.export_run_metadata().function_graphs]
    finally:
        context.disable_run_metadata()
    return [node.op for part in graphs for node in part.node]


def assert_near(found, expected, share):
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max())


def test_the_two_lengths_lie_on_two_sides():
    assert is_cheaper(FEW, S, H, D) is True
    assert is_cheaper(MANY, S, H, D) is False


def test_is_cheaper_counts_multiplications():
    # T5 1.1 Small, 148 positions: one token takes 148 * (512 - 64) + 512 * 64 = 99,072; the projection 4,849,664.
    assert [tokens for tokens in range(1, 100) if is_cheaper(tokens, 148, 512, 64)] == list(range(1, 25))


@pytest.mark.parametrize("num_tokens", [FEW, MANY])
def test_states_and_gradient_are_those_of_the_layers(t5, num_tokens):
    batch = rows(num_tokens)

    states, gradient = states_and_gradient(tune_of(t5), *batch)

    expected_states, expected_gradient = states_and_gradient(lambda *batch: by_the_layers(t5, *batch), *batch)
    np.testing.assert_allclose(states, expected_states, rtol=0, atol=2e-5)
    assert np.abs(expected_gradient).max() > 0.1
    assert_near(gradient, expected_gradient, 2e-5)


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize("form", [*FORMS, "gated_elu"])
def test_the_encoder_output_is_that_of_the_layers(form, dtype, share):
    model = make_t5(form, dtype)
    embeddings, mask, _ = rows(FEW, dtype)
    mask = tf.concat([mask[:, ::-1][:, :20], mask[:, :20]], axis=1)  # padding on both sides

    found = encode_embeddings(model, embeddings, mask)

    assert found.dtype == dtype
    real = mask.numpy() == 1
    expected = tf.cast(model.encode(embeddings, mask), "float32").numpy()[real]
    assert_near(tf.cast(found, "float32").numpy()[real], expected, share)


@pytest.mark.parametrize("form", FORMS)
def test_encoding_runs_through_no_layer_unless_one_is_quantized(form, monkeypatch):
    model, calls = make_t5(form), []
    monkeypatch.setattr(model, "encode", lambda *args, **how: calls.append(args))
    batch = rows(FEW)[:2]

    encode_embeddings(model, *batch)
    assert calls == []

    model.quantize("int8")
    encode_embeddings(model, *batch)
    assert len(calls) == 1


@pytest.mark.parametrize("num_tokens", [FEW, MANY])
@pytest.mark.parametrize("form", [*FORMS, "int8"])
@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_recomputing_gives_the_same_states_and_gradient(form, num_tokens, in_graph):
    model = make_t5("t5_1.1" if form == "int8" else form)
    if form == "int8":
        model.quantize("int8")
    batch = rows(num_tokens)

    def run(recompute):
        return functools.partial(
            states_and_gradient_of, functools.partial(tune, model, num_moving=4, recompute=recompute)
        )

    recomputed = tf.function(run(recompute=True), autograph=False) if in_graph else run(recompute=True)
    states, gradient = (value.numpy() for value in recomputed(*batch))
    expected_states, expected_gradient = (value.numpy() for value in run(recompute=False)(*batch))
    np.testing.assert_allclose(states, expected_states, rtol=0, atol=1e-5)
    assert np.abs(expected_gradient).max() > 0.1
    assert_near(gradient[:, :4], expected_gradient[:, :4], 1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_recomputed_is_not_kept_from_the_first_pass(form):
    """TensorFlow's optimizer makes one of two operations with the same inputs; then nothing would be saved."""
    model, batch = make_t5(form), rows(FEW)

    def softmaxes(recompute):
        compute = functools.partial(tune, model, recompute=recompute)
        return executed_ops(
            tf.function(functools.partial(states_and_gradient_of, compute), autograph=False), *batch
        ).count("Softmax")

    assert (
        softmaxes(recompute=False) == 6
    )  # two layers of each stack: their own attention, and the decoder's to the encoder
    assert softmaxes(recompute=True) == 12


@pytest.mark.parametrize("num_tokens", [FEW, MANY])
@pytest.mark.parametrize("num_moving", [1, 5, S])
def test_rows_in_front_have_the_whole_gradient_and_the_others_none(t5, num_tokens, num_moving):
    batch = rows(num_tokens)

    _, gradient = states_and_gradient(lambda *batch: tune(t5, *batch, num_moving=num_moving), *batch)

    _, whole = states_and_gradient(tune_of(t5), *batch)
    assert_near(gradient[:, :num_moving], whole[:, :num_moving], 1e-5)
    assert not gradient[:, num_moving:].any()


@pytest.mark.parametrize("num_tokens", [FEW, MANY])
@pytest.mark.parametrize("is_changed", [False, True])
def test_rows_behind_the_encoder_have_the_gradient_of_the_layers(t5, num_tokens, is_changed):
    states, mask, ids = rows(num_tokens)
    behind = tf.constant(np.random.default_rng(3).normal(size=(B, 3, H)), tf.float32)
    # A scale of ones changes nothing, but an attention with one has no gradient of its own.
    ones = LayerChange("cross", "output_scale", tf.ones([B, 1, 2, H]))
    injection = Injection(behind=Front(behind), changes=(ones,) * is_changed)

    with tf.GradientTape() as tape:
        tape.watch(behind)
        loss = tf.reduce_sum(tf.sin(tune(t5, states, mask, ids, injection, first=None)))
    gradient = tape.gradient(loss, behind)

    with tf.GradientTape() as tape:
        tape.watch(behind)
        output, seen = tf.concat([behind, states], axis=1), tf.pad(mask, [[0, 0], [3, 0]], constant_values=1)
        expected = tf.reduce_sum(tf.sin(t5.decode(ids, output, seen)))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert_near(gradient, tape.gradient(expected, behind), 2e-5)


def test_a_graph_of_unknown_sizes_takes_the_same_two_ways(t5):
    specs = [tf.TensorSpec([None, None, H]), *[tf.TensorSpec([None, None], tf.int32)] * 2]

    @functools.partial(tf.function, input_signature=specs, autograph=False)
    def graph(embeddings, mask, ids):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = tf.reduce_sum(tf.sin(tune(t5, embeddings, mask, ids, num_moving=4)))
        return loss, tape.gradient(loss, embeddings)

    for num_tokens in (FEW, MANY):
        batch = rows(num_tokens)
        with tf.GradientTape() as tape:
            tape.watch(batch[0])
            expected = tf.reduce_sum(tf.sin(by_the_layers(t5, *batch)))
        loss, gradient = graph(*batch)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
        assert_near(gradient[:, :4], tape.gradient(expected, batch[0])[:, :4], 2e-5)


def test_no_gradient_reaches_the_weights(t5):
    batch = rows(FEW)

    with tf.GradientTape() as tape:
        variables = [variable.value for variable in t5.backbone.variables]
        tape.watch(variables)
        loss = tf.reduce_sum(tune(t5, *batch))

    found = tape.gradient(loss, variables)
    assert [v.path for v, g in zip(t5.backbone.variables, found, strict=True) if g is not None] == []


@pytest.mark.parametrize("num_tokens", [FEW, MANY])
@pytest.mark.parametrize("form", ["t5_1.1", "kerashub_1.1"])
def test_bfloat16_is_near_float32(form, num_tokens):
    exact, half = (make_t5(form, dtype) for dtype in ("float32", "bfloat16"))

    states, gradient = states_and_gradient(tune_of(half), *rows(num_tokens, "bfloat16"))

    expected_states, expected_gradient = states_and_gradient(tune_of(exact), *rows(num_tokens))
    assert_near(states, expected_states, 0.1)
    assert np.vdot(gradient, expected_gradient) > 0.99 * np.linalg.norm(gradient) * np.linalg.norm(expected_gradient)


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_other_forms_run_through_the_layers(form):
    t5, batch = make_t5(form), rows(FEW)

    assert not t5.forward.is_able
    assert "activation" in t5.training_pass.reason
    np.testing.assert_array_equal(tune(t5, *batch), by_the_layers(t5, *batch))


def test_a_quantized_t5_runs_through_the_layers():
    t5, batch = make_t5("t5_1.1"), rows(FEW)

    t5.quantize("int8")

    assert not t5.forward.is_able
    np.testing.assert_array_equal(tune(t5, *batch), by_the_layers(t5, *batch))


@pytest.mark.parametrize("length", [1, 5])
def test_scores_are_those_over_keys_and_values(t5, length, monkeypatch):
    embeddings, mask, _ = rows(FEW)
    encoder_output = t5.encode(embeddings, mask)
    targets = np.random.default_rng(5).integers(3, V, (B, 2, length)).astype(np.int32)
    targets[:, 1, 1:] = 0

    scores = score_targets(t5, targets, encoder_output, mask)

    with monkeypatch.context() as patched:
        patched.setattr(FrozenForward, "is_short", lambda *sizes: False)
        expected = score_targets(t5, targets, encoder_output, mask)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-5)
    graph = tf.function(
        lambda ids: score_targets(t5, ids, encoder_output, mask),
        input_signature=[tf.TensorSpec([None] * 3, tf.int32)],
        autograph=False,
    )
    np.testing.assert_allclose(graph(targets), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("num_tokens", "can_branch", "taken"), [(2, True, 1), (2, False, 1), (9, True, None), (9, False, 2)]
)
def test_a_graph_of_few_known_tokens_has_one_way(num_tokens, can_branch, taken):
    """With H=16 and D=6, 2 tokens on 32 positions are cheaper absorbed (2 * 2 * (32 * 10 + 96) <= 32 * 96), 9 are not."""
    t5 = make_t5("t5_1.1")
    ways = {"few": lambda: tf.constant(1), "many": lambda: tf.constant(2)}
    graph = tf.function(
        lambda states: by_cost(t5, num_tokens, tf.shape(states)[1], **ways, can_branch=can_branch),
        input_signature=[tf.TensorSpec([None, None])],
        autograph=False,
    ).get_concrete_function()

    branches = [node.type for node in graph.graph.get_operations() if node.type in ("If", "StatelessIf")]

    assert len(branches) == (taken is None)
    assert taken is None or int(graph(tf.zeros([1, 3]))) == taken
