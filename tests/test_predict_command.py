"""`softprompt predict` with several prompts, and with a task whose rows are preprocessed."""

import json

import numpy as np
import pytest
from tiny_run import write_preset, write_yaml

from softprompt_tf.backbones import load_t5
from softprompt_tf.cli.cli import main
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.methods import TaskPrompt, load_prompt, write_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5

pytestmark = pytest.mark.thorough

MULTIRC_ROW = {
    "idx": 7,
    "passage": {
        "text": "Seven boats left. Six came back.",
        "questions": [
            {
                "idx": 3,
                "question": "How many left?",
                "answers": [{"text": "seven", "idx": 0, "label": 1}, {"text": "six", "idx": 1, "label": 0}],
            }
        ],
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with the preset `tiny` and the prompts 0, 1 and 2 of two labels."""
    root = tmp_path_factory.mktemp("predict")
    write_preset(root / "tiny")
    for seed in range(3):
        value = np.random.default_rng(seed).normal(size=(3, 16)).astype(np.float32)
        prompt = TaskPrompt(prompt=value, task_id="mood", template="film: {text}", labels=("False", "True"))
        write_prompt(root / f"{seed}.safetensors", prompt)
    return root


@pytest.fixture
def predict(place, capsys):
    """Run the command; return its status, the objects that it printed, and its last line on stderr."""

    def run(*arguments):
        status = main(["predict", *map(str, arguments), "--backbone", str(place / "tiny")])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err.strip().splitlines()[-1:]

    return run


def test_several_prompts_vote(place, predict):
    files = [place / f"{seed}.safetensors" for seed in range(3)]

    status, lines, _ = predict(*files, "--text", "a good book", "--text", "rain fell on the roof")

    texts = ["film: a good book", "film: rain fell on the roof"]
    voted = PromptEnsemble(load_t5(str(place / "tiny")), files).classify(texts)
    assert status == 0
    assert [line["inputs"] for line in lines] == texts
    assert [line["label"] for line in lines] == [answer.label for answer in voted]
    np.testing.assert_allclose([line["probability"] for line in lines], [a.probability for a in voted], rtol=1e-5)


def test_a_tasks_rows_are_preprocessed_as_in_training(place, predict, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(MULTIRC_ROW) + "\n", encoding="utf-8")
    task = {
        "name": "multirc",
        "preprocess": ["multirc"],
        "inputs": "question: {question} answer: {answer} paragraph: {paragraph}",
        "labels": {"0": "False", "1": "True"},
    }
    options = ["--input", tmp_path / "rows.jsonl", "--task", write_yaml(tmp_path / "multirc.yaml", task)]

    status, lines, _ = predict(place / "0.safetensors", *options)

    paragraph = "paragraph: Seven boats left. Six came back."
    inputs = [f"question: How many left? answer: {answer} {paragraph}" for answer in ("seven", "six")]
    assert status == 0
    assert [line["inputs"] for line in lines] == inputs
    expected = PromptedT5(load_t5(str(place / "tiny")), load_prompt(place / "0.safetensors")).classify(inputs)
    assert [line["label"] for line in lines] == [answer.label for answer in expected]
    assert "answer" not in lines[0]


def test_answers_go_through_the_tasks_postprocessing(place, predict, tmp_path):
    spans = {"span1_text": "Mary", "span2_text": "she", "span2_index": 3}
    row = {"text": "Mary left when she saw Anna.", "target": spans}  # without a label, as in a test split
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    task = {"name": "wsc", "preprocess": ["wsc"], "inputs": "{text}", "targets": "{referent}"}
    task |= {"postprocess": ["wsc_referent"]}
    free = TaskPrompt(prompt=np.ones((2, 16), np.float32), max_target_tokens=4)
    file = write_prompt(tmp_path / "free.safetensors", free)
    options = ["--input", tmp_path / "rows.jsonl", "--task", write_yaml(tmp_path / "wsc.yaml", task)]

    status, (line,), _ = predict(file, *options)

    assert status == 0
    assert line["inputs"] == "Mary left when *she* saw Anna."
    assert line["text"].strip()
    assert "mary" not in line["text"].lower().split()
    assert line["answer"] == "False"  # what was written is not Mary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0.safetensors", "--text", "a", "--task", "mood.yaml"], "`--task` is for rows.*`--text` too"),
        (["0.safetensors", "1.safetensors", "other.npy", "--text", "a"], "must have one length"),
    ],
)
def test_what_does_not_fit_together_is_told(place, predict, arguments, message):
    np.save(place / "other.npy", np.ones((2, 16), np.float32))
    names = [place / word if word.endswith((".safetensors", ".npy")) else word for word in arguments]

    status, lines, (line,) = predict(*names)

    assert (status, lines) == (2, [])
    assert message.split(".*")[0] in line
