"""Phrases in front of answers are mined, varied by the T5, ranked by the rows' answers, and kept as prompts."""

import json
import re

import numpy as np
import numpy_t5
import pytest
from sentinel_t5 import SENTINEL_0, make_sentinel_t5

from softprompt_tf import PromptedT5, backbones, load_prompt
from softprompt_tf.baselines import Phrase, best_of_one_length, fill_phrases, mine_phrases, rank_phrases
from softprompt_tf.baselines.ranked_phrases import RankedPhrase
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.inference.answering import answerer_without_prompt
from softprompt_tf.methods import TaskPrompt

LINES = ["All in all, it was great.", "Dull! It was very bad, and it was great (too).", "The great flood was bad news"]
PHRASES = [Phrase(text, "own") for text in ("it was", "the film is", "a story", "it was ")]


# === Mined ===


def test_phrases_in_front_of_most_answers_come_first_then_frequent_ones():
    found = mine_phrases(LINES, ["great", "bad"], max_words=2, count=20)

    # "was" is in front of great, great and bad; all others are in front of one answer.
    assert [(each.text, each.count) for each in found] == [
        ("was", 3),
        ("it was", 2),
        ("The", 1),
        ("flood was", 1),
        ("very", 1),
        ("was very", 1),
    ]


def test_answers_of_several_words_are_found_without_case_and_punctuation():
    found = mine_phrases(['she said: "Not at all!"', "we were not at home"], ["not at all"], max_words=3)

    assert [each.text for each in found] == ["said:", "she said:"]


@pytest.mark.parametrize(
    "text", ["It rained. So great", "هل تمطر؟ So great", "बारिश हुई। So great", "„Es regnet.“ So great"]
)
def test_a_phrase_does_not_reach_over_the_end_of_a_sentence(text):
    assert [each.text for each in mine_phrases([text], ["great"])] == ["So"]


@pytest.mark.parametrize(
    ("answers", "settings", "error", "message"),
    [
        (["great"], {"max_words": 0}, ConfigError, "`max_words` must be a positive integer. Received: max_words=0"),
        (["great"], {"count": True}, ConfigError, "`count` must be a positive integer"),
        (["...", ""], {}, DataError, r"in front of answers with a word. Received: \['...', ''\]"),
        ([], {}, DataError, r"Received: \[\]"),
    ],
    ids=["words", "count", "no word", "none"],
)
def test_settings_that_mine_nothing_are_refused(answers, settings, error, message):
    with pytest.raises(error, match=message):
        mine_phrases(LINES, answers, **settings)


# === Varied ===


def test_the_likeliest_fills_of_each_gap_are_the_variants():
    t5 = make_sentinel_t5()
    weights, words = numpy_t5.read_weights(t5.backbone), ["it", "was"]
    sentinels = [SENTINEL_0, SENTINEL_0 - 1]
    own = [i for i in range(3, 120) if t5.text_pieces.pieces.id_to_piece(i).startswith("▁")]
    own = [i for i in own if any(map(str.isalnum, t5.text_pieces.pieces.id_to_piece(i)))]
    scored = {}
    for place, word in enumerate(words):
        ids = [*t5.tokenize([" ".join([*words[:place], "<extra_id_0>", *words[place + 1 :]])])[0], 1]
        output = numpy_t5.encode(weights, weights.table[ids])
        for i in own:
            other = t5.text_pieces.pieces.id_to_piece(i)[1:]
            score = numpy_t5.target_log_probability(weights, [sentinels[0], i, sentinels[1]], output)
            if other != word:
                scored[" ".join([*words[:place], other, *words[place + 1 :]])] = score

    found = fill_phrases(t5, " it  was", count=30)  # of 120 pieces, all that begin words are tried

    expected = sorted(scored, key=lambda text: -scored[text])[:30]
    np.testing.assert_allclose([scored[each.text] for each in found], [scored[text] for text in expected], atol=1e-4)
    assert {each.source for each in found} == {"filled"}


@pytest.mark.parametrize(("phrase", "count"), [(" ", 3), (None, 3), ("it was", 0)])
def test_nothing_is_not_varied(phrase, count):
    with pytest.raises(ConfigError, match="must"):
        fill_phrases(None, phrase, count=count)


# === Ranked ===


@pytest.fixture(scope="module")
def ranked(tiny_t5, task_data):
    mood = task_data["mood"]
    return rank_phrases(tiny_t5, mood.task, PHRASES, mood.validation)


def test_phrases_are_ranked_by_what_the_t5_answers_to_the_text_with_them(ranked, tiny_t5, task_data):
    mood = task_data["mood"]
    words = list(mood.task.label_words)
    bare, expected = answerer_without_prompt(tiny_t5), {}
    for phrase in PHRASES[:3]:
        answers = bare.classify([f"{row.inputs} {phrase.text}" for row in mood.validation], labels=words)
        pairs = zip(answers, mood.validation, strict=True)
        expected[phrase.text] = np.mean([a.log_probabilities[words.index(row.target)] for a, row in pairs])

    # Phrases with equal pieces are one; where pieces are those within the text, so are the answers.
    assert [each.phrase.text for each in ranked] == sorted(expected, key=lambda text: -expected[text])
    assert [each.score for each in ranked] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-5)


