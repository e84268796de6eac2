"""Several prompts of one task in a written export: they answer as one by one, and the majority decides."""

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest
from asked_versions import ask_once, asked_ahead, twin_of

from softprompt_tf.errors import BackboneMismatchError, ExportError
from softprompt_tf.export import add_tasks, list_tasks, remove_tasks, write_saved_model
from softprompt_tf.export.graph.stored_rows import as_stored
from softprompt_tf.export.graph.task_columns import COLUMNS, MEMBERS
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.export.versions.task_changes import ListedTask
from softprompt_tf.methods import TaskPrompt, write_prompt

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

TEXTS = (
    "a charming film",
    "",
    "rain fell on the roof all night long",
    "the plot is thin and the jokes are tired",
    "yes",
    "seven boats left the harbour and six came back",
    "what a wonderful and moving performance",
    "an awful mess",
)
TARGET = "nobody could say"
CRITIC_LABELS = ("red", "blue", "green")
GRAPHS_FILES = ("saved_model.pb", "assets.extra/softprompt_tf.json")


def members_of(t5, count, *, length, seed, **fields):
    """Prompts of one task; so unlike each other that they often disagree."""
    generator = np.random.default_rng(seed)
    return tuple(
        TaskPrompt(
            prompt=1.5 * generator.normal(size=(length, 16)).astype(np.float32),
            backbone=t5.name,
            backbone_fingerprint=t5.fingerprint,
            tokenizer_fingerprint=t5.tokenizer_fingerprint,
            **fields,
        )
        for _ in range(count)
    )


@pytest.fixture(scope="module")
def critics(tiny_t5):
    """Three prompts with a template and three labels."""
    return members_of(
        tiny_t5, 3, length=5, seed=21, template="{text}, is it good?", labels=CRITIC_LABELS, max_target_tokens=6
    )


@pytest.fixture(scope="module")
def authors(tiny_t5):
    """Four prompts that only generate, so briefly that some write the same; two against two is a tie."""
    return members_of(tiny_t5, 4, length=4, seed=26, max_target_tokens=2)


@pytest.fixture(scope="module")
def served(tiny_t5, task_prompts, critics, authors, asked_once, tmp_path_factory):
    """A base directory: two plain tasks, one before and one behind two ensembles; compared with Keras when written."""
    base = tmp_path_factory.mktemp("ensembles") / "tiny"
    tasks = {"mood": task_prompts["mood"], "critics": critics, "authors": list(authors), "story": task_prompts["story"]}
    with asked_ahead(all_requests()):  # in the process of its check
        write_saved_model(base, tiny_t5, tasks)
    return base


@pytest.fixture
def base(served, tmp_path):
    shutil.copytree(served / "1", tmp_path / "tiny" / "1")
    return tmp_path / "tiny"


@pytest.fixture
def old_base(tiny_t5, task_prompts, tmp_path, monkeypatch):
    """An export whose graph knows nothing of ensembles, as all were before there were any."""
    read = TaskTables.of
    with monkeypatch.context() as before:
        before.delitem(COLUMNS, MEMBERS)
        before.setattr(
            TaskTables, "of", lambda self, name, row: row * 0 + 1 if name == MEMBERS else read(self, name, row)
        )
        write_saved_model(tmp_path / "old", tiny_t5, {"mood": task_prompts["mood"], "story": task_prompts["story"]})
    return tmp_path / "old"


SIGNATURES = ("serving_default", "classify", "score")


def requests_of(task_ids, texts, signatures=SIGNATURES):
    inputs = {"task_id": list(task_ids), "text": list(texts)}
    targets = {"score": {"target": [TARGET] * len(inputs["text"])}}
    return [{"signature": name, "inputs": {**inputs, **targets.get(name, {})}} for name in signatures]


def ask(version, task_ids, texts, signatures=SIGNATURES):
    """Ask the signatures in one batch each, through the session loader in a process of its own."""
    return dict(zip(signatures, ask_once(version, requests_of(task_ids, texts, signatures)), strict=True))


def mixed(task_ids):
    """Tasks that take turns, so that neighbours are of different tasks, and each task's rows."""
    names = [task for _ in TEXTS for task in task_ids]
    texts = [text for text in TEXTS for _ in task_ids]
    return names, texts, {task: slice(k, None, len(task_ids)) for k, task in enumerate(task_ids)}


