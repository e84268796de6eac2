"""Labels that are the same to the model are refused; labels that it tells apart in another way than their text are named."""

import warnings

import pytest
from tiny_run import run_values, write_yaml

from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError, ExportError, PromptError
from softprompt_tf.export.graph.served_tasks import build_served_tasks
from softprompt_tf.methods import TaskPrompt, prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.configured import build_model
from softprompt_tf.runs.run import TaskData
from softprompt_tf.tasks import Task, check_labels, load_task, warn_of_labels

WORDS = {"a": 5, "b": 6, "c": 7}
SAME = [
    (
        ("a b", "a  b "),
        r"Received: 'a b' and 'a  b ', which have the same tokens \[5, 6, 1\]: the tokenizer does not see",
    ),
    (("x", "y"), r"Received: 'x' and 'y', which have the same tokens \[2, 1\]; 2 stands for characters that"),
    (("a", "c", "a"), r"Received: 'a' twice. Name each label once."),
    (
        ("a b c", "a b a"),
        r"'a b c' and 'a b a', which have the same tokens \[5, 6, 1\] after the cut at max_target_tokens=3",
    ),
    (("a x", "a y"), r"the same tokens \[5, 2, 1\]; 2 stands for"),
    (("", " "), r"Received: '' and ' ', which have the same tokens \[1\]"),
]


def by_word(texts):
    """A tokenizer of three words; any other is unknown, id 2."""
    return [[WORDS.get(word, 2) for word in text.split()] for text in texts]


def checked(labels, **options):
    return check_labels(labels, by_word, **{"max_target_tokens": 3, "error_type": PromptError, **options})


def warnings_of(labels, max_target_tokens=3):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_labels(labels, by_word, max_target_tokens=max_target_tokens)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(("labels", "message"), SAME, ids=["blanks", "unknown", "twice", "cut", "in part", "empty"])
def test_two_labels_of_the_same_tokens_are_refused(labels, message):
    with pytest.raises(PromptError, match=message):
        checked(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("a b", r"must be a sequence of strings. Received: 'a b'. Write \['a b'\]"),
        (b"a", r"must be a sequence of strings. Received: b'a'"),
        (["a", 1], r"must be strings. Received: 1 \(int\)"),
        ([None], r"must be strings. Received: None \(NoneType\)"),
    ],
)
def test_labels_are_several_strings(labels, message):
    with pytest.raises(PromptError, match=message):
        checked(labels)


def test_the_message_names_the_task_and_the_error_is_the_callers():
    with pytest.raises(ExportError, match="The labels of task mood must differ to the model"):
        checked(["a", "a"], error_type=ExportError, subject="the labels of task mood")


def test_labels_that_differ_come_back_in_order():
    assert checked(["b", "a", "a b"]) == ("b", "a", "a b")
    assert checked([]) == ()


def test_an_unknown_piece_is_named():
    (message,) = warnings_of(["a", "b x"], 8)

    assert message.startswith(
        "Label 'b x' has characters that the tokenizer does not know. Received: the tokens [6, 2]"
    )


def test_a_label_that_is_cut_is_named():
    (message,) = warnings_of(["a b c", "b"])

    assert "'a b c' is longer than max_target_tokens=3. Received: 3 tokens" in message
    assert message.endswith("Training and scoring cut it to 2.")


def test_a_label_that_begins_another_is_said_to_be_scored_with_its_end():
    (message,) = warnings_of(["a b", "c", "a"])

    assert message.startswith("The tokens of label 'a' are the beginning of those of label 'a b'.")
    assert "scored with its end of sequence" in message


def test_plain_labels_bring_no_warning():
    assert warnings_of(["a", "b c"]) == []


# === Where labels enter; the tiny vocabulary knows neither of the two signs ===

UNKNOWN = ("\U0001f44e", "\U0001f44d")


@pytest.mark.parametrize("labels", [UNKNOWN, ("a", "\uff41"), ("no", "no ")], ids=["unknown", "width", "blank"])
def test_a_model_refuses_them(tiny_t5, labels):
    with pytest.raises(PromptError, match="which have the same tokens"):
        PromptedT5(tiny_t5, prompt_tuning(length=1), labels=labels)


def test_a_model_refuses_labels_that_its_limit_makes_the_same(tiny_t5):
    with pytest.raises(PromptError, match=r"'no boat' and 'no bread'.*after the cut at max_target_tokens=2"):
        PromptedT5(tiny_t5, prompt_tuning(length=1), labels=["no boat", "no bread"], max_target_tokens=2)


def test_classify_and_saved_prompts_refuse_them(tiny_t5, tmp_path):
    model = PromptedT5(tiny_t5, prompt_tuning(length=1), labels=["no", "yes"])

    with pytest.raises(PromptError, match="Received: 'no' twice"):
        model.classify(["a film"], labels=["no", "no"])
    with pytest.raises(PromptError, match="have the same tokens"):
        model.save_prompt(tmp_path / "p.safetensors", task_id="t", labels=UNKNOWN)
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_prompt_of_such_labels_can_still_generate(tiny_t5):
    prompt = TaskPrompt(prompt=PromptedT5(tiny_t5, prompt_tuning(length=1)).prompt_value(), labels=UNKNOWN)

    with pytest.raises(PromptError, match="which have the same tokens"):
        PromptedT5(tiny_t5, prompt)
    assert PromptedT5(tiny_t5, prompt, labels=()).labels == ()


def test_an_export_refuses_them(tiny_t5):
    prompt = TaskPrompt(prompt=PromptedT5(tiny_t5, prompt_tuning(length=1)).prompt_value(), labels=UNKNOWN)

    with pytest.raises(ExportError, match="The labels of task 'thumbs' must differ to the model"):
        build_served_tasks(tiny_t5, {"thumbs": prompt})


@pytest.mark.parametrize("number", [1, 2], ids=["one task", "several"])
def test_a_run_refuses_them(tiny_t5, tmp_path, number):
    tasks = [
        {"name": f"t{k}", "inputs": "{text}", "labels": dict(zip("ab", UNKNOWN, strict=True))} for k in range(number)
    ]
    files = [write_yaml(tmp_path / f"{task['name']}.yaml", task) for task in tasks]
    config = load_config(write_yaml(tmp_path / "run.yaml", run_values(tmp_path, files, tmp_path / "out")))

    with pytest.raises(ConfigError, match="The labels of task t0 must differ to the model"):
        build_model(tiny_t5, config, [load_task(task) for task in config.tasks])


def test_model_tuning_refuses_them(tiny_t5):
    from softprompt_tf.baselines import ModelTuner, TuningSettings

    task = Task("thumbs", "{text}", labels=dict(zip("ab", UNKNOWN, strict=True)))

    with pytest.raises(ConfigError, match="The labels of task thumbs must differ to the model"):
        ModelTuner(tiny_t5).tune([TaskData(task, [], [])], TuningSettings(), seed=1)


def test_a_task_whose_values_all_have_one_word_is_refused():
    with pytest.raises(ConfigError, match="must have two different words or more. Received: 'yes' for every value"):
        Task("t", "{text}", labels={0: "yes", 1: "yes"})