def test_a_phrase_is_a_task_like_any_other(ranked, tiny_t5, task_data):
    best, mood = ranked[0], task_data["mood"]
    (ids,) = tiny_t5.tokenize([best.phrase.text])

    np.testing.assert_array_equal(best.prompt.tensors["prompt_at_end"], tiny_t5.embedding_table[ids])
    assert (best.prompt.task_id, best.prompt.template) == ("mood", "film: {text}")
    assert best.prompt.training_config == {"phrase": best.phrase.text, "source": "own"}
    answers = PromptedT5(tiny_t5, best.prompt).classify([row.inputs for row in mood.validation])
    chosen = [a.log_probabilities[a.labels.index(row.target)] for a, row in zip(answers, mood.validation, strict=True)]
    np.testing.assert_allclose(best.log_likelihoods, chosen, atol=1e-5)


def test_phrases_of_one_length_are_those_of_the_likeliest_mixture():
    def phrase(length, *probabilities):
        prompt = TaskPrompt(prompt=np.zeros((length, 4)))
        return RankedPhrase(Phrase(f"{length}", "own"), prompt, np.log(probabilities))

    alone, first, second = phrase(1, 0.9, 0.9), phrase(2, 0.8, 0.1), phrase(2, 0.1, 0.8)  # mixed 0.45 each
    third, fourth = phrase(3, 0.4, 0.4), phrase(3, 0.4, 0.4)

    assert best_of_one_length([alone, first, second, third, fourth], count=2) == [first, second]
    assert best_of_one_length([alone], count=2) == [alone]


@pytest.mark.parametrize(
    ("phrases", "position", "message"),
    [
        ([], "end", "must have a piece of the vocabulary. Received: 0 phrases"),
        ([Phrase("", "own")], "end", "Received: 1 phrase, none with one"),
        (PHRASES, "marked", "`position` must be one of end, front. Received: position='marked'"),
    ],
    ids=["none", "empty", "position"],
)
def test_what_cannot_be_ranked_is_refused(tiny_t5, task_data, phrases, position, message):
    with pytest.raises(ConfigError, match=message):
        rank_phrases(tiny_t5, task_data["mood"].task, phrases, task_data["mood"].validation, position=position)


# === The command ===


def test_phrases_writes_the_best_candidates_of_a_corpus_as_tasks(tiny_t5, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(backbones, "load_t5", lambda source: tiny_t5)
    (tmp_path / "corpus.txt").write_text("the judge is good\n\nthe judge is bad\n", encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("text\tlabel\na film\tgood\na story\tbad\n", encoding="utf-8")
    task = {"name": "mood", "inputs": "{text}", "labels": {"good": "good", "bad": "bad"}, "validation": "dev.tsv"}
    (tmp_path / "task.yaml").write_text(json.dumps(task), encoding="utf-8")
    asked = ["phrases", "--task", str(tmp_path / "task.yaml"), "--output", str(tmp_path / "found")]

    assert main(asked) == 2
    assert "Received: none of them" in capsys.readouterr().err
    (tmp_path / "latin1.txt").write_bytes("größe\n".encode("latin1"))
    assert main([*asked, "--corpus", str(tmp_path / "latin1.txt")]) == 2
    assert "A corpus file must be UTF-8 text. Received: " in capsys.readouterr().err
    assert main([*asked, "--corpus", str(tmp_path / "corpus.txt"), "--keep", "2", "--max-words", "3"]) == 0

    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tried = json.loads((tmp_path / "found" / "phrases.json").read_text())
    assert {each["phrase"] for each in tried} == {"is", "judge is", "the judge is"}
    assert [{k: v for k, v in line.items() if k != "file"} for line in lines] == tried[:2]
    assert [load_prompt(line["file"]).training_config["phrase"] for line in lines] == [t["phrase"] for t in tried[:2]]
    assert (last["tried"], last["rows"]) == (3, 2)
    assert main([*asked, "--vary", "it was"]) == 2
    assert "must be a new directory" in capsys.readouterr().err


def test_a_corpus_without_an_answer_is_told_of(tiny_t5, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(backbones, "load_t5", lambda source: tiny_t5)
    (tmp_path / "corpus.txt").write_text("the judge is quick\n", encoding="utf-8")
    (tmp_path / "own.txt").write_text("it was\n", encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("text\tlabel\na film\tgood\na story\tbad\n", encoding="utf-8")
    task = {"name": "mood", "inputs": "{text}", "labels": {"good": "good", "bad": "bad"}, "validation": "dev.tsv"}
    (tmp_path / "task.yaml").write_text(json.dumps(task), encoding="utf-8")
    corpus = str(tmp_path / "corpus.txt")
    asked = ["phrases", "--task", str(tmp_path / "task.yaml"), "--output", str(tmp_path / "found"), "--corpus", corpus]

    assert main(asked) == 2
    told = f"has words in front of an answer. Received: {corpus}, and answers such as good, bad."
    assert told in capsys.readouterr().err
    with pytest.warns(UserWarning, match=re.escape(told)):
        assert main([*asked, "--phrases", str(tmp_path / "own.txt")]) == 0
