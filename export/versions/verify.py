"""Check that a written SavedModel answers as the Keras model does.

The SavedModel runs in a process of its own through TensorFlow's C API session loader, as in a model server, with only
tensorflow_text's op libraries loaded. Neither Keras nor this library's graph code is there to help.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import saved_model_pb2

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import VerificationError
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.export.graph.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.export.graph.served_tasks import MAX_SCORED_TOKENS, affixes_of
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.export.versions.verify_change import MAX_TASKS, TEXTS, probe_requests
from softprompt_tf.inference.decoding import Sampler
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import LABEL_ROWS
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.progress import Progress

# Of log-probabilities, in nats: absolute, and relative where long answers add up to large sums.
TOLERANCES = {"float32": (1e-4, 1e-5), "bfloat16": (0.1, 0.05)}
_FORBIDDEN_OPS = ("Xla", "PyFunc", "EagerPyFunc", "NumpyFunction")


def verify_saved_model(
    directory: str | Path, t5: FrozenT5, prompts: Mapping[str, ServedPrompt], *, sampler: Sampler
) -> None:
    """Compare a written version with Keras, task by task, on a few texts in one mixed batch.

    Args:
      directory: the version directory.
      t5: the frozen T5 that it was written from.
      prompts: the tasks; of more than 8, the first 8 are compared.
      sampler: what the SavedModel decodes with.

    Raises:
      VerificationError: if it does not load, has an op that a stock server cannot run, or answers differently.

    Examples:
      >>> from softprompt_tf.export import verify_saved_model
      >>> prompts = {"film": "film.safetensors"}
      >>> verify_saved_model("exports/t5/1", t5, prompts, sampler=sp.Greedy())  # doctest: +SKIP
    """
    check_ops(directory)
    compared = load_served_prompts(dict(list(prompts.items())[:MAX_TASKS]))
    requests = probe_requests(list(compared))
    with Progress(1 + len(compared), unit="part", what="Running the SavedModel", has_rate=False) as progress:
        answered = run_in_process(directory, list(requests.values()))
        for k, (task, members) in enumerate(compared.items()):
            progress.advance()
            progress.stage(f"Comparing {task} with Keras")
            _compare_task(k, task, members, answered, t5=t5, sampler=sampler)
        progress.advance()


def _compare_task(
    k: int,
    task: str,
    members: Sequence[TaskPrompt],
    answered: Sequence[Mapping[str, np.ndarray]],
    *,
    t5: FrozenT5,
    sampler: Sampler,
) -> None:
    """Compare the rows of task number `k` in each signature's answer with Keras's."""
    generated, classified, scored = answered
    rows = slice(k * len(TEXTS), (k + 1) * len(TEXTS))
    model, prompt = _model(t5, members), members[0]
    model.sampler = sampler
    compare = partial(_compare, task, tolerance=TOLERANCES[t5.compute_dtype])
    before, after = affixes_of(prompt)
    rendered = [f"{before}{text}{after}" for text in TEXTS]
    # In bfloat16 the next token changes with the rounding, and the rounding with the padding of a batch.
    if t5.compute_dtype == "float32":
        answers = model.generate_scored(rendered)
        compare("output", [answer.text for answer in answers], _texts(generated["output"][rows]))
        compare("score", [answer.score for answer in answers], generated["score"][rows])
    if prompt.labels:
        choices = model.classify(rendered)
        logs = classified["log_probabilities"][rows, : len(prompt.labels)]
        compare("log_probabilities", [choice.log_probabilities for choice in choices], logs)
    if LABEL_ROWS in prompt.tensors:
        return  # what is no label has no likelihood there
    # A Keras model cuts targets where its task's training did; the served `score` takes them whole.
    scorer = _model(t5, [dataclasses.replace(member, max_target_tokens=MAX_SCORED_TOKENS) for member in members])
    compare("log_likelihood", scorer.score(rendered, ["yes"] * len(TEXTS)), scored["log_likelihood"][rows])


def _model(t5: FrozenT5, members: Sequence[TaskPrompt]) -> PromptedT5 | PromptEnsemble:
    return PromptedT5(t5, members[0]) if len(members) == 1 else PromptEnsemble(t5, members)


def check_ops(directory: str | Path) -> None:
    """Refuse a SavedModel with an op that a stock model server cannot run.

    Raises:
      VerificationError: with the names of the ops.
    """
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((Path(directory) / "saved_model.pb").read_bytes())
    graphs = [meta_graph.graph_def for meta_graph in saved_model.meta_graphs]
    ops = {node.op for graph in graphs for node in graph.node}
    ops |= {node.op for graph in graphs for function in graph.library.function for node in function.node_def}
    bad = sorted(op for op in ops if op.startswith(_FORBIDDEN_OPS))
    if bad:
        raise VerificationError(f"The SavedModel has ops that a model server cannot run. Received: {', '.join(bad)}.")


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8", errors="replace") for value in values.tolist()]


def _compare(task: str, name: str, keras: Sequence[Any], served: Any, *, tolerance: tuple[float, float]) -> None:
    if isinstance(keras[0], str):
        is_same = list(keras) == list(served)
        detail = f"Keras {list(keras)}, SavedModel {list(served)}"
    else:
        wanted, got = np.asarray(keras, np.float64), np.asarray(served, np.float64)
        absolute, relative = tolerance
        is_same = bool(np.all(np.abs(wanted - got) <= absolute + relative * np.abs(wanted)))
        detail = (
            f"a difference of {np.max(np.abs(wanted - got)):.2e} nats, more than {absolute:g} + {relative:g} x value"
        )
    if not is_same:
        raise VerificationError(
            f"The SavedModel must answer as Keras does. Received for task {task!r}, {name}: {detail}."
        )
