"""Recycle a task file: its prompt for another backbone, without training."""

import dataclasses

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import PromptError
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.recycling import EmbeddedPieces, recycled_rows
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.model.task_method import check_fits
from softprompt_tf.tasks import check_labels


def embedded_pieces(t5: FrozenT5) -> EmbeddedPieces:
    """Return a T5's vocabulary as recycling sees it."""
    table = t5.embedding_table
    return EmbeddedPieces(t5.name, t5.tokenizer.get_vocabulary()[: len(table)], table)


def recycled_task(
    prompt: TaskPrompt, old: FrozenT5, new: FrozenT5, *, way: str = "v2v-lin", seed: int = 0
) -> TaskPrompt:
    """Return a task for another backbone, its prompt computed from the two embedding tables.

    Template, labels and limits stay; metrics do not, as nobody has measured the new prompt.

    Args:
      prompt: a task whose only tensor is a prompt [P, H].
      old: the backbone that it was trained on.
      new: the backbone that it is for.
      way: "v2v-lin", "v2v-nn" or "lin-comb", see `recycled_rows`.
      seed: of the network of "v2v-nn".

    Raises:
      BackboneMismatchError: if the prompt was trained on another backbone than `old`.
      PromptError: if the task has other tensors, the vocabularies share too few pieces, or two labels are the same to `new`.

    Source: Lester et al. 2022, arXiv:2208.05577.
    """
    check_fits(prompt, old)
    name = prompt_name(prompt.tensors)
    if name is None or set(prompt.tensors) != {name}:
        raise PromptError(
            "Only the rows of a prompt can be recycled. "
            f"Received: a task of the method {prompt.method}, with {', '.join(prompt.tensors)}. Train it again, or export it "
            "and use `softprompt migrate`."
        )
    rows = recycled_rows(prompt.prompt, embedded_pieces(old), embedded_pieces(new), way=way, seed=seed)
    return dataclasses.replace(
        prompt,
        tensors={name: rows},
        method="prompt_tuning",
        backbone=new.name,
        backbone_fingerprint=new.fingerprint,
        tokenizer_fingerprint=new.tokenizer_fingerprint,
        max_target_tokens=_target_limit(prompt, new),
        metrics={},
        training_config={"recycled": {"from_backbone": own_name(old.name), "way": way, "seed": seed}},
    )


def _target_limit(prompt: TaskPrompt, new: FrozenT5) -> int | None:
    """Return the limit, or more where the new tokenizer is another one and needs more for a label."""
    limit = prompt.max_target_tokens
    if limit is not None and prompt.tokenizer_fingerprint != new.tokenizer_fingerprint:
        limit = max([limit, *(1 + len(ids) for ids in new.tokenize(list(prompt.labels)))])
    check_labels(prompt.labels, new.tokenize, max_target_tokens=limit or 32, error_type=PromptError)
    return limit
