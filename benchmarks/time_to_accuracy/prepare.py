"""What both sides read: `mini` as a Hugging Face directory, and a case's token ids with the first prompt."""

import json
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 20
TASKS = Path(__file__).resolve().parents[2] / "configs" / "tasks"
TASK_FILES = {"sst2": "glue_sst2.yaml"}


def prepare(output: Path, task_name: str, seed: int, num_rows: int) -> Path:
    """Write the case unless it is there; return its file.

    The file has lists of token ids `inputs`, `targets`, `dev_inputs` (as texts: `dev_texts`), the label of each dev row
    `dev_labels`, the label words `labels` and their ids `label_ids`, and the first `prompt` [P, H]; `task` and `model` name the
    task and the directory of the T5.
    """
    path = output / f"{task_name}_{seed}_case.json"
    if path.exists():
        return path
    import softprompt_tf as sp
    from softprompt_tf.tasks import load_task, tokenize_examples

    task, t5 = load_task(task_file(task_name)), sp.load_t5("mini")
    train, dev = _drawn(task.examples("train"), num_rows), _drawn(task.examples("validation"), 500)
    model = sp.PromptedT5(t5, sp.prompt_tuning(LENGTH, sp.init.class_labels(task.label_words), seed=seed))
    kept = {"max_input_tokens": task.max_input_tokens, "max_target_tokens": 16}
    tokens, dev_tokens = (tokenize_examples(rows, t5.tokenize, **kept) for rows in (train, dev))
    words = list(task.label_words)
    case = {
        "task": task_name,
        "model": str(_model(output, t5)),
        "inputs": _lists(tokens.encoder_token_ids),
        "targets": _lists(tokens.target_token_ids),
        "dev_inputs": _lists(dev_tokens.encoder_token_ids),
        "dev_texts": [row.inputs for row in dev],
        "labels": words,
        "dev_labels": [words.index(row.target) for row in dev],
        "label_ids": [[*map(int, t5.tokenize([word])[0]), 1] for word in words],
        "prompt": model.prompt_value().tolist(),
        "seed": seed,
    }
    path.write_text(json.dumps(case), encoding="utf-8")
    return path


def task_file(name: str) -> Path:
    """Return the file of a task."""
    return TASKS / TASK_FILES.get(name, f"{name}.yaml")


def _drawn(examples: list[Any], count: int) -> list[Any]:
    chosen = np.random.default_rng(7).permutation(len(examples))[:count]
    return [examples[row] for row in chosen]


def _lists(rows: Any) -> list[list[int]]:
    return [[int(token) for token in row] for row in rows]


def _model(output: Path, t5: Any) -> Path:
    """Write the bundled T5 as transformers reads it."""
    import keras
    import safetensors.numpy

    from benchmarks.speed.inputs import SHAPES, configuration
    from softprompt_tf.backbones.checkpoints.architecture import GELU_TANH, T5Architecture
    from softprompt_tf.backbones.checkpoints.assemble import weight_slots
    from softprompt_tf.backbones.checkpoints.hugging_face import file_names

    directory = (output / "mini_hugging_face").resolve()
    directory.mkdir(exist_ok=True)
    shape = SHAPES["mini"]
    architecture = T5Architecture(
        vocabulary_size=shape.rows,
        hidden_dim=shape.hidden,
        intermediate_dim=shape.wide,
        num_heads=shape.heads,
        head_dim=64,
        num_layers=shape.layers,
        num_decoder_layers=shape.layers,
        activation=GELU_TANH,
        is_gated=True,
        has_tied_head=False,
        scales_logits=False,
        norm_epsilon=1e-6,
        relative_buckets=32,
        relative_max_distance=128,
    )
    names, weights = file_names(architecture), {}
    for name, slot in weight_slots(t5.backbone):
        theirs, is_transposed = names[name]
        variable = slot.kernel if isinstance(slot, keras.layers.Dense) else slot
        value = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        weights[theirs] = np.ascontiguousarray(value.T if is_transposed else value)
    safetensors.numpy.save_file(weights, directory / "model.safetensors", {"format": "pt"})
    (directory / "config.json").write_text(json.dumps(configuration(shape)), encoding="utf-8")
    return directory