def row_of_labels(answers, rows):
    return answers["classify"]["log_probabilities"][rows, :3], decoded(answers["classify"]["label"][rows])


def decoded(values):
    return [value.decode() for value in values.tolist()]


def most_of(votes, scores):
    """Choose among votes, one of each member: the most frequent, ties by the mean of what `scores` says of a vote."""
    counts = Counter(votes)
    return max(
        (vote for vote in counts if counts[vote] == max(counts.values())), key=lambda vote: np.mean(scores(vote))
    )


ONE_ENSEMBLE = (["critics"] * len(TEXTS), TEXTS)
NO_ROWS = (np.array([], object), np.array([], object))
TWO_TASKS = mixed(["authors", "story"])[:2]
ALL_TASKS = ["critics", "mood", "nobody", "authors", "story"]


def all_requests():
    batches = [mixed(ALL_TASKS)[:2], ONE_ENSEMBLE, NO_ROWS]
    requests = [request for batch in batches for request in requests_of(*batch)]
    return [*requests, *requests_of(*TWO_TASKS, ["serving_default"])]


@pytest.fixture(scope="module")
def answers(served):
    """Each task's rows of one mixed batch, with rows of an unknown task between them."""
    names, texts, rows = mixed(ALL_TASKS)
    return ask(served / "1", names, texts), rows


# === Written, loaded, asked ===


def test_labels_are_those_of_separate_prompts_and_a_vote(answers, tiny_t5, critics):
    given, rows = answers
    logs, labels = row_of_labels(given, rows["critics"])
    alone = [twin_of(tiny_t5, [member]).classify([f"{text}, is it good?" for text in TEXTS]) for member in critics]

    disagreements = 0
    for k, label in enumerate(labels):
        votes = [member[k].label for member in alone]
        probabilities = np.exp([member[k].log_probabilities for member in alone])
        disagreements += len(set(votes)) > 1
        assert label == most_of(votes, lambda vote, p=probabilities: np.log(p[:, CRITIC_LABELS.index(vote)]))
        np.testing.assert_allclose(np.exp(logs[k]), probabilities.mean(axis=0), atol=1e-5)
        chosen = np.exp(logs[k])[CRITIC_LABELS.index(label)]
        assert given["classify"]["probability"][rows["critics"]][k] == pytest.approx(chosen, rel=1e-5)
    assert disagreements  # else the vote would not have been asked


def test_texts_are_those_of_separate_prompts_and_a_vote(answers, tiny_t5, authors):
    given, rows = answers
    alone = [twin_of(tiny_t5, [member]).generate_scored(list(TEXTS)) for member in authors]

    majorities = ties = 0
    for k, text in enumerate(decoded(given["serving_default"]["output"][rows["authors"]])):
        votes = [member[k].text for member in alone]
        scores = {vote: [member[k].score for member in alone if member[k].text == vote] for vote in votes}
        counts = sorted(Counter(votes).values())
        majorities += len(counts) > 1 and counts[-1] > counts[-2]
        ties += len(counts) > 1 and counts[-1] == counts[-2]
        assert text == most_of(votes, lambda vote, s=scores: s[vote])
        score = given["serving_default"]["score"][rows["authors"]][k]
        assert score == pytest.approx(np.mean(scores[text]), abs=1e-4)
    assert majorities
    assert ties


@pytest.mark.parametrize("task", ["critics", "authors"])
def test_answers_are_those_of_the_ensemble_in_keras(answers, tiny_t5, critics, authors, task):
    given, rows = answers
    ensemble = twin_of(tiny_t5, {"critics": critics, "authors": authors}[task])
    texts = [f"{text}, is it good?" if task == "critics" else text for text in TEXTS]

    generations = ensemble.generate_scored(texts)
    assert decoded(given["serving_default"]["output"][rows[task]]) == [answer.text for answer in generations]
    np.testing.assert_allclose(
        given["serving_default"]["score"][rows[task]], [answer.score for answer in generations], atol=1e-4
    )
    if task == "critics":
        logs, labels = row_of_labels(given, rows[task])
        choices = ensemble.classify(texts)
        assert labels == [choice.label for choice in choices]
        np.testing.assert_allclose(logs, [choice.log_probabilities for choice in choices], atol=1e-4)
    for name in given:
        is_refused = name == "classify" and task == "authors"
        expected = b"This task has no labels. Ask for `serving_default`." if is_refused else b""
        assert given[name]["status"][rows[task]].tolist() == [expected] * len(TEXTS)


