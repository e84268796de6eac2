"""Tasks of drawn tensors, the graph that serves them, and a plain NumPy T5 with what each adds."""

import dataclasses
import re

import numpy as np
import numpy_t5

from softprompt_tf.export.graph.served_tasks import build_served_tasks
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import CHANGES, INVERTIBLE_ADAPTER, LATE_PROMPTS, SCALES, SIGHTS, row_shape

LABELS = ("red", "blue", "green")


def task_of(t5, seed, *, method="any", labels=LABELS, **lengths):
    """Return a task with so many drawn rows of each tensor."""
    rng = np.random.default_rng(seed)
    tensors = {name: drawn_rows(rng, t5, name, length) for name, length in lengths.items()}
    known = {"backbone": t5.name, "backbone_fingerprint": t5.fingerprint, "labels": labels, "max_target_tokens": 6}
    return TaskPrompt(tensors=tensors, method=method, tokenizer_fingerprint=t5.tokenizer_fingerprint, **known)


def seeing(task, sees):
    """Return a task whose prompt sees not all."""
    return dataclasses.replace(task, tensors={**task.tensors, "prompt_sight": np.array([SIGHTS[sees]], np.float32)})


def drawn_rows(rng, t5, name, length):
    """Return so many rows of one tensor; what changes a layer is drawn smaller, as it would drown what is there."""
    rows = rng.normal(size=(length, *row_shape(name, t5.sizes))).astype(np.float32)
    return (name in SCALES) + 0.3 * rows if name in (*CHANGES, INVERTIBLE_ADAPTER) else rows


def module_of(t5, tasks, **how):
    """Return the graph of these tasks, as an export has it; `how` goes to `ServingModule`."""
    served = build_served_tasks(t5, tasks)
    return ServingModule(t5, served, row_shapes={name: row_shape(name, t5.sizes) for name in served.tensors}, **how)


def twin_and_output(t5, task, text):
    """Return a NumPy T5 with what the task puts into its layers, and the encoder output that its decoder sees of a text."""
    tensors = dict(task.tensors)
    changes = {name: tensors.pop(name) for name in list(tensors) if name in (*CHANGES, INVERTIBLE_ADAPTER)}
    front = tensors.pop("prompt", np.zeros((0, t5.hidden_dim)))
    sight = (len(front), tensors.pop("prompt_sight")[0]) if "prompt_sight" in tensors else None
    offsets = tensors.pop("text_offsets", np.zeros((0, t5.hidden_dim)))
    behind = tensors.pop("prompt_behind_encoder", None)
    tensors.pop("label_rows", None)  # which the decoder's states are multiplied by
    in_text, at_end = tensors.pop("prompt_in_text", None), tensors.pop("prompt_at_end", None)
    late = next(((LATE_PROMPTS[name], tensors.pop(name)) for name in list(tensors) if name in LATE_PROMPTS), None)
    extra = {name.removesuffix("_key_values"): value for name, value in tensors.items()}
    weights = numpy_t5.with_changes(numpy_t5.read_weights(t5.backbone), changes)
    twin = numpy_t5.with_key_values(weights, **extra)
    embedded = numpy_t5.embed(twin, placed_embeddings(t5, twin.table, text, in_text=in_text, at_end=at_end))
    moved = min(len(offsets), len(embedded))
    embedded[:moved] += offsets[:moved]
    return twin, numpy_t5.encode(twin, np.concatenate([front, embedded]), late=late, behind=behind, sight=sight)


def placed_embeddings(t5, table, text, *, in_text=None, at_end=None):
    """Return what goes into the encoder [T, H] of a text: rows [P, H] where its markers say, and rows behind it."""
    if in_text is None:
        parts = [table[t5.tokenize([text])[0]]]
    else:
        stretches = re.split(r"\{prompt:(\d+)\}", text)  # texts, and between them how many rows
        rows = iter(in_text)
        counts = [int(number) for number in stretches[1::2]]
        parts = [[next(rows) for _ in range(len(in_text) - sum(counts))]]
        for stretch, count in zip(stretches[::2], [*counts, 0], strict=True):
            parts += [table[t5.tokenize([stretch])[0]], [next(rows) for _ in range(count)]]
    parts += [[] if at_end is None else at_end, table[[1]]]
    return np.concatenate([np.reshape(part, (-1, t5.hidden_dim)) for part in parts])
