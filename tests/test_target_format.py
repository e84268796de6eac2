"""The target format "sentinel": the decoder is trained on, scored on and generates `<extra_id_0> label </s>`."""

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from sentinel_t5 import SENTINEL_0, make_sentinel_t5, vocabulary_with_sentinels
from tiny_t5 import SENTENCES

from softprompt_tf.errors import BackboneError, ConfigError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.inference.answering import answerer_without_prompt
from softprompt_tf.inference.decoding import Beam
from softprompt_tf.methods import init, load_prompt, prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.tasks import Task, tokenize_examples
from softprompt_tf.texts.text_batches import TextBatches, put_in_front
from softprompt_tf.training import TargetCrossEntropy

pytestmark = pytest.mark.thorough

LABELS = ("good", "a bad one", "no")
TEXTS = ["a charming film", "", "the plot is thin and the jokes are tired", "the river"]
TARGETS = ["good", "no", "a bad one", "good"]


@pytest.fixture(scope="module")
def t5():
    return make_sentinel_t5()


@pytest.fixture(scope="module")
def weights(t5):
    return numpy_t5.read_weights(t5.backbone)


def make_model(t5, **settings):
    method = prompt_tuning(3, init.random_uniform(1.0), seed=1)
    limits = {"max_input_tokens": 16, "max_target_tokens": 6, "target_format": "sentinel"}
    return PromptedT5(t5, settings.pop("prompt", method), **{**limits, **settings})


@pytest.fixture(scope="module")
def model(t5):
    """A model whose prompt no test changes."""
    return make_model(t5, labels=LABELS)


def target_ids(t5, text, limit=6):
    """Return sentinel 0, the text's pieces up to the limit less one, the end of sequence: `limit` does not count the first."""
    return [SENTINEL_0, *t5.tokenize([text])[0][: limit - 1], 1]


def encode_in_numpy(model, weights, text):
    ids = [*model.t5.tokenize([text])[0][:15], 1]
    return numpy_t5.encode(weights, np.concatenate([model.prompt_value(), weights.table[ids]]))


def score_in_numpy(model, weights, text, target):
    return numpy_t5.target_log_probability(weights, target_ids(model.t5, target), encode_in_numpy(model, weights, text))


# === Ids ===


def test_every_way_to_target_ids_puts_the_sentinel_in_front(t5):
    batches = TextBatches(t5, 12, 3, opening_id=SENTINEL_0)
    first, second = t5.tokenize(["no", "a bad one"])
    by_hand = [[SENTINEL_0, *first, 1], [SENTINEL_0, *second[:2], 1]]
    width = max(map(len, by_hand))
    padded = [ids + [0] * (width - len(ids)) for ids in by_hand]

    tokens, targets = batches.tokenize({"encoder_text": ["x", "y"], "decoder_text": ["no", "a bad one"]})
    task = Task("t", "{x}", "{y}", train=[{"x": "x", "y": "no"}, {"x": "y", "y": "a bad one"}])
    examples = tokenize_examples(
        task.examples("train"), t5.tokenize, max_input_tokens=12, max_target_tokens=3, opening_id=SENTINEL_0
    )

    assert len(second) > 2  # so that it was cut
    np.testing.assert_array_equal(targets, padded)
    np.testing.assert_array_equal(tokens["decoder_token_ids"], [[0, *ids[:-1]] for ids in padded])
    np.testing.assert_array_equal(tokens["decoder_padding_mask"], np.array(padded) != 0)
    np.testing.assert_array_equal(batches.target_ids([["no"], ["a bad one"]])[:, 0], padded)
    assert [ids.tolist() for ids in examples.target_token_ids] == by_hand


def test_inputs_have_no_sentinel(t5):
    batches = TextBatches(t5, 12, 3, opening_id=SENTINEL_0)

    tokens, _ = batches.tokenize({"encoder_text": ["the river"], "decoder_text": ["no"]})
    ((_, asked),) = batches.inference(["the river"], None, batch_size=1)

    assert tokens["encoder_token_ids"].numpy().tolist() == [[*t5.tokenize(["the river"])[0], 1]]
    np.testing.assert_array_equal(asked["encoder_token_ids"], tokens["encoder_token_ids"])


