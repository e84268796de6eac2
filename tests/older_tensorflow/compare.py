"""Export two tasks on the bundled T5 here, answer with older TensorFlows, and compare with Keras.

    python tests/older_tensorflow/compare.py PYTHON [PYTHON ...]

PYTHON is an interpreter of an environment with another TensorFlow and its tensorflow_text. Ends with status 1 where a text or a
label differs, or a log-probability by more than 1e-3 nats (other versions add up in another order).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import softprompt_tf as sp
from softprompt_tf.export import write_saved_model
from softprompt_tf.methods import TaskPrompt

HERE = Path(__file__).resolve().parent
TEXTS = ["What is the capital of France?", "a charming film", "", "Käse, 日本語 \U0001f600", "word " * 700]
LABELS = ("negative", "positive")
LIMIT_NATS = 1e-3


def main(pythons):
    t5 = sp.load_t5("mini")
    prompts = {}
    for k, task in enumerate(("first", "second")):
        rows = np.random.default_rng(k).choice(t5.embedding_table[3:5000], size=5 + k)
        prompts[task] = TaskPrompt(prompt=rows, task_id=task, labels=LABELS, max_target_tokens=8)
    tasks, texts = list(prompts) * len(TEXTS), [text for text in TEXTS for _ in prompts]
    requests = [[name, {"task_id": tasks, "text": texts}] for name in ("serving_default", "classify")]
    with tempfile.TemporaryDirectory() as place:
        version = write_saved_model(Path(place) / "export", t5, prompts)
        (Path(place) / "requests.json").write_text(json.dumps(requests), encoding="utf-8")
        wanted = keras_answers(t5, prompts, tasks, texts)
        results = [check(python, version, Path(place) / "requests.json", wanted) for python in pythons]
    return 0 if all(results) else 1


def keras_answers(t5, prompts, tasks, texts):
    """Return output, score and log-probabilities of every row, from Keras."""
    models = {task: sp.PromptedT5(t5, prompt) for task, prompt in prompts.items()}
    generated = [models[task].generate_scored([text])[0] for task, text in zip(tasks, texts, strict=True)]
    chosen = [models[task].classify([text])[0] for task, text in zip(tasks, texts, strict=True)]
    return generated, chosen


def check(python, version, requests, wanted):
    done = subprocess.run([python, HERE / "answer.py", version, requests], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{python}: the export does not load or run:\n{done.stderr[-3000:]}")
        return False
    found = json.loads(done.stdout.splitlines()[-1])
    generated, chosen = wanted
    generation, classification = found["answers"]
    statuses = [status for answer in found["answers"] for status in answer["status"] if status]
    same = generation["output"] == [answer.text for answer in generated]
    same_labels = classification["label"] == [choice.label for choice in chosen]
    apart = max(
        np.abs(np.array(generation["score"]) - [answer.score for answer in generated]).max(),
        np.abs(np.array(classification["log_probabilities"]) - [choice.log_probabilities for choice in chosen]).max(),
    )
    print(
        f"{found['versions']}: texts {same}, labels {same_labels}, at most {apart:.1e} nats apart, statuses {statuses}"
    )
    return same and same_labels and not statuses and apart <= LIMIT_NATS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
