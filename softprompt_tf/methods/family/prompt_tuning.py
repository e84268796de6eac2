"""Prompt tuning: one trained [P, H] per task, in front of the input's embeddings.

Source: Lester et al. 2021, arXiv:2104.08691.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.initializers import Vocabulary, from_name, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

# `PromptInitializer`, or any function of that form.
Initializer = Callable[[Vocabulary], Callable[[int, tuple[int, int]], np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTuning(PromptMethod):
    """Prompt tuning with its settings; see `prompt_tuning`.

    Args:
      init: one initializer for all tasks, or task id -> initializer with an entry for each task.
      length, task_ids, seed: as in `PromptMethod`.
    """

    init: Initializer | Mapping[str, Initializer]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_init(self.init, self.task_ids)

    @property
    def name(self) -> str:
        return "prompt_tuning"

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        return {PROMPT: (self.length, sizes.hidden_dim)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return {PROMPT: self._rows(vocabulary, seed, task_id)}

    def _rows(self, vocabulary: Vocabulary, seed: int, task_id: str | None) -> np.ndarray:
        init = self.init[task_id] if isinstance(self.init, Mapping) and task_id is not None else self.init
        shape = (self.length, vocabulary.hidden_dim)
        value = np.asarray(init(vocabulary)(seed, shape), dtype=np.float32)  # type: ignore[operator]
        if value.shape != shape or not np.isfinite(value).all():
            raise PromptError(f"`init` must return finite rows {list(shape)}. Received: shape {list(value.shape)}.")
        return value


def prompt_tuning(
    length: int = 20,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> PromptTuning:
    """Prompt tuning: one trained [P, H] per task, in front of the input's embeddings.

    Args:
      length: P, rows of a prompt. The paper uses 100; 20 is nearly as good from T5-Large up.
      init: how the rows start, or task id -> how that task's rows start. Default `sampled_vocabulary()`.
      task_ids: names of the tasks where one model trains several prompts. Default None, one prompt.
      position: where the rows go. "front": in front of the text. "marked": where markers such as `{prompt:3}` in the text say; rows
        that no marker asks for go in front. "end": behind the text, in front of the end of sequence.
      sees: what rows in front of the text see in the encoder's attentions. "all": each other and the text. "prompt": each other
        alone. "earlier", "itself": the rows up to their own, or only their own. "earlier and text", "itself and text": these and
        the text. The text and the decoder see all.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.prompt_tuning(length=20, init=sp.init.class_labels(["negative", "positive"]))
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Lester et al. 2021, arXiv:2104.08691; `sees`: google-research/prompt-tuning:prompt_tuning/extended/masks.py.
    """
    return PromptTuning(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class PromptRowsConfig(LengthConfig):
    """What methods with rows of width H have in common: where the rows' first values come from."""

    init: str = Field(
        default="class_labels",
        pattern=r"^(class_labels|sampled_vocabulary|random_uniform|text:[\s\S]+|(file|source|best_source):[\s\S]+)$",
        description="class_labels, sampled_vocabulary, random_uniform, text:WORDS, file:PATH, source:DIRECTORY or "
        "best_source:DIRECTORY",
    )
    population_size: int = Field(default=5_000, gt=0, description=f"{WHOLE_NUMBER} (the most frequent pieces)")

    @property
    def first_values(self) -> str:
        return self.init

    def init_of(self, tasks: Sequence[TaskStart]) -> Initializer | Mapping[str, Initializer]:
        """Return the initializer of one task, or one for each of several."""
        inits = {task.name: self._initializer(task) for task in tasks}
        return inits if len(tasks) > 1 else inits[tasks[0].name]

    def _initializer(self, task: TaskStart) -> Initializer:
        name = self.init
        if name == "class_labels" and not task.label_words:
            name = "sampled_vocabulary"  # a task without labels has none to start from
        return from_name(name, task.label_words, population_size=self.population_size)


class PromptTuningConfig(PromptRowsConfig, PromptPosition, PromptSight):
    """The prompt: its length P and where its first values come from."""

    method: Literal["prompt_tuning"] = Field(default="prompt_tuning", description="the name of a prompt method")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> PromptTuning:
        return prompt_tuning(
            self.length,
            self.init_of(tasks),
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            sees=self.sees,
            seed=seed,
        )


def _check_init(init: object, task_ids: tuple[str, ...] | None) -> None:
    if isinstance(init, Mapping):
        if set(init) != set(task_ids or ()):
            raise PromptError(
                "`init` by task must have one entry for each of `task_ids`. "
                f"Received: entries {sorted(init)}, task_ids {list(task_ids or ())}."
            )
        inits = list(init.values())
    else:
        inits = [init]
    for each in inits:
        if not callable(each):
            raise PromptError(
                f"`init` must be an initializer. Received: init={each!r}. Use one of `init`, such as "
                "`init.sampled_vocabulary()`; `init.from_name` reads a name."
            )
