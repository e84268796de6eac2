"""The frozen T5 against T5 written out in NumPy, and what it refuses."""

import keras
import keras_hub
import numpy as np
import numpy_t5
import pytest
import t5_models
import tensorflow as tf
from sentencepiece import sentencepiece_model_pb2
from sentinel_t5 import make_sentinel_t5, vocabulary_with_sentinels
from tiny_t5 import HEAD_DIM, HIDDEN_DIM, NUM_PIECES, VOCABULARY_SIZE, make_tiny_t5, tiny_vocabulary

from softprompt_tf.backbones import EOS_ID, FrozenT5, load_t5
from softprompt_tf.backbones.bundled import bundled_prompts
from softprompt_tf.errors import BackboneError
from softprompt_tf.methods import load_prompt

LENGTHS = (7, 3, 1, 5)
TARGET_IDS = np.array([[0, 9, 31, 7, 7, 90], [0, 4, 1, 0, 0, 0], [0, 119, 5, 6, 1, 0], [0, 3, 3, 3, 3, 3]])


@pytest.fixture(scope="module")
def weights(tiny_t5):
    return numpy_t5.read_weights(tiny_t5.backbone)


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(3)
    return [generator.integers(3, VOCABULARY_SIZE, size=length) for length in LENGTHS]


def pad(rows, side):
    """Return ids [B, T] and mask [B, T]; the padding holds ids that must not matter."""
    width = max(len(row) for row in rows)
    ids, mask = np.full((len(rows), width), 77), np.zeros((len(rows), width), np.int32)
    for k, row in enumerate(rows):
        here = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[k, here], mask[k, here] = row, 1
    return ids, mask


def encoder_output(t5, rows):
    ids, mask = pad(rows, "right")
    return t5.encode(t5.embed(ids), mask), mask


@pytest.mark.parametrize("side", ["left", "right"])
def test_encode_gives_each_row_what_it_gets_alone_in_numpy(tiny_t5, weights, rows, side):
    ids, mask = pad(rows, side)

    output = tiny_t5.encode(tiny_t5.embed(ids), mask).numpy()

    for k, row in enumerate(rows):
        expected = numpy_t5.encode(weights, weights.table[row])
        np.testing.assert_allclose(output[k][mask[k] == 1], expected, atol=2e-5)


def test_encode_takes_a_prompt_in_front_that_is_no_token(tiny_t5, weights, rows):
    prompt = np.random.default_rng(4).normal(size=(3, HIDDEN_DIM)).astype("float32")
    ids, mask = pad(rows, "right")
    embeddings = np.concatenate([np.tile(prompt, (len(rows), 1, 1)), tiny_t5.embed(ids).numpy()], axis=1)

    output = tiny_t5.encode(embeddings, np.concatenate([np.ones((len(rows), 3), np.int32), mask], axis=1)).numpy()

    for k, row in enumerate(rows):
        expected = numpy_t5.encode(weights, np.concatenate([prompt, weights.table[row]]))
        np.testing.assert_allclose(output[k][: 3 + len(row)], expected, atol=2e-5)


def test_masked_rows_in_front_of_a_prompt_change_nothing(tiny_t5, rows):
    prompt = np.random.default_rng(4).normal(size=(1, 2, HIDDEN_DIM)).astype("float32")
    text = tiny_t5.embed(rows[0][None]).numpy()
    alone = tiny_t5.encode(np.concatenate([prompt, text], axis=1), np.ones((1, 9), np.int32)).numpy()
    filler = np.full((1, 6, HIDDEN_DIM), 5.0, np.float32)

    output = tiny_t5.encode(
        np.concatenate([filler, prompt, text], axis=1), np.array([[0] * 6 + [1] * 9], np.int32)
    ).numpy()

    np.testing.assert_allclose(output[:, 6:], alone, atol=2e-5)


def test_encode_reaches_far_beyond_the_last_position_bucket(tiny_t5, weights):
    ids = np.random.default_rng(5).integers(3, VOCABULARY_SIZE, size=(1, 200))

    output = tiny_t5.encode(tiny_t5.embed(ids), np.ones_like(ids)).numpy()

    np.testing.assert_allclose(output[0], numpy_t5.encode(weights, weights.table[ids[0]]), atol=5e-5)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_position_buckets_are_those_of_the_paper(tiny_t5, bidirectional):
    stack = (
        tiny_t5.backbone.encoder_transformer_layers if bidirectional else tiny_t5.backbone.decoder_transformer_layers
    )
    distances = np.arange(-300, 301, dtype=np.int32)

    buckets = stack[0].self_attention._relative_position_bucket(distances, bidirectional=bidirectional)

    expected = [numpy_t5.bucket(int(distance), bidirectional=bidirectional) for distance in distances]
    np.testing.assert_array_equal(np.asarray(buckets), expected)


