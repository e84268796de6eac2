"""WARP: a prompt, and a trained row for each label in the place of a verbalizer.

Source: Hambardzumyan et al. 2021, arXiv:2101.00121.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import ConfigError, PromptError
from softprompt_tf.methods.family.method import Shapes, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import PromptPosition, TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.initializers import Vocabulary, output_rows, sampled_vocabulary
from softprompt_tf.methods.task_tensors import LABEL_ROWS, PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warp(PromptTuning):
    """WARP with its settings; see `warp`.

    Args:
      labels: the label words, from whose output embeddings the label rows start; None until the model is known.
      init, length, task_ids, seed, position: as in `PromptTuning`.
    """

    labels: tuple[str, ...] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and not all(isinstance(label, str) and label for label in self.labels):
            raise PromptError(f"`labels` must be non-empty strings. Received: labels={self.labels!r}.")

    @property
    def name(self) -> str:
        return "warp"

    @property
    def label_words(self) -> tuple[str, ...]:
        return self.labels or ()

    def with_labels(self, labels: Sequence[str]) -> "Warp":
        return self if self.labels is not None else dataclasses.replace(self, labels=tuple(labels))

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        if not self.labels:
            raise PromptError("`warp` needs labels. Received: none. Pass `labels=[...]` to the model.")
        return {PROMPT: (self.length, sizes.hidden_dim), LABEL_ROWS: (len(self.labels), sizes.hidden_dim)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return {PROMPT: self._rows(vocabulary, seed, task_id), LABEL_ROWS: output_rows(vocabulary, self.label_words)}


def warp(
    length: int = 20,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    labels: Sequence[str] | None = None,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    seed: int | None = None,
) -> Warp:
    """WARP: a prompt [P, H], and a trained row [H] for each label, which scores it instead of the label's words.

    A label's score is the product of its row with the decoder's state at the first position. The loss is the cross-entropy over
    the labels alone. The rows start from the labels' output embeddings, the mean over their pieces.

    Args:
      length: P, rows of the prompt. The paper has up to 20.
      init: how the prompt's rows start, as in `prompt_tuning`. Default `sampled_vocabulary()`.
      labels: the label words, in order. Default: those of the model.
      task_ids: names of the tasks where one model trains several with these labels. Default None, one task.
      position: where the rows go, as in `prompt_tuning`; the paper's are around the input: "marked".
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.warp(length=8)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])
      >>> model.classify(["a charming film"])[0].labels
      ('negative', 'positive')

    Source: Hambardzumyan et al. 2021, arXiv:2101.00121, section 3, for a masked language model. The decoder's first position
    instead of the mask is this library's.
    """
    if isinstance(labels, str):
        raise PromptError(f"`labels` must be a list of words. Received: labels={labels!r}.")
    return Warp(
        labels=None if labels is None else tuple(labels),
        length=length,
        init=sampled_vocabulary() if init is None else init,
        task_ids=checked_task_ids(task_ids),
        position=position,
        seed=drawn_seed(seed),
    )


class WarpConfig(PromptRowsConfig, PromptPosition):
    """WARP: the prompt's length P, how its rows start, and where they go; the label rows are those of the task's labels."""

    method: Literal["warp"] = Field(default="warp", description="the name of a prompt method")
    length: int = Field(default=20, gt=0, description=f"{WHOLE_NUMBER} (positions)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Warp:
        words = {task.name: task.label_words for task in tasks}
        if len(set(words.values())) != 1 or not tasks[0].label_words:
            received = "; ".join(f"{name}: {', '.join(labels) or 'none'}" for name, labels in words.items())
            raise ConfigError(f"The tasks of `warp` must have labels, and the same ones. Received: {received}.")
        return warp(
            self.length,
            self.init_of(tasks),
            labels=tasks[0].label_words,
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            seed=seed,
        )
