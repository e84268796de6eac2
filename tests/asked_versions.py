"""What written exports and their Keras twins answer, each asked for once, however many tests and checks want to know it.

A version answers in a process of its own, where TensorFlow optimizes its graphs anew; the same request to the same files has
the same answer, so that the second asker gets the first one's. A file that differs in one byte makes another version.
Graphs, too, are traced once for each T5, sampler and kind of tables: they hold no tasks.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softprompt_tf import PromptedT5
from softprompt_tf.backbones import FrozenT5
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.export.graph.task_columns import COLUMNS
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.export.versions import saved_model, verify, verify_change
from softprompt_tf.inference.decoding import Sampler
from softprompt_tf.methods import TaskPrompt

_answers: dict[tuple[str, str], dict[str, np.ndarray]] = {}
_ahead: list[Mapping[str, Any]] = []
_twins: dict[tuple[int, str], PromptedT5 | PromptEnsemble] = {}
_make_twin = verify._model
_graphs: dict[tuple[object, ...], tuple[FrozenT5, tempfile.TemporaryDirectory]] = {}
_write_graph = saved_model._write_graph


def ask_once(directory: Path, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
    """Answer as `run_in_process` does, which is asked for what is not known yet."""
    version = content_digest(directory)
    keys = [(version, _text_of(request)) for request in requests]
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in _answers}
    if missing:
        missing |= {(version, _text_of(request)): request for request in _ahead}
        _answers.update(zip(missing, run_in_process(directory, list(missing.values())), strict=True))
    return [{name: values.copy() for name, values in _answers[key].items()} for key in keys]


@contextmanager
def asked_ahead(requests: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Within it, each process that answers anything answers these requests too, so that later none starts for them."""
    _ahead.extend(requests)
    try:
        yield
    finally:
        _ahead.clear()


def twin_of(t5: FrozenT5, members: Sequence[TaskPrompt]) -> PromptedT5 | PromptEnsemble:
    """Return the Keras model that answers as the export of these prompts; no test changes it but for its sampler."""
    key = id(t5), "\n".join(_prompt_digest(member) for member in members)
    if key not in _twins:
        _twins[key] = _make_twin(t5, members)
    return _twins[key]


def write_graph_once(
    staging: Path, t5: FrozenT5, tensors: tuple[str, ...], *, table_dtype: str, sampler: Sampler
) -> None:
    """Write the graph as `write_saved_model` does, or copy the one written before; tests change graphs by `COLUMNS` alone."""
    config = saved_model._config_of(sampler)
    key = (id(t5), t5.fingerprint, tensors, table_dtype, repr(config), *COLUMNS)
    if key not in _graphs or config is None:
        _write_graph(staging, t5, tensors, table_dtype=table_dtype, sampler=sampler)
        _graphs[key] = t5, tempfile.TemporaryDirectory(prefix="softprompt_tf_graph_")
        shutil.copytree(staging, Path(_graphs[key][1].name, "graph"))
    else:
        shutil.copytree(Path(_graphs[key][1].name, "graph"), staging, dirs_exist_ok=True)


@contextmanager
def asked_once() -> Iterator[None]:
    """Within it, the checks of `write_saved_model` and `add_tasks` too ask nothing twice, and no graph is traced twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "_write_graph", write_graph_once)
        patch.setattr(verify, "run_in_process", ask_once)
        patch.setattr(verify_change, "run_in_process", ask_once)
        patch.setattr(verify, "_model", twin_of)
        yield


def content_digest(directory: Path) -> str:
    """Return the SHA-256 of all files below, with their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(directory).rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _text_of(request: Mapping[str, Any]) -> str:
    arrays = {name: np.asarray(values) for name, values in request["inputs"].items()}
    inputs = [(name, array.dtype.kind, array.shape, array.tolist()) for name, array in sorted(arrays.items())]
    return repr((request["signature"], inputs))


def _prompt_digest(prompt: TaskPrompt) -> str:
    fields = {name: value for name, value in vars(prompt).items() if name not in ("prompt", "tensors")}
    tensors = {
        name: (value.shape, hashlib.sha256(value.tobytes()).hexdigest()) for name, value in prompt.tensors.items()
    }
    return f"{tensors} {fields}"