def test_the_likelihood_is_the_members_mean(answers, tiny_t5, critics):
    given, rows = answers
    texts = [f"{text}, is it good?" for text in TEXTS]
    whole = [dataclasses.replace(member, max_target_tokens=256) for member in critics]
    alone = [twin_of(tiny_t5, [member]).score(texts, [TARGET] * len(TEXTS)) for member in whole]

    likelihoods = np.exp(given["score"]["log_likelihood"][rows["critics"]].astype(np.float64))
    np.testing.assert_allclose(likelihoods, np.exp(alone).mean(axis=0), rtol=2e-4)


def test_plain_tasks_and_bad_rows_beside_ensembles_answer_as_ever(answers, keras_models):
    given, rows = answers
    films = [f"the film: {text} is it good?" for text in TEXTS]

    assert decoded(given["classify"]["label"][rows["mood"]]) == [
        choice.label for choice in keras_models["mood"].classify(films)
    ]
    assert decoded(given["serving_default"]["output"][rows["story"]]) == keras_models["story"].generate(list(TEXTS))
    unknown = b"Unknown task id 'nobody'. Known: mood, critics, authors, story."
    for name in given:
        assert given[name]["status"][rows["nobody"]].tolist() == [unknown] * len(TEXTS)
    assert (given["score"]["log_likelihood"][rows["nobody"]] == -1e9).all()


def test_an_ensemble_alone_and_no_rows_at_all_are_answered(answers, served):
    given, rows = answers

    alone, nothing = ask(served / "1", *ONE_ENSEMBLE), ask(served / "1", *NO_ROWS)

    assert alone["classify"]["label"].tolist() == given["classify"]["label"][rows["critics"]].tolist()
    assert alone["serving_default"]["output"].tolist() == given["serving_default"]["output"][rows["critics"]].tolist()
    np.testing.assert_allclose(
        alone["score"]["log_likelihood"], given["score"]["log_likelihood"][rows["critics"]], atol=1e-4
    )
    assert {len(values) for answer in nothing.values() for values in answer.values()} == {0}


