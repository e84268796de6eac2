"""Prompt design: put an instruction in words and solved rows in front of the text; nothing is trained.

    Answer with one of: negative, positive. a dull film answer: negative a charming film answer:

Source: Brown et al. 2020, arXiv:2005.14165, section 2 (instruction, solved rows, the row to be answered), which Lester et
al. 2021, arXiv:2104.08691, compare with. The words in between are this library's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.baselines.no_markers import check_has_no_markers
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.evaluation.asking import AnswersTexts, TaskAnswers, ask
from softprompt_tf.inference.answering import answerer_without_prompt
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, Task

ANSWER_MARK = "answer:"


@dataclass(frozen=True)
class DesignedPrompts:
    """An instruction and solved rows that stand in front of every text that a frozen model reads.

    Args:
      model: the frozen model.
      t5: whose tokenizer counts.
      instruction: in front of all; may be empty.
      shots: the solved rows, in order.
      max_input_tokens: of the whole text, the end of sequence included.
    """

    model: AnswersTexts
    t5: FrozenT5
    instruction: str
    shots: tuple[Example, ...]
    max_input_tokens: int

    def ask(self, task: Task, examples: Sequence[Example]) -> TaskAnswers:
        """Answer a task's rows with labels or texts, ready for `score_answers`."""
        return ask(self.model, task, self.designed([example.inputs for example in examples]))

    def designed(self, texts: Sequence[str]) -> list[str]:
        """Put the instruction and as many solved rows as fit in front of each text.

        Rows are dropped from the last one on. Where not even the bare text fits, the model cuts it as it cuts any other.
        """
        blocks = [solved(shot) for shot in self.shots]
        queries = [f"{text} {ANSWER_MARK}" if self.shots else text for text in texts]
        room = self.max_input_tokens - 1  # the end of sequence
        front, *lengths = self._token_counts([self.instruction, *blocks])
        # The parts' counts only say where to begin: whether a text fits is counted on the whole of it.
        kept = [_fitting(lengths, room - front - own) for own in self._token_counts(queries)]
        designed = [self._text(blocks[:count], query) for count, query in zip(kept, queries, strict=True)]
        for row, length in enumerate(self._token_counts(designed)):
            while length > room and kept[row]:
                kept[row] -= 1
                designed[row] = self._text(blocks[: kept[row]], queries[row])
                (length,) = self._token_counts([designed[row]])
        return designed

    def _text(self, blocks: Sequence[str], query: str) -> str:
        return " ".join(part for part in (self.instruction, *blocks, query) if part)

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.t5.tokenize(list(texts))]


def design_prompts(
    t5: FrozenT5,
    task: Task,
    train: Sequence[Example] = (),
    *,
    shots: int = 0,
    seed: int = 0,
    instruction: str | None = None,
    max_input_tokens: int | None = None,
) -> DesignedPrompts:
    """Return a designed prompt in front of the frozen model.

    Args:
      t5: the frozen T5.
      task: whose labels, limits and target format are used.
      train: the rows that shots are drawn from.
      shots: how many; 0 is zero-shot.
      seed: of the draw.
      instruction: default `default_instruction(task)`.
      max_input_tokens: of the whole text. Default the task's.

    Raises:
      ConfigError, DataError: as `draw_shots`, or if the task's template has markers.

    Example:
      >>> design = design_prompts(t5, task, task.examples("train"), shots=4)
      >>> rows = task.examples("validation")
      >>> score_answers(task, rows, design.ask(task, rows)).metrics
    """
    check_has_no_markers(task, "Prompt design")
    limit = task.max_input_tokens if max_input_tokens is None else max_input_tokens
    model = answerer_without_prompt(
        t5,
        max_input_tokens=limit,
        max_target_tokens=task.target_token_limit(t5.tokenize),
        target_format=task.target_format,
    )
    return DesignedPrompts(
        model=model,
        t5=t5,
        instruction=default_instruction(task) if instruction is None else instruction,
        shots=draw_shots(train, shots, seed=seed),
        max_input_tokens=limit,
    )


def default_instruction(task: Task) -> str:
    """Return a sentence that names the label words, or nothing for a task of free text."""
    return f"Answer with one of: {', '.join(task.label_words)}." if task.label_words else ""


def draw_shots(train: Sequence[Example], count: int, *, seed: int) -> tuple[Example, ...]:
    """Draw rows without replacement, in the order of the draw; a larger count only adds rows at the end.

    Raises:
      ConfigError: if the count is negative.
      DataError: if there are not so many rows.
    """
    if count < 0:
        raise ConfigError(f"`shots` must be a whole number from 0 up. Received: shots={count}.")
    if count > len(train):
        raise DataError(
            f"There must be a row for each shot. Received: {counted(count, 'shot')}, {counted(len(train), 'row')}."
        )
    order = np.random.default_rng(seed).permutation(len(train))[:count]
    return tuple(train[row] for row in order)


def solved(example: Example) -> str:
    """Return a row with its answer behind it."""
    return f"{example.inputs} {ANSWER_MARK} {example.target}"


def _fitting(lengths: Sequence[int], room: int) -> int:
    """Return how many of the first lengths fit together."""
    fits = np.cumsum(np.asarray(lengths, np.int64)) <= room
    return int(fits.sum())
