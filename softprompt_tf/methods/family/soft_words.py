"""Soft words: a prompt that starts from written words, and additions to what each encoder layer makes of its rows.

Source: Qin & Eisner 2021, arXiv:2104.06599.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import Shapes, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.initializers import Vocabulary, from_text, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT, PROMPT_ADDITION, row_shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftWords(PromptTuning):
    """Soft words with their settings; see `soft_words`.

    Args:
      every_layer: whether there are additions behind each layer.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    every_layer: bool

    @property
    def name(self) -> str:
        return "soft_words"

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        additions = {PROMPT_ADDITION: (self.length, *row_shape(PROMPT_ADDITION, sizes))} if self.every_layer else {}
        return {**super().shapes(sizes), **additions}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self.shapes(sizes).items()}
        return {**zeros, PROMPT: self._rows(vocabulary, seed, task_id)}


def soft_words(
    text: str | None = None,
    length: int = 20,
    *,
    init: Initializer | Mapping[str, Initializer] | None = None,
    every_layer: bool = True,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> SoftWords:
    """Soft words: a prompt [P, H] that starts from a written prompt's words, and additions [P, L, H] behind the encoder's layers.

    After each encoder layer, a trained vector is added to the prompt's row p; after the last layer too, where the decoder sees it.
    The additions start at 0, so that training starts from the words alone.

    Args:
      text: the written prompt, such as "Is the film good or bad?". Its tokens are the first rows; drawn pieces of the vocabulary
        follow where it has fewer than P, and it is cut, with a warning, where it has more.
      length: P, rows of the prompt.
      init: how the rows start, in place of a text, as in `prompt_tuning`. Default, where there is no text either:
        `sampled_vocabulary()`.
      every_layer: whether there are additions behind the layers; without them this is prompt tuning from a text.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or there are both a text and `init`.

    Examples:
      >>> method = sp.soft_words("Is the film good or bad?")
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Qin & Eisner 2021, arXiv:2104.06599; additions behind every layer are those of its code (hiaoxui/soft-prompts). It
    trains several prompts and their weights together; `learn_mixture` learns weights of prompts that are trained.
    """
    if text is not None and init is not None:
        raise PromptError(f"Rows start from `text` or from `init`. Received: text={text!r} and init={init!r}.")
    if text is not None and not isinstance(text, str):
        raise PromptError(f"`text` must be a string. Received: text={text!r}.")
    if not isinstance(every_layer, bool):
        raise PromptError(f"`every_layer` must be True or False. Received: every_layer={every_layer!r}.")
    otherwise = sampled_vocabulary() if init is None else init
    return SoftWords(
        length=length,
        init=otherwise if text is None else from_text(text),
        every_layer=every_layer,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class SoftWordsConfig(PromptRowsConfig):
    """Soft words: their number P, the words that they start from, and whether there are additions behind each layer."""

    method: Literal["soft_words"] = Field(default="soft_words", description="the name of a prompt method")
    every_layer: bool = Field(default=True, description="true or false (additions behind each layer of the encoder)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> SoftWords:
        return soft_words(
            length=self.length,
            init=self.init_of(tasks),
            every_layer=self.every_layer,
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
