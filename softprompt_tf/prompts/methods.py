"""The prompt methods by name: settings enter, a `PromptMethod` that knows how its prompts start leaves.

A further method is one function here and one row of `METHODS`.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.prompts.initializers import Vocabulary, sampled_vocabulary

# `PromptInitializer`, or any function of that form.
Initializer = Callable[[Vocabulary], Callable[[int, tuple[int, int]], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class PromptMethod:
    """A method with its settings, as `PromptedT5` takes it.

    Args:
      name: its row in `METHODS`.
      length: P, rows of a prompt.
      init: one initializer for all tasks, or task id -> initializer with an entry for each task.
      task_ids: the tasks of a model that holds several prompts, in the order of the table; None for one prompt.
      seed: of the first values, 0 or more.

    Raises:
      PromptError: if a setting is wrong.
    """

    name: str
    length: int
    init: Initializer | Mapping[str, Initializer]
    task_ids: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_integer("length", self.length, minimum=1)
        _check_integer("seed", self.seed, minimum=0)
        _check_task_ids(self.task_ids)
        _check_init(self.init, self.task_ids)

    @property
    def num_tasks(self) -> int | None:
        """K, or None for a model of one prompt."""
        return None if self.task_ids is None else len(self.task_ids)

    def initial_value(self, vocabulary: Vocabulary) -> np.ndarray:
        """Return the first value of the table.

        Task k draws with a seed of its own, made from (seed, k), so that tasks start apart and a task more at the end
        leaves the others as they are; task 0 draws with `seed` itself, as a model of one prompt does.

        Args:
          vocabulary: of the backbone.

        Returns:
          float32 [P, H], or [K, P, H] where `task_ids` is given.
        """
        if self.task_ids is None:
            return self._draw(self.init, vocabulary, self.seed)
        inits = self.init if isinstance(self.init, Mapping) else dict.fromkeys(self.task_ids, self.init)
        rows = [
            self._draw(inits[task_id], vocabulary, _task_seed(self.seed, k)) for k, task_id in enumerate(self.task_ids)
        ]
        return np.stack(rows)  # [K, P, H]

    def _draw(self, init: object, vocabulary: Vocabulary, seed: int) -> np.ndarray:
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
    seed: int | None = None,
) -> PromptMethod:
    """Prompt tuning: one trained [P, H] per task, in front of the input's embeddings.

    Args:
      length: P, rows of a prompt. The paper uses 100; 20 is nearly as good from T5-Large up.
      init: how the rows start, or task id -> how that task's rows start. Default `sampled_vocabulary()`.
      task_ids: names of the tasks where one model trains several prompts. Default None, one prompt.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Source: Lester et al. 2021, arXiv:2104.08691.
    """
    if isinstance(task_ids, str):
        raise PromptError(f"`task_ids` must be a list of strings. Received: task_ids={task_ids!r}.")
    return PromptMethod(
        name="prompt_tuning",
        length=length,
        init=sampled_vocabulary() if init is None else init,
        task_ids=None if task_ids is None else tuple(task_ids),
        seed=random.randrange(2**31) if seed is None else seed,  # Keras seeds this generator, and draws from it too
    )


METHODS: dict[str, Callable[..., PromptMethod]] = {
    "prompt_tuning": prompt_tuning,
}


def _task_seed(seed: int, task_index: int) -> int:
    if task_index == 0:
        return seed
    return int(np.random.SeedSequence((seed, task_index)).generate_state(1, np.uint64)[0])


def _check_integer(name: str, value: object, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        kind = "a positive integer" if minimum else "an integer, 0 or more"
        raise PromptError(f"`{name}` must be {kind}. Received: {name}={value!r}.")


def _check_task_ids(task_ids: tuple[str, ...] | None) -> None:
    if task_ids is None:
        return
    if not task_ids or not all(isinstance(task_id, str) and task_id for task_id in task_ids):
        raise PromptError(f"`task_ids` must be non-empty strings. Received: task_ids={task_ids!r}.")
    if len(set(task_ids)) != len(task_ids):
        raise PromptError(f"`task_ids` must differ from each other. Received: task_ids={task_ids!r}.")


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
