"""Tasks whose targets open with a sentinel are served as Keras answers them, beside tasks of plain text."""

import numpy as np
import pytest
import tensorflow as tf
from asked_versions import ask_once, asked_ahead, asked_once
from sentinel_t5 import SENTINEL_0, make_sentinel_t5, vocabulary_with_sentinels
from tiny_t5 import SENTENCES, tiny_vocabulary

from softprompt_tf import PromptedT5
from softprompt_tf.backbones.tokenization.text_rules import AddedToken, TextRules, with_rules
from softprompt_tf.errors import BackboneError
from softprompt_tf.export import write_saved_model
from softprompt_tf.export.graph.encoded_streams import FOR_ANSWERS
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.served_tasks import build_served_tasks
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.export.graph.task_columns import task_columns
from softprompt_tf.export.graph.written_texts import written_texts
from softprompt_tf.methods import TaskPrompt

FORMATS = {"opened": "sentinel", "plain": "text", "story": "sentinel"}
TEXTS = list(SENTENCES[:6])
TARGETS = ["yes", "nobody could say", "", "a warm picture of family life", "no", "yes"]
TASK_IDS = [list(FORMATS)[k % 3] for k in range(6)]


def make_prompts(t5):
    """Return two tasks of labels, one in each format, and one that generates; the first two share their prompt."""
    generator = np.random.default_rng(4)
    shared, story = (1.5 * generator.normal(size=(length, t5.hidden_dim)).astype(np.float32) for length in (3, 5))
    values = {"opened": shared, "plain": shared, "story": story}
    return {
        name: TaskPrompt(
            prompt=values[name],
            backbone=t5.name,
            backbone_fingerprint=t5.fingerprint,
            labels=() if name == "story" else ("yes", "no", "could nobody say"),
            max_target_tokens=9 if name == "story" else 2,  # fewer than the last label needs
            target_format=target_format,
        )
        for name, target_format in FORMATS.items()
    }


@pytest.fixture(scope="module")
def t5():
    return make_sentinel_t5()


@pytest.fixture(scope="module")
def prompts(t5):
    return make_prompts(t5)


@pytest.fixture(scope="module")
def served(t5, prompts, tmp_path_factory):
    """Signature -> answers of a written export, which `write_saved_model` has itself compared with Keras."""
    columns = {"task_id": np.array(TASK_IDS, object), "text": np.array(TEXTS, object)}
    inputs = {
        "serving_default": columns,
        "classify": columns,
        "score": {**columns, "target": np.array(TARGETS, object)},
    }
    requests = [{"signature": name, "inputs": values} for name, values in inputs.items()]
    with asked_once(), asked_ahead(requests):
        version = write_saved_model(tmp_path_factory.mktemp("served"), t5, prompts)
        answers = ask_once(version, requests)
    return dict(zip(inputs, answers, strict=True))


def rows_of(task):
    return [k for k in range(6) if TASK_IDS[k] == task]


def test_the_tables_open_what_their_tasks_format_opens(t5, prompts):
    tables = build_served_tasks(t5, prompts)

    yes, no, could = (ids[0] for ids in t5.tokenize(["yes", "no", "could nobody say"]))
    assert tables.opening_ids.tolist() == [SENTINEL_0, 0, SENTINEL_0]
    assert tables.max_target_tokens.tolist() == [3, 2, 10]
    assert tables.max_target_tokens.dtype == np.int32
    # Both formats keep one piece of each label, as the limit of 2 does not count the sentinel.
    assert tables.label_ids[0].tolist() == [[SENTINEL_0, first, 1] for first in (yes, no, could)]
    assert tables.label_ids[1].tolist() == [[first, 1, 0] for first in (yes, no, could)]


@pytest.mark.parametrize("task", FORMATS)
def test_served_answers_are_those_of_keras(t5, prompts, served, task):
    rows = rows_of(task)
    texts = [TEXTS[k] for k in rows]
    model = PromptedT5(t5, prompts[task])

    generations = model.generate_scored(texts)
    likelihoods = PromptedT5(t5, prompts[task], max_target_tokens=256).score(texts, [TARGETS[k] for k in rows])

    generated = served["serving_default"]
    assert [generated["output"][k].decode() for k in rows] == [answer.text for answer in generations]
    np.testing.assert_allclose(generated["score"][rows], [answer.score for answer in generations], atol=1e-4)
    np.testing.assert_allclose(served["score"]["log_likelihood"][rows], likelihoods, atol=1e-4)
    if model.labels:
        expected = [choice.log_probabilities for choice in model.classify(texts)]
        np.testing.assert_allclose(served["classify"]["log_probabilities"][rows], expected, atol=1e-4)


def test_sentinels_that_are_pieces_are_left_out_of_served_texts():
    t5 = make_sentinel_t5(vocabulary_with_sentinels(), num_rows=128, sentinel=3)
    prompts = make_prompts(t5)
    module = ServingModule(t5, build_served_tasks(t5, prompts))

    task_ids, texts = tf.constant(["story"] * 6), tf.constant(TEXTS)

    answer = module.generate(task_ids, texts)

    model = PromptedT5(t5, prompts["story"])
    encoded = module._encode(module._look_up(task_ids, texts), FOR_ANSWERS)
    ids, _ = module._shared.value.decode(*encoded.output, *encoded.decoding, tf.fill([6], 10))
    assert (ids.numpy() == 3).any()
    assert [output.decode() for output in answer["output"].numpy()] == model.generate(TEXTS)
    assert not any(b"extra_id" in output for output in answer["output"].numpy())


def test_the_longest_answer_that_a_file_may_ask_for_is_one_that_an_export_can_keep(t5):
    prompt = TaskPrompt(np.ones((2, 16), np.float32), target_format="sentinel", max_target_tokens=2**31 - 1)

    columns = task_columns(build_served_tasks(t5, {"long": prompt}).rows)

    assert columns["max_target_tokens"].tolist() == [2**31 - 1]


def test_a_task_that_needs_a_sentinel_is_refused_by_a_t5_without(tiny_t5):
    prompt = TaskPrompt(prompt=np.ones((2, 16), np.float32), target_format="sentinel")

    with pytest.raises(BackboneError, match="must have a row for sentinel <extra_id_0>"):
        build_served_tasks(tiny_t5, {"opened": prompt})


def test_an_answer_shows_added_tokens_and_no_sentinels():
    model = with_rules(tiny_vocabulary(), TextRules((AddedToken("<ORG>", 221), AddedToken("<extra_id_0>", SENTINEL_0))))
    t5 = make_sentinel_t5(model)
    (the,) = t5.tokenize(["the"])

    texts = written_texts(t5, tf.constant([[SENTINEL_0, *the, 221, *the, 222, 1, 0]]))

    assert texts.numpy().tolist() == [b"the<ORG> the"]
    assert t5.detokenize([[SENTINEL_0, *the, 221, *the, 222, 1, 0]]) == ["the<ORG> the"]


def test_an_export_gives_back_the_tokenizer_with_its_sentinels(t5, prompts, tmp_path):
    version = write_saved_model(tmp_path, t5, {"plain": prompts["plain"]}, verify=False)

    backbone = ExportRecord.read(version).served_backbone(version)

    texts = ["<extra_id_0> the river", "plain"]
    assert backbone.tokenize(texts) == t5.tokenize(texts)
    assert backbone.tokenize(texts)[0][0] == SENTINEL_0