@pytest.mark.parametrize("table_dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_members_may_be_stored_in_half_the_bytes(tiny_t5, critics, authors, tmp_path, table_dtype):
    write_saved_model(tmp_path, tiny_t5, {"critics": critics}, table_dtype=table_dtype)
    with asked_ahead(requests_of(*ONE_ENSEMBLE, ["classify"])):
        version = add_tasks(tmp_path, {"authors": authors}, t5=tiny_t5)

    given = ask(version, *ONE_ENSEMBLE, ["classify"])

    rounded = twin_of(tiny_t5, [as_stored(member, table_dtype) for member in critics])
    choices = rounded.classify([f"{text}, is it good?" for text in TEXTS])
    logs, labels = row_of_labels(given, slice(None))
    assert labels == [choice.label for choice in choices]
    np.testing.assert_allclose(logs, [choice.log_probabilities for choice in choices], atol=1e-4)
    assert [task.num_bytes for task in list_tasks(tmp_path)] == [3 * 5 * 16 * 2, 4 * 4 * 16 * 2]


# === Added, listed, removed, replaced ===


def test_an_ensemble_is_added_as_if_it_had_been_there(tiny_t5, base_directory, served, critics, tmp_path):
    shutil.copytree(base_directory / "1", tmp_path / "1")
    files = [write_prompt(tmp_path / f"seed{k}.safetensors", member) for k, member in enumerate(critics)]

    with asked_ahead(requests_of(*ONE_ENSEMBLE)):
        version = add_tasks(tmp_path, {"critics": files}, t5=tiny_t5)

    before, after = (ask(directory, *ONE_ENSEMBLE) for directory in (served / "1", version))
    for name, outputs in before.items():
        for output, values in outputs.items():
            np.testing.assert_array_equal(after[name][output], values)
    for file in GRAPHS_FILES:
        assert (version / file).stat().st_ino == (tmp_path / "1" / file).stat().st_ino


def test_tasks_are_listed_with_their_members(served):
    assert list_tasks(served) == (
        ListedTask("mood", 3, ("negative", "positive"), 3 * 16 * 4),
        ListedTask("critics", 5, CRITIC_LABELS, 3 * 5 * 16 * 4, num_members=3),
        ListedTask("authors", 4, (), 4 * 4 * 16 * 4, num_members=4),
        ListedTask("story", 7, (), 7 * 16 * 4),
    )


def test_tasks_behind_an_ensemble_that_is_removed_answer_as_before(base):
    version = remove_tasks(base, ["critics"], verify=False)

    before, after = (ask(directory, *TWO_TASKS, ["serving_default"]) for directory in (base / "1", version))
    assert [task.task_id for task in list_tasks(base)] == ["mood", "authors", "story"]
    for output, values in before["serving_default"].items():
        np.testing.assert_array_equal(after["serving_default"][output], values)


def test_an_ensemble_and_a_plain_task_take_each_others_place(base, tiny_t5, critics, authors, keras_models):
    names, texts = ["critics", "story"] * len(TEXTS), [text for text in TEXTS for _ in range(2)]
    with asked_ahead(requests_of(names, texts, ["classify", "serving_default"])):
        version = add_tasks(base, {"critics": critics[1], "mood": authors}, replace=True, t5=tiny_t5)

    assert [(task.task_id, task.num_members) for task in list_tasks(base)] == [
        ("mood", 4),
        ("critics", 1),
        ("authors", 4),
        ("story", 1),
    ]
    given = ask(version, names, texts, ["classify", "serving_default"])
    alone = twin_of(tiny_t5, [critics[1]]).classify([f"{text}, is it good?" for text in TEXTS])
    assert decoded(given["classify"]["label"][::2]) == [choice.label for choice in alone]
    assert decoded(given["serving_default"]["output"][1::2]) == keras_models["story"].generate(list(TEXTS))


# === Refusals ===


def test_a_graph_from_before_there_were_ensembles_takes_plain_tasks_alone(old_base, tiny_t5, task_prompts, critics):
    with pytest.raises(
        ExportError, match=r"before there were ensembles. Received: task 'critics' with 3 prompts. Write"
    ):
        add_tasks(old_base, {"critics": critics})
    with asked_ahead(requests_of(["one"] * len(TEXTS), TEXTS, ["classify"])):
        version = add_tasks(old_base, {"one": [critics[0]]}, t5=tiny_t5)

    assert sorted(entry.name for entry in old_base.iterdir()) == ["1", "2"]
    assert [(task.task_id, task.num_members) for task in list_tasks(old_base)] == [
        ("mood", 1),
        ("story", 1),
        ("one", 1),
    ]
    given = ask(version, ["one"] * len(TEXTS), TEXTS, ["classify"])
    alone = twin_of(tiny_t5, [critics[0]]).classify([f"{text}, is it good?" for text in TEXTS])
    assert decoded(given["classify"]["label"]) == [choice.label for choice in alone]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda first: [], r"or several that vote. Received: none for task 'critics'."),
        (
            lambda first: [first, dataclasses.replace(first, prompt=np.ones((2, 16), np.float32))],
            r"Task 'critics': .* must have one length. Received: lengths \[5, 2\]",
        ),
        (
            lambda first: [first, dataclasses.replace(first, labels=("yes", "no"))],
            r"Task 'critics': .* must be of one task. Received: `labels`",
        ),
        (
            lambda first: [first, dataclasses.replace(first, template="{text}")],
            r"must be of one task. Received: `template`",
        ),
    ],
    ids=["none", "lengths", "labels", "templates"],
)
def test_prompts_that_do_not_fit_together_are_refused(base, tiny_t5, critics, tmp_path, change, message):
    for write in (
        lambda prompts: add_tasks(base, prompts),
        lambda prompts: write_saved_model(tmp_path / "new", tiny_t5, prompts),
    ):
        with pytest.raises(ExportError, match=message):
            write({"critics": change(critics[0])})

    assert [entry.name for entry in base.iterdir()] == ["1"]
    assert not (tmp_path / "new").exists()


def test_a_member_of_another_backbone_is_refused(base, critics):
    foreign = dataclasses.replace(critics[1], backbone="t5_elsewhere", backbone_fingerprint="0" * 16)

    with pytest.raises(BackboneMismatchError, match="t5_elsewhere"):
        add_tasks(base, {"more": [critics[0], foreign]})
