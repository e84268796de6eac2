"""ATTEMPT as far as it folds: trained rows, and the prompts of source tasks by weights that a task trains.

Source: Asai et al. 2022, arXiv:2205.11961, whose weights depend on each text too. Such a prompt is another one for each text and
cannot be saved as one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.methods.family.method import Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.files.prompt_file import load_prompt
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.shown_numbers import counted

ROWS = "rows"
SOURCES = "source_prompts"
ATTENTION = "attention"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt(PromptTuning):
    """ATTEMPT with its settings; see `attempt`.

    Args:
      num_sources: S.
      sources: what the source prompts were loaded from; () for zeros, of a saved model whose values follow.
      init, length, task_ids, seed, position: as in `PromptTuning`.
    """

    num_sources: int
    sources: tuple[TaskPrompt, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @property
    def name(self) -> str:
        return "attempt"

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        return (SOURCES,) if self.num_sources else ()

    @property
    def shared_variables(self) -> tuple[str, ...]:
        return (SOURCES,) if self.num_sources else ()

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "sources": self.num_sources}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        rows = (self.length, sizes.hidden_dim)
        if not self.num_sources:
            return {ROWS: rows}
        return {ROWS: rows, SOURCES: (self.num_sources, *rows), ATTENTION: (self.num_sources + 1,)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        rows = {ROWS: self._rows(vocabulary, seed, task_id)}
        if not self.num_sources:
            return rows
        zeros = np.zeros(self.num_sources + 1, np.float32)  # equal weights
        return {**rows, SOURCES: self._source_rows(vocabulary), ATTENTION: zeros}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Add to the rows [K, P, H] the sources [S, P, H] and the rows themselves, by the softmax of [K, S + 1]."""
        from keras import ops

        rows = variables[ROWS]
        if not self.num_sources:
            return {PROMPT: rows}
        weights = ops.softmax(variables[ATTENTION], axis=-1)[..., None]  # [K, S + 1, 1]
        sources = ops.reshape(variables[SOURCES], (self.num_sources, -1))  # [S, P * H]
        summed = ops.sum(weights[..., :-1, :] * sources, axis=-2)  # [K, P * H]
        return {PROMPT: rows * (1 + weights[..., -1:, :]) + ops.reshape(summed, rows.shape)}

    def _source_rows(self, vocabulary: Vocabulary) -> np.ndarray:
        shape = (self.num_sources, self.length, vocabulary.hidden_dim)
        if not self.sources:
            return np.zeros(shape, np.float32)
        found = vocabulary.fingerprint()
        for source in self.sources:
            made_for = source.backbone_fingerprint
            is_foreign = "" not in (made_for, found) and made_for != found
            if is_foreign or source.hidden_dim != vocabulary.hidden_dim:
                own = f"{source.backbone or 'another backbone'} (H={source.hidden_dim}, fingerprint {made_for or 'unknown'})"
                raise BackboneMismatchError(
                    f"Source prompt {source.task_id!r} was made for {own}. Received: a model with H={vocabulary.hidden_dim}, "
                    f"fingerprint {found or 'unknown'}. Train it on this backbone, or load that one."
                )
        return np.stack([source.prompt for source in self.sources])


def attempt(
    length: int | None = None,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    sources: Sequence[str | Path | TaskPrompt] | int = (),
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> Attempt:
    """ATTEMPT with weights of a task: trained rows T, plus the sum of a[s] times source prompt s and of a[S] times T itself.

    The weights a are the softmax of S + 1 trained numbers, and start equal. The source prompts are frozen. A saved task has the
    prompt [P, H] alone.

    Args:
      length: P, rows of the prompt. Default: that of the source prompts, which it must be; 20 where there are none.
      init: how the trained rows start, as in `prompt_tuning`. Default `sampled_vocabulary()`.
      sources: files of prompts of other tasks, or what `load_prompt` returns, of one length. Without any, it is prompt tuning. (A
        number is for a saved model, whose values follow.)
      task_ids: names of the tasks where one model trains several; they share the sources. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or a source is no prompt of the length.
      BackboneMismatchError: where the method meets a backbone that a source was not made for.

    Examples:
      >>> method = sp.attempt(sources=["film.safetensors", "book.safetensors"])
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Asai et al. 2022, arXiv:2205.11961, section 3. There, a network gives each text its own weights. Here a task has its
    own, as a prompt that depends on the text does not fold.
    """
    if isinstance(sources, (str, Path, TaskPrompt)):
        raise PromptError(f"`sources` must be a list of prompts. Received: one {type(sources).__name__}.")
    if isinstance(sources, int):
        check_integer("sources", sources, minimum=0)
    loaded = () if isinstance(sources, int) else tuple(map(_loaded, sources))
    own = 20 if not loaded else loaded[0].length
    length = own if length is None else length
    check_integer("length", length, minimum=1)
    wrong = next((source for source in loaded if source.length != length), None)
    if wrong is not None:
        raise PromptError(
            f"Source prompts must have the length of the prompt. Received: length={length}, {wrong.task_id!r} with "
            f"{counted(wrong.length, 'row')}."
        )
    return Attempt(
        num_sources=sources if isinstance(sources, int) else len(loaded),
        sources=loaded,
        length=length,
        init=sampled_vocabulary() if init is None else init,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


def _loaded(source: Any) -> TaskPrompt:
    task = load_prompt(source) if isinstance(source, (str, Path)) else source
    if not isinstance(task, TaskPrompt):
        raise PromptError(f"A source must be a prompt file or a loaded prompt. Received: {type(task).__name__}.")
    _ = task.prompt  # an error where its method makes none
    return task


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class AttemptConfig(PromptRowsConfig, PromptPosition, PromptSight):
    """ATTEMPT: the files of source prompts, and where the trained rows start and go."""

    method: Literal["attempt"] = Field(default="attempt", description="the name of a prompt method")
    sources: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="a list of prompt files, each of `length` rows"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Attempt:
        return attempt(
            self.length,
            self.init_of(tasks),
            sources=self.sources,
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            sees=self.sees,
            seed=seed,
        )
