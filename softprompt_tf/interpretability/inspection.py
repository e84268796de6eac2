"""Everything that can be read from prompts, ready for JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import PromptError, SoftPromptError
from softprompt_tf.interpretability.class_labels import LabelShare, label_share
from softprompt_tf.interpretability.clusters import cluster_rows, shared_words
from softprompt_tf.interpretability.distances import matched_cosine, mean_cosine
from softprompt_tf.methods import TaskPrompt, TaskStart, nearest_neighbours
from softprompt_tf.methods.prompt_section import method_section
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.model.kept_task import values_of_task
from softprompt_tf.model.task_method import check_fits, settled, table_of


@dataclasses.dataclass(frozen=True, eq=False)
class PromptInspection:
    """What one prompt says.

    Args:
      name: the prompt's name in tables.
      clusters: groups of rows that point alike.
      ids: [P, k] the nearest token ids; None without a backbone, and so are the fields below.
      pieces: their texts, k per row.
      cosines: [P, k] of each.
      shared_words: word -> the rows whose neighbours have it.
      labels: how many of the class labels' words are among the neighbours; None where the task has no labels.
    """

    name: str
    clusters: list[tuple[int, ...]]
    ids: np.ndarray | None = None
    pieces: tuple[tuple[str, ...], ...] = ()
    cosines: np.ndarray | None = None
    shared_words: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    labels: LabelShare | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Inspection:
    """What several prompts say, and how alike they are.

    Args:
      prompts: one entry per prompt.
      mean_cosine: [K, K] between mean vectors.
      matched_cosine: [K, K] over best-matching pairs of vectors.
      backbone: the T5's name, empty where there is none.
    """

    prompts: tuple[PromptInspection, ...]
    mean_cosine: np.ndarray
    matched_cosine: np.ndarray
    backbone: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the whole as JSON values."""
        return {
            "backbone": self.backbone,
            "prompts": [_prompt_json(prompt) for prompt in self.prompts],
            "distances": {
                "names": [prompt.name for prompt in self.prompts],
                "mean_cosine": self.mean_cosine.tolist(),
                "matched_cosine": self.matched_cosine.tolist(),
            },
        }


def inspect_prompts(
    prompts: Sequence[tuple[str, TaskPrompt]],
    *,
    t5: FrozenT5 | None = None,
    initial: Sequence[np.ndarray | None] | None = None,
    count: int = 5,
    min_cosine: float = 0.5,
) -> Inspection:
    """Read what the prompts say.

    Args:
      prompts: (name, prompt), one or more.
      t5: their backbone; None leaves out all that needs its vocabulary.
      initial: of each prompt its value [P, H] before training, None where unknown. Default: made again from the run's
        settings in the prompt file, where they are there.
      count: neighbours per vector, k.
      min_cosine: of vectors in one cluster, see `cluster_rows`.

    Raises:
      PromptError: if the prompts differ in width or `initial` has another number of entries.
      BackboneMismatchError: if a prompt was made for another backbone.
    """
    values = [prompt.prompt for _, prompt in prompts]
    means, matched = mean_cosine(values), matched_cosine(values)
    if initial is not None and len(initial) != len(prompts):
        raise PromptError(f"`initial` must have one entry per prompt. Received: {len(initial)} of {len(prompts)}.")
    if t5 is None:
        inspected = [
            PromptInspection(name, cluster_rows(prompt.prompt, min_cosine=min_cosine)) for name, prompt in prompts
        ]
        return Inspection(tuple(inspected), means, matched)
    starts = initial or [initial_value(prompt, t5) for _, prompt in prompts]
    inspected = [
        _inspect(name, prompt, t5, start, count=count, min_cosine=min_cosine)
        for (name, prompt), start in zip(prompts, starts, strict=True)
    ]
    return Inspection(tuple(inspected), means, matched, t5.name)


def initial_value(prompt: TaskPrompt, t5: FrozenT5) -> np.ndarray | None:
    """Make a prompt's first value [P, H] again from the settings of its run; None where the file does not hold them."""
    config = prompt.training_config
    settings, task = config.get("prompt", {}), config.get("task")
    names = [entry.get("name") for entry in task] if isinstance(task, list) else [prompt.task_id]
    if not settings or "seed" not in config or prompt.task_id not in names or not _knows_its_files(settings):
        return None
    try:
        section = method_section(settings).model_validate(settings)
        # Of other tasks the labels are not known; each starts with a seed of its own.
        method = section.make([TaskStart(name, prompt.labels) for name in names], seed=config["seed"])
        if method.task_ids and method.shared_variables:
            return None  # may start from the labels of another task
        method = settled(method.with_labels(prompt.labels), t5)
        tensors = values_of_task(table_of(method, t5), method.task_ids, prompt.task_id)
    except (SoftPromptError, ValidationError):  # such as a `file:` that has gone
        return None
    value = tensors.get(prompt_name(tensors) or "")
    return None if value is None or value.shape != prompt.prompt.shape else value


def _knows_its_files(settings: Mapping[str, Any]) -> bool:
    """Say whether the files of a section are there; a prompt file keeps a file's own name, which says nothing of where it is."""
    init = str(settings.get("init", ""))
    return not settings.get("sources") and (
        not init.startswith("file:") or Path(init.removeprefix("file:")).is_absolute()
    )


def _inspect(
    name: str, prompt: TaskPrompt, t5: FrozenT5, start: np.ndarray | None, *, count: int, min_cosine: float
) -> PromptInspection:
    check_fits(prompt, t5)
    vocabulary = t5.tokenizer.get_vocabulary()
    table = t5.embedding_table[: len(vocabulary)]

    def near(value: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[tuple[str, ...], ...]]:
        ids, found = nearest_neighbours(value, table, count=count)
        return ids, found, tuple(tuple(vocabulary[i] for i in row) for row in ids)

    ids, found, pieces = near(prompt.prompt)
    tokens = t5.tokenize(prompt.labels) if prompt.labels else []
    labels = {label: [vocabulary[i] for i in row] for label, row in zip(prompt.labels, tokens, strict=True)}
    return PromptInspection(
        name,
        cluster_rows(prompt.prompt, min_cosine=min_cosine),
        ids=ids,
        pieces=pieces,
        cosines=found,
        shared_words=shared_words(pieces),
        labels=label_share(labels, pieces, None if start is None else near(start)[2]),
    )


def _prompt_json(prompt: PromptInspection) -> dict[str, Any]:
    values: dict[str, Any] = {"name": prompt.name, "clusters": [list(group) for group in prompt.clusters]}
    if prompt.cosines is not None:
        values["neighbours"] = [
            [{"piece": piece, "cosine": round(float(cosine), 6)} for piece, cosine in zip(pieces, row, strict=True)]
            for pieces, row in zip(prompt.pieces, prompt.cosines, strict=True)
        ]
        values["shared_words"] = {word: list(rows) for word, rows in prompt.shared_words.items()}
    if prompt.labels is not None:
        persisted = prompt.labels.persisted
        values["labels"] = {
            **{field: list(getattr(prompt.labels, field)) for field in ("words", "found")},
            "share": prompt.labels.share,
            "found_at_start": None if persisted is None else list(prompt.labels.found_at_start or ()),
            "persisted": None if persisted is None else list(persisted),
        }
    return values