@pytest.mark.parametrize(
    ("opening_ids", "expected"),
    [
        ([0, 0], [[5, 6, 1], [7, 1, 0]]),
        ([9, 9], [[9, 5, 6, 1], [9, 7, 1, 0]]),
        ([0, 9], [[5, 6, 1, 0], [9, 7, 1, 0]]),
    ],
    ids=["none", "all", "some"],
)
def test_each_row_has_its_own_opening_id(opening_ids, expected):
    graph = tf.function(
        put_in_front, input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
    )

    assert graph(tf.constant([[5, 6, 1], [7, 1, 0]]), tf.constant(opening_ids)).numpy().tolist() == expected


def test_no_rows_stay_no_rows():
    assert put_in_front(tf.zeros([0, 4], tf.int32), tf.zeros([0], tf.int32)).shape[0] == 0


# === Training ===


def test_the_loss_is_that_of_numpy_over_sentinel_label_and_end(t5, weights):
    model = make_model(t5)
    model.compile(optimizer="sgd", loss=TargetCrossEntropy(z_loss=0.0))

    loss = model.evaluate(TEXTS, TARGETS, batch_size=4, verbose=0)

    total = sum(score_in_numpy(model, weights, *pair) for pair in zip(TEXTS, TARGETS, strict=True))
    tokens = sum(len(target_ids(t5, target)) for target in TARGETS)
    assert loss == pytest.approx(-total / tokens, abs=1e-4)


def test_a_prompt_that_starts_at_the_labels_starts_at_their_plain_pieces(t5):
    model = make_model(t5, prompt=prompt_tuning(2, init.class_labels(["good", "no"]), seed=1))

    words = [t5.embedding_table[ids].mean(axis=0) for ids in t5.tokenize(["good", "no"])]
    np.testing.assert_allclose(model.prompt_value(), words, atol=1e-6)


# === Answers ===


def test_scores_are_those_of_numpy_with_the_sentinel(model, weights):
    scores = model.score(TEXTS, TARGETS)

    expected = [score_in_numpy(model, weights, *pair) for pair in zip(TEXTS, TARGETS, strict=True)]
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_label_log_probabilities_are_those_of_numpy_with_the_sentinel(model, weights):
    choices = model.classify(TEXTS)

    for text, choice in zip(TEXTS, choices, strict=True):
        scores = np.array([score_in_numpy(model, weights, text, label) for label in LABELS])
        np.testing.assert_allclose(choice.log_probabilities, scores - np.log(np.exp(scores).sum()), atol=1e-3)
        assert choice.label == LABELS[int(scores.argmax())]


def test_scores_are_sums_over_a_plain_decode(model):
    tokens, targets = model.text_batches.tokenize({"encoder_text": TEXTS, "decoder_text": TARGETS})
    logs = tf.nn.log_softmax(model(tokens)).numpy()
    picked = np.take_along_axis(logs, targets.numpy()[..., None], axis=-1)[..., 0] * (targets.numpy() != 0)

    assert (targets.numpy()[:, 0] == SENTINEL_0).all()
    np.testing.assert_allclose(model.score(TEXTS, TARGETS), picked.sum(axis=1), atol=1e-4)


def test_generated_texts_and_scores_are_those_of_numpy_without_the_sentinel(model, weights):
    texts = list(SENTENCES[:12])

    answers = model.generate_scored(texts)

    opened = 0
    for text, answer in zip(texts, answers, strict=True):
        ids, score = numpy_t5.greedy(weights, encode_in_numpy(model, weights, text), 7)  # a sentinel and 6 tokens
        opened += ids[0] == SENTINEL_0
        assert answer.text == model.t5.detokenize([[token for token in ids if token < 120]])[0]
        assert answer.score == pytest.approx(score, abs=1e-3)
    assert opened >= 6


def test_a_limit_on_the_answer_does_not_count_the_sentinel(model, weights):
    text = next(text for text in SENTENCES if greedy_ids(model, weights, text, 1) == [SENTINEL_0])

    answer = model.generate(text, max_tokens=2)

    ids = greedy_ids(model, weights, text, 3)
    assert answer == model.t5.detokenize([[token for token in ids if token < 120]])[0]


