"""Prompts with weights answer by the weighted mean of their likelihoods, in Python and served; EM finds the weights."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize
from tiny_t5 import HIDDEN_DIM

from softprompt_tf import PromptedT5, backbones
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import DataError, ExportError, PromptError
from softprompt_tf.evaluation import PromptEnsemble, learn_mixture
from softprompt_tf.evaluation.mixture import likeliest_weights, mixed_label, mixed_text
from softprompt_tf.export import add_tasks, list_tasks, write_saved_model
from softprompt_tf.export.graph.member_rows import MemberRows
from softprompt_tf.export.graph.served_mixtures import ServedMixtures
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.methods import TaskPrompt, load_prompt, with_weight, write_prompt
from softprompt_tf.tasks import Task

TEXTS = ["a charming film", "the plot is thin", "rain fell on the roof all night long"]
LABELS = ("yes", "negative", "blue")
TASK = Task(name="asked", inputs="{text}", labels={label: label for label in LABELS}, metrics=("accuracy",))
WEIGHTS = (0.5, 0.2, 0.3)


def member(seed, weight=None, **fields):
    prompt = np.random.default_rng(seed).normal(size=(3, HIDDEN_DIM)).astype(np.float32)
    return with_weight(TaskPrompt(prompt=prompt, **{"labels": LABELS, "max_target_tokens": 6, **fields}), weight)


def mixed_members():
    return [member(seed, weight) for seed, weight in enumerate(WEIGHTS)]


# === Weights ===


def test_members_that_know_different_rows_get_the_shares_of_these():
    logs = np.log([[0.9, 1e-12]] * 3 + [[1e-12, 0.4]])  # the log-likelihood is 3 log w_1 + log w_2 + constants

    np.testing.assert_allclose(likeliest_weights(logs), [0.75, 0.25], atol=1e-6)


def test_weights_are_those_that_another_optimizer_finds():
    logs = np.log(np.random.default_rng(0).beta(2, 2, (40, 4)))

    def loss(logits):
        weights = np.exp(logits) / np.exp(logits).sum()
        return -np.log(np.exp(logs) @ weights).mean()

    found = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    weights = likeliest_weights(logs)
    assert weights.sum() == pytest.approx(1.0)
    assert -np.log(np.exp(logs) @ weights).mean() == pytest.approx(found.fun, abs=1e-6)


def test_a_member_that_is_never_better_gets_no_weight():
    logs = np.log([[0.6, 0.3], [0.5, 0.4]])

    np.testing.assert_allclose(likeliest_weights(logs), [1.0, 0.0], atol=1e-6)


def test_the_label_of_the_highest_weighted_mean_wins_against_more_votes():
    answers = [
        Classification(label, 0.0, ("yes", "no"), tuple(map(math.log, probabilities)))
        for label, probabilities in (("yes", (0.6, 0.4)), ("yes", (0.6, 0.4)), ("no", (0.1, 0.9)))
    ]

    result = mixed_label(answers, np.array([0.25, 0.25, 0.5]))

    assert result.label == "no"
    assert result.probability == pytest.approx(0.25 * 0.4 + 0.25 * 0.4 + 0.5 * 0.9)


def test_the_text_of_the_highest_weighted_sum_wins():
    answers = [Generation("blue", math.log(0.2)), Generation("red", math.log(0.5)), Generation("blue", math.log(0.4))]

    result = mixed_text(answers, np.array([0.4, 0.2, 0.4]))

    assert result.text == "blue"
    assert result.score == pytest.approx(math.log(0.4 * 0.2 + 0.4 * 0.4))


# === In Python ===


@pytest.fixture(scope="module")
def voters(tiny_t5):
    """The members without weights, which answer one by one as each does alone."""
    return PromptEnsemble(tiny_t5, [member(seed) for seed in range(3)])


def test_an_ensemble_answers_by_the_weighted_mean_of_its_members(tiny_t5, voters):
    ensemble = PromptEnsemble(tiny_t5, mixed_members())

    logs = np.array([[a.log_probabilities for a in answers] for answers in voters.classify_each(TEXTS)])  # [B, N, C]
    mean = np.einsum("n,bnc->bc", WEIGHTS, np.exp(logs))
    found = ensemble.classify(TEXTS)
    np.testing.assert_allclose([np.exp(answer.log_probabilities) for answer in found], mean, atol=1e-5)
    assert [answer.label for answer in found] == [LABELS[k] for k in mean.argmax(axis=1)]
    scores = np.array(voters.score_each(TEXTS, ["yes"] * 3))  # [B, N]
    np.testing.assert_allclose(np.exp(ensemble.score(TEXTS, ["yes"] * 3)), np.exp(scores) @ WEIGHTS, rtol=1e-4)


def test_a_member_alone_answers_and_is_saved_without_its_weight(tiny_t5):
    model = PromptedT5(tiny_t5, member(0, 0.3))

    assert list(model.task_prompt("asked").tensors) == ["prompt"]


@pytest.mark.parametrize("has_labels", [True, False], ids=["labels", "free text"])
def test_the_learned_weights_are_the_likeliest_of_the_members_answers(voters, has_labels):
    task = TASK if has_labels else Task(name="asked", inputs="{text}", targets="{target}", metrics=("exact_match",))
    rows = dataclasses.replace(task, validation=[{"text": text, "label": "blue", "target": "blue"} for text in TEXTS])
    logs = np.array(voters.score_each(TEXTS, ["blue"] * 3))
    if has_labels:
        logs = np.array([[a.log_probabilities[2] for a in answers] for answers in voters.classify_each(TEXTS)])

    mixture = learn_mixture(voters, rows, rows.examples("validation"))

    weights = np.array(mixture.weights)
    assert mixture.log_likelihood == pytest.approx(np.log(np.exp(logs) @ weights).mean(), abs=1e-5)
    assert mixture.of_equal_weights == pytest.approx(np.log(np.exp(logs).mean(axis=1)).mean(), abs=1e-5)
    np.testing.assert_allclose(mixture.of_members, logs.mean(axis=0), atol=1e-5)
    assert mixture.log_likelihood >= max(mixture.of_equal_weights, *mixture.of_members) - 1e-6
    assert [each.mixture_weight for each in mixture.members] == pytest.approx(weights, abs=1e-6)


def test_a_target_that_is_no_label_is_refused(voters):
    rows = Task(name="asked", inputs="{text}", labels={"a": "yes", "b": "maybe"}, metrics=("accuracy",))
    rows = dataclasses.replace(rows, validation=[{"text": "a film", "label": "b"}]).examples("validation")

    with pytest.raises(DataError, match=r"one of the labels \['yes', 'negative', 'blue'\]. Received: 'maybe' at"):
        learn_mixture(voters, TASK, rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PromptEnsemble(None, [member(0, 0.5), member(1)]), "must have the same tensors"),
        (
            lambda: PromptEnsemble(None, [member(0, 0.0), member(1, 0.0)]),
            r"must be more than 0. Received: \[0.0, 0.0\]",
        ),
        (lambda: member(0, -0.5), "`mixture_weight` must be 0 or more. Received: -0.5"),
        (lambda: member(0, math.nan), "`mixture_weight` must be finite"),
        (
            lambda: TaskPrompt(tensors={"mixture_weight": np.ones((1, 1))}),
            "has the tensors: prompt and any of prompt_sight. Received: mixture",
        ),
        (
            lambda: TaskPrompt(prompt=np.ones((1, 4)), tensors={"mixture_weight": np.ones((1, 2))}),
            r"must have the shape \[1, 1\]",
        ),
    ],
    ids=["one without", "all zero", "negative", "no number", "alone", "shape"],
)
def test_weights_that_mean_nothing_are_refused(make, message):
    with pytest.raises(PromptError, match=message):
        make()


# === Served ===


class _Tables:
    """Weights of tasks by member, as `TaskTables` gives them."""

    def __init__(self, weights):
        self.row_shapes = {"mixture_weight": (1,)}
        self._weights = weights

    def rows(self, name, task, member):
        pairs = zip(task.numpy(), member.numpy(), strict=True)
        values = [self._weights[t][m] if self._weights[t] else 0.0 for t, m in pairs]
        return tf.constant(values, tf.float32)[:, None, None], None

    def lengths(self, name, task):
        return tf.constant([int(bool(self._weights[t])) for t in task.numpy()])


@pytest.mark.parametrize("seed", range(3))
def test_mixtures_in_the_graph_are_those_in_python(seed):
    generator = np.random.default_rng(seed)
    weights = [generator.uniform(0, 1, count).tolist() if mixed else [] for count, mixed in ((3, 1), (2, 0), (4, 1))]
    task, counts = [0, 1, 2, 0], [3, 2, 4, 3]
    logs = np.log(generator.dirichlet(np.ones(3), 12))
    words, scores = generator.choice(["red", "blue"], 12), np.log(generator.uniform(0.1, 1, 12))
    rows, served = MemberRows.of(tf.constant(counts)), ServedMixtures(_Tables(weights))
    voted = tf.constant([9, 9, 9, 9], tf.int64), tf.zeros([4, 3])
    tensors = [tf.constant(task), rows]

    best, means = served.labels(*tensors, tf.constant(logs, tf.float32), voted)
    texts, sums = served.texts(
        *tensors, tf.constant(words), tf.constant(scores, tf.float32), (tf.constant(["?"] * 4), tf.zeros([4]))
    )
    likelihoods = served.likelihoods(*tensors, tf.constant(scores, tf.float32), tf.zeros([4]))

    assert (best[1], texts[1], likelihoods[1]) == (9, b"?", 0.0)
    for k, start in ((0, 0), (2, 5), (3, 9)):
        own, its = slice(start, start + counts[k]), np.array(weights[task[k]])
        its = its / its.sum()
        label = mixed_label([Classification("", 0.0, ("x", "y", "z"), tuple(row)) for row in logs[own]], its)
        text = mixed_text([Generation(str(w), s) for w, s in zip(words[own], scores[own], strict=True)], its)
        assert ("x", "y", "z")[int(best[k])] == label.label
        np.testing.assert_allclose(means[k], label.log_probabilities, atol=1e-5)
        assert (texts[k].numpy().decode(), float(sums[k])) == (text.text, pytest.approx(text.score, abs=1e-5))
        assert float(likelihoods[k]) == pytest.approx(np.log(its @ np.exp(scores[own])), abs=1e-5)


@pytest.mark.thorough
def test_a_mixture_is_served_beside_votes_and_plain_prompts(tiny_t5, voters, tmp_path):
    tasks = {"mixed": mixed_members(), "voted": voters.members, "plain": member(3, 0.1)}
    write_saved_model(tmp_path, tiny_t5, tasks, verify=False)
    version = add_tasks(tmp_path, {"more": [member(0, 1.0), member(1, 3.0)]}, verify=False)
    names = ["mixed", "voted", "plain", "more"]
    inputs = {"task_id": names * 3, "text": [text for text in TEXTS for _ in names]}

    classified, generated, scored = run_in_process(
        version,
        [
            {"signature": "classify", "inputs": inputs},
            {"signature": "serving_default", "inputs": inputs},
            {"signature": "score", "inputs": {**inputs, "target": ["yes"] * 12}},
        ],
    )

    twins = [PromptEnsemble(tiny_t5, tasks["mixed"]), voters, PromptedT5(tiny_t5, member(3))]
    twins.append(PromptEnsemble(tiny_t5, [member(0, 0.25), member(1, 0.75)]))
    for k, twin in enumerate(twins):
        choices, texts = twin.classify(TEXTS), twin.generate_scored(TEXTS)
        assert classified["label"][k::4].astype(str).tolist() == [choice.label for choice in choices]
        expected = [choice.log_probabilities for choice in choices]
        np.testing.assert_allclose(classified["log_probabilities"][k::4], expected, atol=1e-4)
        assert generated["output"][k::4].astype(str).tolist() == [text.text for text in texts]
        np.testing.assert_allclose(generated["score"][k::4], [text.score for text in texts], atol=1e-4)
        np.testing.assert_allclose(scored["log_likelihood"][k::4], twin.score(TEXTS, ["yes"] * 3), atol=1e-4)
    assert [(task.task_id, task.num_members) for task in list_tasks(tmp_path)] == list(
        zip(names, (3, 3, 1, 2), strict=True)
    )


@pytest.mark.thorough
def test_a_mixture_is_not_added_to_a_graph_without_weights(tiny_t5, tmp_path):
    write_saved_model(tmp_path, tiny_t5, {"voted": [member(0), member(1)]}, verify=False)

    with pytest.raises(ExportError, match="task 'mixed' of the method prompt_tuning, with mixture_weight"):
        add_tasks(tmp_path, {"mixed": mixed_members()}, verify=False)


# === The command ===


def test_mix_writes_the_prompts_with_their_weights(tiny_t5, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(backbones, "load_t5", lambda source: tiny_t5)
    files = [write_prompt(tmp_path / f"{seed}.safetensors", member(seed)) for seed in range(2)]
    rows = "".join(f"{text}\tyes\n" for text in TEXTS)
    (tmp_path / "dev.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    task = {"name": "asked", "inputs": "{text}", "labels": {label: label for label in LABELS}, "metrics": ["accuracy"]}
    (tmp_path / "task.yaml").write_text(json.dumps({**task, "validation": "dev.tsv"}), encoding="utf-8")
    asked = ["mix", *map(str, files), "--task", str(tmp_path / "task.yaml"), "--output", str(tmp_path / "mixed")]

    assert main([*asked, "--backbone", "mini"]) == 0
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert main(asked) == 2
    assert "must be a new directory" in capsys.readouterr().err
    written = [load_prompt(line["file"]) for line in lines]
    assert [line["prompt"] for line in lines] == list(map(str, files))
    assert sum(line["weight"] for line in lines) == pytest.approx(1.0)
    assert [each.mixture_weight for each in written] == pytest.approx([line["weight"] for line in lines])
    assert all(np.array_equal(each.prompt, member(seed).prompt) for seed, each in enumerate(written))
    assert last["mixture"] >= last["with_equal_weights"]
    assert (last["task"], last["split"], last["rows"]) == ("asked", "validation", 3)