def test_decode_gives_the_states_of_numpy(tiny_t5, weights, rows):
    output, mask = encoder_output(tiny_t5, rows)

    states = tiny_t5.decode(TARGET_IDS, output, mask).numpy()

    for k, row in enumerate(rows):
        expected = numpy_t5.decode(weights, TARGET_IDS[k], numpy_t5.encode(weights, weights.table[row]))
        np.testing.assert_allclose(states[k], expected, atol=5e-5)


@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
def test_logits_are_those_of_numpy(tiny_t5, tie, rows):
    t5 = make_tiny_t5(tie=True, num_layers=1) if tie else tiny_t5
    weights = numpy_t5.read_weights(t5.backbone)
    output, mask = encoder_output(t5, rows)

    logits = t5.logits(t5.decode(TARGET_IDS, output, mask))

    assert logits.dtype == tf.float32
    for k, row in enumerate(rows):
        expected = numpy_t5.logits(weights, TARGET_IDS[k], numpy_t5.encode(weights, weights.table[row]))
        np.testing.assert_allclose(logits[k].numpy(), expected, atol=1e-4)
    assert np.abs(logits.numpy()).max() > 2  # else the comparison would say little


def test_the_forward_pass_is_the_same_inside_a_graph(tiny_t5, rows):
    def forward(ids, mask):
        return tiny_t5.logits(tiny_t5.decode(TARGET_IDS, tiny_t5.encode(tiny_t5.embed(ids), mask), mask))

    ids, mask = pad(rows, "right")

    graph = tf.function(forward, input_signature=[tf.TensorSpec((None, None), tf.int32)] * 2)(ids, mask)

    np.testing.assert_allclose(graph, forward(ids, mask), atol=1e-4)


def test_bfloat16_is_close_to_float32_and_has_float32_logits(tiny_t5, tiny_t5_bfloat16, rows):
    half = tiny_t5_bfloat16
    expected_output, mask = encoder_output(tiny_t5, rows)
    expected = tiny_t5.logits(tiny_t5.decode(TARGET_IDS, expected_output, mask)).numpy()

    output, _ = encoder_output(half, rows)
    logits = half.logits(half.decode(TARGET_IDS, output, mask))

    assert half.compute_dtype == "bfloat16"
    assert (output.dtype, logits.dtype) == (tf.bfloat16, tf.float32)
    assert np.isfinite(logits).all()
    assert np.corrcoef(logits.numpy().ravel(), expected.ravel())[0, 1] > 0.998


def test_logits_of_bfloat16_states_are_computed_in_float32(tiny_t5_bfloat16, rows):
    half = tiny_t5_bfloat16
    output, mask = encoder_output(half, rows)
    states = half.decode(TARGET_IDS, output, mask)

    logits = half.logits(states).numpy()

    head = half.backbone.token_embedding.reverse_embeddings.numpy().astype(np.float64)
    np.testing.assert_allclose(logits, tf.cast(states, tf.float64).numpy() @ head, atol=1e-4)


def test_sizes_are_those_of_the_backbone(tiny_t5):
    assert (tiny_t5.hidden_dim, tiny_t5.vocabulary_size, tiny_t5.num_heads) == (HIDDEN_DIM, VOCABULARY_SIZE, 2)
    assert tiny_t5.head_dim == HEAD_DIM
    assert tiny_t5.compute_dtype == "float32"
    assert tiny_t5.embedding_table.shape == (VOCABULARY_SIZE, HIDDEN_DIM)
    assert tiny_t5.embedding_table.dtype == np.float32


def test_the_embedding_table_is_no_copy_of_the_weights(tiny_t5):
    weights = tiny_t5.backbone.token_embedding.embeddings.value.read_value()

    assert np.shares_memory(tiny_t5.embedding_table, np.asarray(weights))
    np.testing.assert_array_equal(tiny_t5.embedding_table, weights.numpy())


def test_the_embedding_table_of_bfloat16_weights_is_float32(tiny_t5_bfloat16):
    weights = tiny_t5_bfloat16.backbone.token_embedding.embeddings.value

    assert tiny_t5_bfloat16.embedding_table.dtype == np.float32
    np.testing.assert_array_equal(tiny_t5_bfloat16.embedding_table, tf.cast(weights, tf.float32).numpy())


def test_nothing_is_trainable(tiny_t5):
    assert tiny_t5.backbone.trainable_variables == []
    assert len(tiny_t5.backbone.non_trainable_variables) == len(tiny_t5.backbone.weights)


def test_detokenize_gives_back_the_text(tiny_t5):
    texts = ["a charming film", "", "the river"]

    ids = tiny_t5.tokenize(texts)

    assert all(EOS_ID not in row for row in ids)
    assert tiny_t5.detokenize(ids) == texts


def test_detokenize_leaves_out_padding_the_end_and_ids_past_the_pieces(tiny_t5):
    (ids,) = tiny_t5.tokenize(["the river"])

    assert tiny_t5.detokenize([[0, *ids, 1, 0, 0, NUM_PIECES, VOCABULARY_SIZE - 1]]) == ["the river"]