def greedy_ids(model, weights, text, max_tokens):
    return numpy_t5.greedy(weights, encode_in_numpy(model, weights, text), max_tokens)[0]


def test_beam_search_has_room_for_the_sentinel(model, weights):
    model = make_model(model.t5)
    model.sampler = Beam(num_beams=2)

    (answer,) = model.generate_scored([TEXTS[0]])

    output = encode_in_numpy(model, weights, TEXTS[0])
    ids, score = numpy_t5.beam(weights, output, 7, num_beams=2, length_penalty=0.6)
    assert answer.text == model.t5.detokenize([[token for token in ids if token < 120]])[0]
    assert answer.score == pytest.approx(score, abs=1e-3)


def test_sentinels_that_are_pieces_show_in_no_answer():
    t5 = make_sentinel_t5(vocabulary_with_sentinels(), num_rows=128, sentinel=3)
    model = make_model(t5)
    weights = numpy_t5.read_weights(t5.backbone)
    texts = list(SENTENCES[:8])

    answers = model.generate(texts)

    assert model.text_batches.opening_id == 3
    ids = [greedy_ids(model, weights, text, 7) for text in texts]
    assert sum(row[0] == 3 for row in ids) >= 4
    assert not any("extra_id" in answer for answer in answers)
    assert answers == [t5.detokenize([[token for token in row if token not in (3, 4)]])[0] for row in ids]


def test_evaluation_compares_plain_texts(model):
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, TARGETS, strict=True)]
    labels = {label: label for label in LABELS}
    task = Task("t", "{text}", labels=labels, train=rows, target_format="sentinel")

    scores = evaluate_examples(model, task, task.examples("train"))

    outputs = [choice.label for choice in model.classify(TEXTS)]
    assert [prediction.target for prediction in scores.predictions] == TARGETS
    assert [prediction.output for prediction in scores.predictions] == outputs
    assert scores.metrics["accuracy"] == np.mean([a == b for a, b in zip(outputs, TARGETS, strict=True)])


def test_the_frozen_model_is_asked_in_the_same_format(t5, weights):
    answerer = answerer_without_prompt(t5, target_format="sentinel")

    (score,) = answerer.score(["the river"], ["good"])

    output = numpy_t5.encode(weights, weights.table[[*t5.tokenize(["the river"])[0], 1]])
    assert score == pytest.approx(numpy_t5.target_log_probability(weights, target_ids(t5, "good"), output), abs=1e-3)


# === Keeping ===


def test_a_kept_prompt_answers_in_its_format_again(model, tmp_path):
    model.save_prompt(tmp_path / "p.safetensors", task_id="t")

    prompt = load_prompt(tmp_path / "p.safetensors")
    again = PromptedT5(model.t5, prompt)

    assert (prompt.target_format, prompt.max_target_tokens) == ("sentinel", 6)
    assert again.target_format == "sentinel"
    assert again.score(TEXTS, TARGETS) == model.score(TEXTS, TARGETS)
    assert PromptedT5(model.t5, prompt, target_format="text").text_batches.opening_id == 0


def test_a_saved_keras_model_keeps_its_format(model, tmp_path):
    model.save(tmp_path / "model.keras")

    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)

    assert again.target_format == "sentinel"
    np.testing.assert_allclose(again.score(TEXTS, TARGETS), model.score(TEXTS, TARGETS), atol=1e-4)


def test_a_saved_config_without_a_format_is_of_plain_text(model):
    config = model.get_config()
    del config["target_format"]

    assert PromptedT5.from_config(config).target_format == "text"


# === Mistakes ===


def test_an_unknown_format_is_refused(t5):
    with pytest.raises(ConfigError, match=r"`target_format` must be one of text, sentinel\. Received: 'sentinels'"):
        make_model(t5, target_format="sentinels")


def test_a_t5_without_room_for_sentinels_is_refused_at_once(tiny_t5):
    with pytest.raises(BackboneError, match="Received: 128 rows and 120 pieces.* id 219"):
        make_model(tiny_t5)
