"""The method of a model: chosen, of a loaded task or of a saved model's config; and the table of what it trains for one T5."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import goes_inside
from softprompt_tf.backbones.passes.state_size import state_size
from softprompt_tf.errors import BackboneError, PromptError
from softprompt_tf.methods import (
    METHODS,
    PromptMethod,
    TaskPrompt,
    TaskTable,
    Vocabulary,
    check_backbone,
    injection_of,
    kept_tensors,
    prompt_tuning,
)
from softprompt_tf.methods.family.kept_tensors import unknown_tensors
from softprompt_tf.methods.files.tensor_checks import check_folded
from softprompt_tf.methods.task_tensors import LABEL_ROWS, PROMPT
from softprompt_tf.shown_numbers import counted


def table_of(method: PromptMethod, t5: FrozenT5) -> TaskTable:
    """Return the table of what a method trains, with its first values."""
    vocabulary = Vocabulary(
        t5.embedding_table,
        _one_text(t5),
        t5.tokenizer.vocabulary_size(),
        lambda: t5.fingerprint,
        lambda: t5.output_embeddings,
    )
    table = TaskTable(
        method.shapes(t5.sizes),
        num_tasks=method.num_tasks,
        initial_values=method.start(vocabulary, t5.sizes),
        fold=partial(method.task_tensors, sizes=t5.sizes),
        frozen=method.frozen_variables,
        shared=method.shared_variables,
        dtype=t5.backbone.dtype_policy,
        name="prompt",
    )
    tensors = table.tensors()
    check_folded(tensors, method.name, t5.sizes, has_tasks=method.num_tasks is not None)
    if goes_inside(injection_of(tensors)):
        check_has_no_dropout(method, t5)
    return table


def settled(method: PromptMethod, t5: FrozenT5) -> PromptMethod:
    """Return the method with what it leaves to the backbone, such as the size of the states that it goes in between."""
    return method.settled(t5.sizes, lambda layer: state_size(t5, layer))


def check_has_no_dropout(method: PromptMethod, t5: FrozenT5) -> None:
    """Refuse a T5 with dropout, which runs through KerasHub's layers, for a method that goes in between or behind them.

    Raises:
      BackboneError: with the rate.
    """
    if t5.dropout:
        raise BackboneError(
            f"The method {method.name} needs a T5 without dropout. Received: a backbone with dropout={t5.dropout}. "
            "Load it without, by `load_t5(..., dropout=0.0)`."
        )


def check_label_rows(method: PromptMethod, labels: Sequence[str], lengths: Mapping[str, int]) -> None:
    """Refuse labels that are not those that a method trains rows for.

    Raises:
      PromptError: with both.
    """
    count = lengths.get(LABEL_ROWS)
    if count is not None and (len(labels) != count or method.label_words not in ((), tuple(labels))):
        own = ", ".join(method.label_words) or counted(count, "label")
        raise PromptError(
            f"The labels must be those that have rows: {own}. Received: labels {list(labels)}. Leave `labels` out."
        )


def method_of(prompt: PromptMethod | TaskPrompt | None, t5: FrozenT5) -> tuple[PromptMethod, TaskPrompt]:
    """Return the method, and what a loaded task knows of itself (nothing, for a fresh one)."""
    if isinstance(prompt, TaskPrompt):
        check_fits(prompt, t5)
        return kept_tensors(prompt), prompt
    if prompt is not None and not isinstance(prompt, PromptMethod):
        raise PromptError(
            "`prompt` must be a method such as prompt_tuning(length=20) or a prompt from load_prompt(path). "
            f"Received: {type(prompt).__name__}."
        )
    return prompt or prompt_tuning(), TaskPrompt(prompt=np.zeros((1, 1), np.float32))


def method_of_config(config: Mapping[str, Any], t5: FrozenT5) -> PromptMethod:
    """Return the method of a saved model; the real values follow with its weights."""
    task_ids = None if config["task_ids"] is None else tuple(config["task_ids"])
    seed = config.get("method_seed", 0)  # files of earlier versions have none; it has drawn the first values long ago
    position = {"position": config.get("position", "front"), "sees": config.get("sees", "all")}  # likewise
    if config.get("method_settings"):
        if config["method"] not in METHODS:
            raise PromptError(
                f"The method of a saved model must be a name of `softprompt_tf.methods.METHODS`. Received: {config['method']!r}. "
                "Install the package that has it, or put its MethodRow there."
            )
        made = METHODS[config["method"]].make(**config["method_settings"], task_ids=task_ids, seed=seed)
        return dataclasses.replace(made, **position)
    # Files of earlier versions hold rows in front of the input alone, and their number.
    shapes = config.get("shapes") or {PROMPT: (config["prompt_length"], t5.hidden_dim)}
    unknown = unknown_tensors(
        config["method"], {name: tuple(shape) for name, shape in shapes.items()}, task_ids, seed=seed
    )
    return dataclasses.replace(unknown, **position)


def check_fits(prompt: TaskPrompt, t5: FrozenT5) -> None:
    """Refuse a prompt that was made for another backbone or tokenizer than this T5's.

    Raises:
      BackboneMismatchError: with the names of both.
    """
    check_backbone(
        prompt,
        backbone=t5.name,
        # Not asked for in vain: the T5 of a saved model has no weights yet, and would keep the fingerprint of none.
        fingerprint=t5.fingerprint if prompt.backbone_fingerprint else "",
        hidden_dim=t5.hidden_dim,
        tokenizer_fingerprint=t5.tokenizer_fingerprint,
        sizes=t5.sizes,
    )


def _one_text(t5: FrozenT5) -> Callable[[str], list[int]]:
    return lambda text: t5.tokenize([text])[0]
