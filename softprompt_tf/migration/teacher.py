"""The old model of a migration: a version of an export, which answers through its own graph.

An export has all that is needed: the backbone, every task's tensors, templates, labels and limits, and the vocabulary.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.errors import DataError, ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord, vocabulary_of
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.export.versions.changed_version import newest_version
from softprompt_tf.export.versions.export_files import first_variable
from softprompt_tf.export.versions.task_shards import StoredTasks
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.methods.recycling import EmbeddedPieces
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.migration.answers import Answers
from softprompt_tf.progress import Progress

BATCH_SIZE = 32


class Teacher:
    """A version of an export.

    Args:
      export: a model's base directory, whose newest version is taken, or a version's directory.

    Raises:
      ExportError: if there is no export that this library can read.
    """

    def __init__(self, export: str | Path):
        path = local_source(export, error_type=ExportError)
        is_version = (path / "saved_model.pb").is_file()
        self.directory = path if is_version else newest_version(path).tasks.directory
        self.record = ExportRecord.read(self.directory)
        self._stored = StoredTasks.read(self.directory)
        self.tasks: dict[str, ServedTask] = {task.task_id: task for task in self._stored.rows}

    @property
    def backbone_name(self) -> str:
        """What the old backbone was called."""
        return str(self.record.backbone["name"])

    @property
    def fingerprint(self) -> str:
        """Of the old backbone's weights."""
        return str(self.record.backbone["fingerprint"])

    def ask(self, task: ServedTask, lines: Sequence[str]) -> Answers:
        """Answer lines, with the task's template around each.

        Raises:
          DataError: if the model cannot answer one.
        """
        order = np.argsort([len(line) for line in lines], kind="stable")
        signature = self._signatures["classify" if task.labels else "serving_default"]
        texts: list[str] = [""] * len(lines)
        shares = np.zeros((len(lines), len(task.labels)))
        with Progress(len(lines), unit="line", what=f"{task.task_id}: asking the old model") as progress:
            for start in range(0, len(lines), BATCH_SIZE):
                rows = order[start : start + BATCH_SIZE]
                answer = self._answer(signature, task, [lines[row] for row in rows])
                for row, text in zip(rows, answer["label" if task.labels else "output"], strict=True):
                    texts[row] = text.decode("utf-8", errors="replace")
                if task.labels:
                    shares[rows] = np.exp(answer["log_probabilities"][:, : len(task.labels)].astype(np.float64))
                progress.advance(len(rows))
        return Answers(tuple(texts), shares if task.labels else None)

    def digests(self) -> dict[str, str]:
        """Return task id -> hexadecimal digits that differ where the export has other tensors, texts or limits of a task."""
        fields = (
            "text_before",
            "text_after",
            "labels",
            "opening_id",
            "max_input_tokens",
            "max_target_tokens",
            "num_members",
        )
        found = {
            name: hashlib.sha256(json.dumps([getattr(task, field) for field in fields]).encode())
            for name, task in self.tasks.items()
        }
        for tensor in sorted(self._stored.tables):
            for name, rows in self._stored.of_tasks(tensor).items():
                found[name].update(f"{tensor} {rows.shape}".encode() + np.ascontiguousarray(rows).tobytes())
        return {name: digest.hexdigest()[:16] for name, digest in found.items()}

    def prompt_of(self, task: ServedTask) -> np.ndarray | None:
        """Return the rows float32 [P, H] of a task's prompt, those of its first member; None where it has none."""
        name = prompt_name(task.lengths)
        return None if name is None else self._stored.of_tasks(name)[task.task_id][: task.lengths[name]]

    def vocabulary(self) -> EmbeddedPieces:
        """Return the old backbone's pieces with their embeddings.

        Raises:
          ExportError: if the table is not found among the export's variables.
        """
        pieces = TextPieces(vocabulary_of(self.directory)).pieces
        names = [pieces.id_to_piece(place) for place in range(pieces.get_piece_size())]
        table = first_variable(self.directory)
        width = int(self.record.backbone["hidden_dim"])
        if table.ndim != 2 or table.shape[1] != width:
            raise ExportError(
                f"The first variable of an export must be its embedding table [V, {width}]. "
                f"Received: {list(table.shape)} in {self.directory}."
            )
        return EmbeddedPieces(self.backbone_name, names[: len(table)], table)

    def forget_model(self) -> None:
        """Give the loaded model back; it is loaded again where it is asked again."""
        self.__dict__.pop("_signatures", None)

    @cached_property
    def _signatures(self) -> Any:
        import tensorflow_text  # noqa: F401  # registers the tokenizer's ops

        try:
            loaded = tf.saved_model.load(str(self.directory))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ExportError(f"The export must load. Received: {self.directory}: {error}.") from error
        return {**loaded.signatures, "": loaded}  # without the module its variables are gone

    @staticmethod
    def _answer(signature: Any, task: ServedTask, lines: Sequence[str]) -> dict[str, np.ndarray]:
        inputs = {"task_id": tf.constant([task.task_id] * len(lines)), "text": tf.constant(list(lines))}
        answer = {name: value.numpy() for name, value in signature(**inputs).items()}
        for line, status in zip(lines, answer["status"], strict=True):
            if status:
                raise DataError(
                    f"The old model must answer every line. Received: {status.decode('utf-8', errors='replace')!r} for task "
                    f"{task.task_id!r} and the line {line[:60]!r}."
                )
        return answer
