"""What a method is: its trained variables, how they start, and how they become the tensors that a task keeps.

A method knows no backbone's code, only its sizes and its vocabulary. Where its tensors go in follows from their names
(`softprompt_tf.methods.injection`), as rows of different methods share a batch.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import PROMPT, PROMPT_OF_POSITION, PROMPT_SIGHT, SIGHTS
from softprompt_tf.prompt_places import POSITIONS
from softprompt_tf.settings.spelling import nearest

Shapes = dict[str, tuple[int, ...]]
StateSize = Callable[[int | None], float]
"""An encoder layer, or None for the encoder output -> the root mean square of the states there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptMethod:
    """A method with its settings, as `PromptedT5` takes it.

    Args:
      length: P, rows of the task's tensors.
      task_ids: the tasks of a model that trains several, in the order of the table; None for one task.
      seed: of the first values, 0 or more.
      position: where a method that makes a prompt puts its rows, one of `POSITIONS`.
      sees: what those rows see in the encoder, one of `SIGHTS`.

    Raises:
      PromptError: if a setting is wrong.
    """

    length: int
    task_ids: tuple[str, ...] | None = None
    seed: int = 0
    position: str = "front"
    sees: str = "all"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.number):  # such as an entry of an array of lengths; JSON has none
                object.__setattr__(self, field.name, value.item())
        check_integer("length", self.length, minimum=1)
        check_integer("seed", self.seed, minimum=0)
        _check_task_ids(self.task_ids)
        if self.position not in POSITIONS:
            raise PromptError(
                f"`position` must be one of {', '.join(POSITIONS)}. Received: position={self.position!r}."
                f"{nearest(str(self.position), POSITIONS)}"
            )
        if self.sees not in SIGHTS or (self.sees != "all" and self.position != "front"):
            raise PromptError(
                f"`sees` must be one of {', '.join(SIGHTS)}, and all but for rows in front of the text. Received: "
                f"sees={self.sees!r}, position={self.position!r}.{nearest(str(self.sees), SIGHTS)}"
            )

    # === What a method says ===

    @property
    def name(self) -> str:
        """Its row in `METHODS`."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return what makes a method that folds again from its row in `METHODS`, JSON values; empty where nothing is folded."""
        return {}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        """Return the shapes of one task's trained variables, by name."""
        raise NotImplementedError

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        """Return the first values of one task's variables, float32."""
        raise NotImplementedError

    def with_labels(self, labels: Sequence[str]) -> "PromptMethod":
        """Return the method with the labels of its model, where it trains rows for them and does not know them yet."""
        return self

    def settled(self, sizes: BackboneSizes, state_size: StateSize) -> "PromptMethod":
        """Return the method with what it leaves to the backbone filled in; the same where that is nothing."""
        return self

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Return the task's tensors of its variables, both [K, ...] or both without K; the same where nothing is folded."""
        return variables

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        """Names of variables that keep their first values, such as a random projection."""
        return ()

    @property
    def label_words(self) -> tuple[str, ...]:
        """The labels that it trains rows for; () where it trains none, or does not know their words."""
        return ()

    @property
    def shared_variables(self) -> tuple[str, ...]:
        """Names of variables that all tasks of a model have in common; they have no axis K."""
        return ()

    # === What follows from it ===

    @property
    def num_tasks(self) -> int | None:
        """K, or None for a model of one task."""
        return None if self.task_ids is None else len(self.task_ids)

    def task_tensors(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> dict[str, Any]:
        """Return what `fold` gives, the prompt under the name of the place where it goes, and what its rows see if not all."""
        tensors = self.fold(variables, sizes)
        own = PROMPT_OF_POSITION[self.position]
        named = {own if name == PROMPT else name: value for name, value in tensors.items()}
        if self.sees == "all":
            return named
        flags = np.zeros((*tensors[PROMPT].shape[:-2], 1, 3), np.float32) + np.array(SIGHTS[self.sees], np.float32)
        return {**named, PROMPT_SIGHT: flags}

    def start(self, vocabulary: Vocabulary, sizes: BackboneSizes) -> dict[str, np.ndarray]:
        """Return the first values of the table.

        Task k draws with a seed of its own, made from (seed, k), so that tasks start apart and another task at the end
        leaves the others as they are; task 0 draws with `seed` itself, as a model of one task does.

        Args:
          vocabulary: of the backbone.
          sizes: of the backbone.

        Returns:
          Name -> float32 [...], or [K, ...] where `task_ids` is given and the variable is no shared one.

        Raises:
          PromptError: if one is NaN or infinite.
        """
        values = self._drawn(vocabulary, sizes)
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise PromptError(
                    f"First values must be finite. Received: NaN or infinite ones of `{name}`, which the method {self.name} drew."
                )
        return values

    def _drawn(self, vocabulary: Vocabulary, sizes: BackboneSizes) -> dict[str, np.ndarray]:
        if self.task_ids is None:
            return self.draw(vocabulary, sizes, self.seed, None)
        drawn = [
            self.draw(vocabulary, sizes, _task_seed(self.seed, k), task_id) for k, task_id in enumerate(self.task_ids)
        ]
        return {
            name: value if name in self.shared_variables else np.stack([values[name] for values in drawn])
            for name, value in drawn[0].items()
        }


def checked_task_ids(task_ids: Any) -> tuple[str, ...] | None:
    """Return task ids as a tuple; a string is refused."""
    if isinstance(task_ids, str):
        raise PromptError(f"`task_ids` must be a list of strings. Received: task_ids={task_ids!r}.")
    return None if task_ids is None else tuple(task_ids)


def drawn_seed(seed: int | None) -> int:
    """Return the seed, or where there is none a drawn one, which follows `keras.utils.set_random_seed`."""
    return random.randrange(2**31) if seed is None else seed  # Keras seeds this generator, and draws from it too


def check_integer(name: str, value: object, *, minimum: int) -> None:
    """Refuse what is no integer, NumPy's included, from `minimum`, 0 or 1, up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        kind = "a positive integer" if minimum else "an integer, 0 or more"
        raise PromptError(f"`{name}` must be {kind}. Received: {name}={value!r}.")


def _task_seed(seed: int, task_index: int) -> int:
    if task_index == 0:
        return seed
    return int(np.random.SeedSequence((seed, task_index)).generate_state(1, np.uint64)[0])


def _check_task_ids(task_ids: tuple[str, ...] | None) -> None:
    if task_ids is None:
        return
    if not task_ids or not all(isinstance(task_id, str) and task_id for task_id in task_ids):
        raise PromptError(f"`task_ids` must be non-empty strings. Received: task_ids={task_ids!r}.")
    if len(set(task_ids)) != len(task_ids):
        raise PromptError(f"`task_ids` must differ from each other. Received: task_ids={task_ids!r}.")
