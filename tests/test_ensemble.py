"""An ensemble answers as its prompts do one by one, and the majority decides."""

import dataclasses
import math

import numpy as np
import pytest
from tiny_t5 import HIDDEN_DIM, make_tiny_t5

from softprompt_tf.errors import BackboneMismatchError, DataError, PromptError
from softprompt_tf.evaluation.ensemble import PromptEnsemble, vote_for_label, vote_for_text
from softprompt_tf.evaluation.ensemble_scores import evaluate_ensemble
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.tasks import Task

pytestmark = pytest.mark.thorough

TEXTS = ["a charming film", "the plot is thin", "rain fell on the roof all night long", ""]
LABELS = ("yes", "no", "nobody could say")


@pytest.fixture(scope="module")
def t5():
    return make_tiny_t5()


def member(seed, **fields):
    prompt = np.random.default_rng(seed).normal(size=(3, HIDDEN_DIM))
    return TaskPrompt(prompt=prompt, **{"labels": LABELS, "max_target_tokens": 8, **fields})


def choice(label, *probabilities):
    logs = tuple(math.log(p) for p in probabilities)
    return Classification(label, max(probabilities), LABELS[: len(probabilities)], logs)


def test_every_member_answers_as_it_does_alone(t5):
    members = [member(seed) for seed in range(5)]

    together = PromptEnsemble(t5, members).classify_each(TEXTS)

    for k, alone in enumerate(PromptedT5(t5, each).classify(TEXTS) for each in members):
        assert [row[k].label for row in together] == [answer.label for answer in alone]
        theirs = [answer.log_probabilities for answer in alone]
        np.testing.assert_allclose([row[k].log_probabilities for row in together], theirs, atol=1e-5)


def test_members_of_several_methods_with_the_same_tensors_vote(t5):
    members = [member(1), member(2, method="superpos"), member(3, method="residual")]

    together = PromptEnsemble(t5, members).classify_each(TEXTS)

    for k, alone in enumerate(PromptedT5(t5, each).classify(TEXTS) for each in members):
        theirs = [answer.log_probabilities for answer in alone]
        np.testing.assert_allclose([row[k].log_probabilities for row in together], theirs, atol=1e-5)


def test_every_member_generates_as_it_does_alone(t5):
    members = [member(seed) for seed in range(3)]

    together = PromptEnsemble(t5, members).generate_each(TEXTS)

    for k, alone in enumerate(PromptedT5(t5, each).generate_scored(TEXTS) for each in members):
        assert [row[k].text for row in together] == [answer.text for answer in alone]
        np.testing.assert_allclose([row[k].score for row in together], [a.score for a in alone], atol=1e-4)


def test_the_ensemble_of_five_is_five_runs_and_a_vote(t5):
    members = [member(seed) for seed in range(5)]
    runs = [PromptedT5(t5, each).classify(TEXTS) for each in members]

    labels = [answer.label for answer in PromptEnsemble(t5, members).classify(TEXTS)]

    for row, label in enumerate(labels):
        votes = [run[row].label for run in runs]
        assert votes.count(label) == max(votes.count(each) for each in LABELS)


def test_the_label_of_most_members_wins_against_a_surer_minority():
    answers = [choice("yes", 0.6, 0.4), choice("yes", 0.6, 0.4), choice("no", 0.01, 0.99)]

    assert vote_for_label(answers).label == "yes"


def test_equal_votes_are_decided_by_the_mean_log_probability():
    answers = [choice("yes", 0.6, 0.4), choice("no", 0.1, 0.9)]

    result = vote_for_label(answers)

    assert result.label == "no"  # (ln .4 + ln .9) / 2 = -0.51 > (ln .6 + ln .1) / 2 = -1.41
    assert result.probability == pytest.approx((0.4 + 0.9) / 2)
    assert sum(math.exp(p) for p in result.log_probabilities) == pytest.approx(1.0)


def test_a_label_without_most_votes_never_wins_a_tie_of_others():
    answers = [
        choice("yes", 0.34, 0.33, 0.33),
        choice("no", 0.33, 0.34, 0.33),
        choice("yes", 0.5, 0.01, 0.49),
        choice("no", 0.01, 0.5, 0.49),
    ]

    assert vote_for_label(answers).label in ("yes", "no")


def test_the_text_of_most_members_wins():
    answers = [Generation("blue", -1.0), Generation("green", -0.1), Generation("blue", -3.0)]

    assert vote_for_text(answers) == Generation("blue", -2.0)


def test_texts_with_equal_votes_are_decided_by_their_score():
    assert vote_for_text([Generation("blue", -1.0), Generation("green", -0.1)]) == Generation("green", -0.1)


def test_the_members_and_the_vote_are_scored_on_the_same_answers(t5):
    members = [member(seed) for seed in range(3)]
    task = Task(name="asked", inputs="{text}", labels={label: label for label in LABELS}, metrics=("accuracy",))
    rows = dataclasses.replace(task, validation=[{"text": text, "label": "no"} for text in TEXTS]).examples(
        "validation"
    )

    scores = evaluate_ensemble(PromptEnsemble(t5, members), task, rows)

    ensemble = PromptEnsemble(t5, members)
    each = zip(*ensemble.classify_each([row.inputs for row in rows], labels=LABELS), strict=True)
    expected = [[answer.label for answer in column] for column in each]
    assert [[p.output for p in alone.predictions] for alone in scores.members] == expected
    assert [alone.metrics["accuracy"] for alone in scores.members] == [c.count("no") / len(c) for c in expected]
    votes = [answer.label for answer in ensemble.classify([row.inputs for row in rows], labels=LABELS)]
    assert [p.output for p in scores.ensemble.predictions] == votes


def test_an_ensemble_is_not_scored_on_no_rows(t5):
    task = Task(name="asked", inputs="{text}", labels={label: label for label in LABELS}, metrics=("accuracy",))

    with pytest.raises(DataError, match="at least one row. Received: none, for task 'asked'"):
        evaluate_ensemble(PromptEnsemble(t5, [member(0), member(1)]), task, [])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member(0)], "needs two prompts or more. Received: 1"),
        ([member(0), TaskPrompt(prompt=np.ones((2, HIDDEN_DIM)))], r"must have one length. Received: lengths \[3, 2\]"),
        ([member(0), member(1, labels=("a", "b"))], r"must be of one task. Received: `labels`"),
        ([member(0), member(1, max_target_tokens=9)], r"Received: `max_target_tokens` \[8, 9\]"),
    ],
    ids=["one", "lengths", "labels", "limits"],
)
def test_prompts_that_cannot_vote_together_are_refused(t5, members, message):
    with pytest.raises(PromptError, match=message):
        PromptEnsemble(t5, members)


def test_a_member_of_another_backbone_is_refused(t5):
    other = member(1, backbone="other", backbone_fingerprint="t5:0")

    with pytest.raises(BackboneMismatchError, match="other"):
        PromptEnsemble(t5, [member(0), other])
