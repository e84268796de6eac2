"""MAD-X: a trained task adapter on top of a frozen language adapter, behind each feed-forward.

Source: Pfeiffer et al. 2020, arXiv:2005.00052.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.methods.family.adapters import Adapters
from softprompt_tf.methods.family.method import Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import MethodConfig, TaskStart, task_ids_of
from softprompt_tf.methods.files.prompt_file import load_prompt
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import (
    FEED_FORWARD_ADAPTERS,
    INVERTIBLE_ADAPTER,
    LANGUAGE_ADAPTERS,
    STACKS,
    row_shape,
)
from softprompt_tf.settings.config_section import WHOLE_NUMBER

LanguageAdapter = str | Path | TaskPrompt
# Tensor of a language adapter's own task -> its name in the tasks on top of it.
_LANGUAGE_OF = {
    **dict(zip(FEED_FORWARD_ADAPTERS, LANGUAGE_ADAPTERS, strict=True)),
    INVERTIBLE_ADAPTER: INVERTIBLE_ADAPTER,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadX(Adapters):
    """MAD-X with its settings; see `mad_x`.

    Args:
      language_units: name of each tensor of the language adapter -> its rows.
      language: what it was loaded from; None for zeros, of a saved model whose values follow.
      places, after_attention, after_feed_forward, length, task_ids, seed: as in `Adapters`.
    """

    language_units: Mapping[str, int]
    language: TaskPrompt | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return "mad_x"

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        return tuple(self.language_units)

    def settings(self) -> dict[str, Any]:
        stacks = {stack: stack in self.places for stack in STACKS}
        return {"bottleneck_dim": self.length, "language": dict(self.language_units), **stacks}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        language = {name: (units, *row_shape(name, sizes)) for name, units in self.language_units.items()}
        return {**super().shapes(sizes), **language}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return {**super().draw(vocabulary, sizes, seed, task_id), **self._language(vocabulary, sizes)}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Fold the task adapter as `adapters` does, and put the language adapter beside it."""
        return {**super().fold(variables, sizes), **{name: variables[name] for name in self.language_units}}

    def _language(self, vocabulary: Vocabulary, sizes: BackboneSizes) -> dict[str, np.ndarray]:
        shapes = {name: (units, *row_shape(name, sizes)) for name, units in self.language_units.items()}
        if self.language is None:
            return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        made_for, found = self.language.backbone_fingerprint, vocabulary.fingerprint()
        values = {_LANGUAGE_OF[name]: value for name, value in self.language.tensors.items()}
        is_foreign = "" not in (made_for, found) and made_for != found
        if is_foreign or any(values[name].shape != shape for name, shape in shapes.items()):
            raise BackboneMismatchError(
                f"The language adapter was made for {self.language.backbone or 'another backbone'} (fingerprint "
                f"{made_for or 'unknown'}). Received: a model with the fingerprint {found or 'unknown'}. Train the adapter on "
                "this backbone, or load that one."
            )
        return values


def mad_x(
    bottleneck_dim: int = 16,
    *,
    language: LanguageAdapter | Mapping[str, int] | None = None,
    encoder: bool = True,
    decoder: bool = True,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> MadX:
    """MAD-X: what comes out of each feed-forward goes through a frozen language adapter, and then through a trained task adapter.

    Both are those of `adapters`: y becomes z = y + gelu(y D + b) U + c with the language's values, and z + gelu(z D' + b') U' + c'
    with the task's. A task that was trained with one language's adapter may be asked with another's. A saved task has both, and the
    language's invertible adapter where it has one.

    Args:
      bottleneck_dim: R, the inner width of the task adapter.
      language: the language adapter: a file that `adapters(after_attention=False)` left, trained on text of the language, or what
        `load_prompt` returns. It may have an invertible adapter. Default None: none, so that there is a task adapter alone. (A
        mapping, of a tensor's name to its rows, is for a saved model, whose values follow.)
      encoder: whether the encoder has task adapters.
      decoder: whether the decoder has them.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or the task of `language` has other tensors.
      BackboneMismatchError: where the method meets a backbone that `language` was not made for.

    Examples:
      >>> text = sp.PromptedT5(t5, sp.adapters(8, after_attention=False, invertible=True))  # fit it on text of the language
      >>> text.save_prompt("language.safetensors", task_id="english")
      >>> model = sp.PromptedT5(t5, sp.mad_x(language="language.safetensors"), labels=["negative", "positive"])

    Source: Pfeiffer et al. 2020, arXiv:2005.00052, section 3; one per layer, behind the feed-forward, and invertible ones
    as AdapterHub's T5 has them. Its ReLU is a GELU here.
    """
    check_integer("bottleneck_dim", bottleneck_dim, minimum=1)
    chosen = {"encoder": encoder, "decoder": decoder}
    loaded = load_prompt(language) if isinstance(language, (str, Path)) else language
    return MadX(
        length=bottleneck_dim,
        places=tuple(stack for stack in STACKS if chosen[stack]),
        after_attention=False,
        after_feed_forward=True,
        language_units=_units_of(loaded),
        language=loaded if isinstance(loaded, TaskPrompt) else None,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


def _units_of(language: Any) -> dict[str, int]:
    """Return the rows of each tensor of a language adapter."""
    if language is None:
        return {}
    if isinstance(language, Mapping) and set(language) <= set(_LANGUAGE_OF.values()):
        return dict(language)
    if isinstance(language, TaskPrompt) and set(language.tensors) <= set(_LANGUAGE_OF):
        return {_LANGUAGE_OF[name]: len(value) for name, value in language.tensors.items()}
    received = f"a task with {', '.join(language.tensors)}" if isinstance(language, TaskPrompt) else repr(language)
    raise PromptError(
        "A language adapter must be a task whose adapters are behind the feed-forwards alone, as "
        f"adapters(after_attention=False) trains it. Received: {received}."
    )


class MadXConfig(MethodConfig):
    """MAD-X: the inner width of the task adapter, where it is, and the language adapter's file."""

    method: Literal["mad_x"] = Field(default="mad_x", description="the name of a prompt method")
    bottleneck_dim: int = Field(default=16, gt=0, description=f"{WHOLE_NUMBER} (the task adapter's inner width)")
    language: str | None = Field(
        default=None, min_length=1, description="the file of a language adapter, or null for none"
    )
    encoder: bool = Field(default=True, description="true or false (whether the encoder has task adapters)")
    decoder: bool = Field(default=True, description="true or false (whether the decoder has them)")

    @property
    def first_values(self) -> str:
        return f"file:{self.language}" if self.language else ""

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> MadX:
        settings = self.model_dump(exclude={"method"})
        return mad_x(**settings, task_ids=task_ids_of(tasks), seed=seed)