def test_sentinels_count_down_from_99_past_the_pieces():
    t5 = make_sentinel_t5()  # 120 pieces, 224 rows

    assert [t5.sentinel_id(k) for k in (0, 1, 99)] == [219, 218, 120]
    assert t5.sentinel_pieces == ()


def test_sentinels_of_the_vocabulary_are_its_pieces():
    t5 = make_sentinel_t5(vocabulary_with_sentinels(), num_rows=218, sentinel=3)

    assert t5.sentinel_pieces == (3, 4)
    assert [t5.sentinel_id(k) for k in (0, 1, 2)] == [3, 4, 217]  # the third is none of the 120 pieces
    (ids,) = t5.tokenize(["the river"])
    assert t5.detokenize([[3, *ids, 4, 1]]) == ["the river"]


@pytest.fixture(scope="module")
def mini():
    return load_t5("mini")


def test_the_prompts_that_ship_with_the_bundled_t5_are_for_it(mini):
    prompts = [load_prompt(path) for path in sorted(bundled_prompts("mini").glob("*.safetensors"))]

    assert [prompt.task_id for prompt in prompts] == ["question_type", "sentiment", "topic"]
    assert {
        (prompt.backbone_fingerprint, prompt.tokenizer_fingerprint, *prompt.prompt.shape) for prompt in prompts
    } == {(mini.fingerprint, mini.tokenizer_fingerprint, 20, 256)}


def test_the_bundled_t5_has_its_first_sentinel_in_the_last_row(mini):
    t5 = mini

    assert (t5.tokenizer.vocabulary_size(), t5.vocabulary_size, t5.sentinel_id(0)) == (8092, 8192, 8191)


def test_a_sentinel_without_a_row_is_refused(tiny_t5):
    message = (
        r"row for sentinel <extra_id_0>\. Received: 128 rows and 120 pieces.* at id 219\. Use the target format `text`"
    )
    with pytest.raises(BackboneError, match=message):
        tiny_t5.sentinel_id(0)
    assert tiny_t5.sentinel_id(99) == 120


@pytest.mark.parametrize("k", [-1, 100])
def test_a_sentinels_number_is_from_0_to_99(tiny_t5, k):
    with pytest.raises(BackboneError, match=f"must be from 0 to 99. Received: k={k}"):
        tiny_t5.sentinel_id(k)


def test_tokenize_of_no_texts_is_no_rows(tiny_t5):
    assert tiny_t5.tokenize([]) == []
    assert tiny_t5.detokenize([]) == []


def test_a_model_that_is_no_t5_is_refused(tiny_t5):
    with pytest.raises(BackboneError, match=r"must be a KerasHub T5Backbone\. Received: Sequential"):
        FrozenT5(keras.Sequential(), tiny_t5.tokenizer, name="x")


def test_float16_is_refused():
    with pytest.raises(BackboneError, match=r"float16 gives NaN.*Received: dtype=float16.*bfloat16"):
        make_tiny_t5("float16", num_layers=0)


@pytest.mark.parametrize(("mode", "layer"), [("int8", "token_embedding"), ("float8", "transformer_encoder_layer_0")])
def test_a_backbone_quantized_by_itself_is_refused_as_gradients_do_not_pass(mode, layer):
    t5 = make_tiny_t5(num_layers=1)
    part = t5.backbone.get_layer(layer)
    projection = part if mode == "int8" else part.self_attention.query_projector

    projection.quantize(mode)

    message = (
        rf"quantized in its projections, to int8 or int4.*Received: {projection.name} in {mode}. Load the T5 in floats"
    )
    with pytest.raises(BackboneError, match=message):
        FrozenT5(t5.backbone, t5.tokenizer, name="quantized")
    with pytest.raises(BackboneError, match=message):
        t5.check_frozen()


def test_a_tokenizer_with_more_pieces_than_rows_is_refused(tiny_t5):
    tokenizer = keras_hub.models.T5Tokenizer(proto=tiny_vocabulary(VOCABULARY_SIZE + 1))

    with pytest.raises(BackboneError, match="Received: 129 pieces, 128 rows"):
        FrozenT5(tiny_t5.backbone, tokenizer, name="x")


def test_byt5s_sentinels_are_its_last_bytes(tmp_path):
    directory = t5_models.write_model(tmp_path / "byt5", "byt5")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')

    byt5 = load_t5(directory)

    assert [byt5.sentinel_id(k) for k in (0, 1, 99)] == [258, 257, 159]  # 3 special ids, then 256 bytes


def test_mt5s_sentinels_are_pieces_behind_a_space(tiny_t5):
    model = sentencepiece_model_pb2.ModelProto.FromString(tiny_vocabulary())
    model.pieces[77].piece = "▁<extra_id_0>"
    tokenizer = keras_hub.models.T5Tokenizer(proto=model.SerializeToString())

    assert FrozenT5(tiny_t5.backbone, tokenizer, name="mt5").sentinel_id(0) == 77
