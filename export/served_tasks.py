"""Task prompts in, the constant tables of a served model out: prompts right-aligned in one array, and what each task needs.

Row k of every table belongs to task k. Prompts of different lengths are right-aligned, so that a short one touches the text
as it would alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from softprompt_tf.errors import ExportError
from softprompt_tf.prompted_t5 import check_fits
from softprompt_tf.prompts import TaskPrompt
from softprompt_tf.t5 import EOS_ID, FrozenT5
from softprompt_tf.tasks import Template, ended_ids
from softprompt_tf.text_batches import opening_id_of

DEFAULT_MAX_INPUT_TOKENS = 512
DEFAULT_MAX_TARGET_TOKENS = 32


@dataclass(frozen=True)
class ServedTasks:
    """The tables of K tasks.

    Args:
      task_ids: K names, the order of the rows.
      prompts: float32 [K, P, H], right-aligned, zeros on the left; P is the longest prompt's length.
      prompt_lengths: int32 [K].
      text_before, text_after: K texts that the template puts around a request's text.
      labels: [K, C] label words, "" where a task has fewer.
      num_labels: int32 [K], 0 for a task that only generates.
      label_ids: int32 [K, C, U], the labels' tokens, opened and ended as the decoder writes them, 0 where padded.
      opening_ids: int32 [K], what stands in front of a task's targets: a sentinel, or 0 for nothing.
      max_input_tokens: int32 [K].
      max_target_tokens: int32 [K], where decoding stops, the opening id included.
    """

    task_ids: tuple[str, ...]
    prompts: np.ndarray
    prompt_lengths: np.ndarray
    text_before: tuple[str, ...]
    text_after: tuple[str, ...]
    labels: np.ndarray
    num_labels: np.ndarray
    label_ids: np.ndarray
    opening_ids: np.ndarray
    max_input_tokens: np.ndarray
    max_target_tokens: np.ndarray


def build_served_tasks(t5: FrozenT5, prompts: Mapping[str, TaskPrompt]) -> ServedTasks:
    """Lay out the tables for task id -> prompt.

    Raises:
      ExportError: if there is no task, or a task id is empty.
      BackboneMismatchError: if a prompt was made for another backbone.
    """
    if not prompts or not all(prompts):
        raise ExportError(f"An export needs at least one task, each with a name. Received: {list(prompts)}.")
    for prompt in prompts.values():
        check_fits(prompt, t5)
    each = list(prompts.values())
    affixes = [affixes_of(prompt) for prompt in each]
    opening_ids = np.array([opening_id_of(t5, prompt.target_format) for prompt in each], np.int32)
    labels, label_ids = _label_tables(t5, each, opening_ids.tolist())
    max_target_tokens = np.array([prompt.max_target_tokens or DEFAULT_MAX_TARGET_TOKENS for prompt in each], np.int32)
    return ServedTasks(
        task_ids=tuple(prompts),
        prompts=_right_aligned([prompt.prompt for prompt in each]),
        prompt_lengths=np.array([prompt.length for prompt in each], np.int32),
        text_before=tuple(before for before, _ in affixes),
        text_after=tuple(after for _, after in affixes),
        labels=labels,
        num_labels=np.array([len(prompt.labels) for prompt in each], np.int32),
        label_ids=label_ids,
        opening_ids=opening_ids,
        max_input_tokens=np.array([prompt.max_input_tokens or DEFAULT_MAX_INPUT_TOKENS for prompt in each], np.int32),
        max_target_tokens=max_target_tokens + (opening_ids > 0),
    )


def affixes_of(prompt: TaskPrompt) -> tuple[str, str]:
    """Return what the served model puts before and after a request's text.

    A template of one field is applied by the server. One of several fields cannot be, as a request has one text: there the
    request's text is the whole rendered input.
    """
    if not prompt.template:
        return "", ""
    return Template(prompt.template, "{target}").affixes() or ("", "")


def _right_aligned(prompts: list[np.ndarray]) -> np.ndarray:
    longest = max(len(prompt) for prompt in prompts)
    table = np.zeros((len(prompts), longest, prompts[0].shape[1]), np.float32)
    for row, prompt in zip(table, prompts, strict=True):
        row[longest - len(prompt) :] = prompt
    return table


def _label_tables(t5: FrozenT5, prompts: list[TaskPrompt], opening_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return label words [K, C] and their ids [K, C, U]; a missing label is a lone end of sequence, masked later."""
    most = max(1, *(len(prompt.labels) for prompt in prompts))
    words = np.full((len(prompts), most), "", dtype=object)
    tokens = [[[EOS_ID]] * most for _ in prompts]
    for k, prompt in enumerate(prompts):
        limit = prompt.max_target_tokens or DEFAULT_MAX_TARGET_TOKENS
        words[k, : len(prompt.labels)] = prompt.labels
        pieces = t5.tokenize(list(prompt.labels))
        tokens[k][: len(pieces)] = [ended_ids(ids, limit, opening_id=opening_ids[k]) for ids in pieces]
    longest = max(len(ids) for row in tokens for ids in row)
    padded = [[ids + [0] * (longest - len(ids)) for ids in row] for row in tokens]
    return words, np.array(padded, np.int32)
