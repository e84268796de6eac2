"""Check a task's named tensors: known names, finite values, the right shapes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.task_tensors import (
    ADAPTERS,
    DECODER_PAST_KEY_VALUES,
    DELTAS,
    FEED_FORWARD_ADAPTERS,
    INVERTIBLE_ADAPTER,
    KEY_VALUES,
    LABEL_ROWS,
    LANGUAGE_ADAPTERS,
    LATE_PROMPTS,
    METHOD_TENSORS,
    MIXTURE_WEIGHT,
    PLACED_PROMPTS,
    PROMPT,
    PROMPT_ADDITION,
    PROMPT_SIGHT,
    SCALES,
    TENSORS,
    TEXT_OFFSETS,
    MethodTensors,
    num_axes,
    row_shape,
)
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.shown_numbers import counted

_FORMS = {
    **dict.fromkeys(TENSORS, "[P, H]"),
    TEXT_OFFSETS: "[S, H]",
    LABEL_ROWS: "[C, H]",
    **dict.fromkeys(KEY_VALUES, "[P, L, 2, N, D]"),
    **dict.fromkeys(DELTAS, "[R, L, H + N * D]"),
    **dict.fromkeys(SCALES, "[1, L, F]"),
    **dict.fromkeys((*ADAPTERS, *LANGUAGE_ADAPTERS), "[R, L, 2 * H + 2]"),
    INVERTIBLE_ADAPTER: "[R, 2, H + 2]",
    PROMPT_SIGHT: "[1, 3]",
    PROMPT_ADDITION: "[P, L, H]",
    MIXTURE_WEIGHT: "[1, 1]",
}


def check_tensors_of_method(tensors: Mapping[str, object], method: str) -> None:
    """Refuse tensors that are unknown, that the method does not have, or that it lacks.

    Raises:
      PromptError: with their names.
    """
    for name in tensors:
        if name not in TENSORS:
            raise PromptError(f"A task's tensors have known names. Received: `{name}`.{nearest(str(name), TENSORS)}")
    required, optional = METHOD_TENSORS.get(method, MethodTensors((), tuple(TENSORS)))
    is_prompt = PROMPT in required
    names = [PROMPT if is_prompt and name in PLACED_PROMPTS else name for name in tensors if name != MIXTURE_WEIGHT]
    is_lacking = not names or not set(required) <= set(names) or len(set(names)) < len(names)
    if is_lacking or not set(names) <= {*required, *optional}:
        received = ", ".join(name for name in TENSORS if name in tensors)
        wanted = [*required, *([f"any of {_listed(optional)}"] if optional else [])]
        raise PromptError(
            f"A task of the method {method} has the tensors: {' and '.join(wanted)}. Received: {received or 'none'}."
        )


def other_depth(name: str, own: Sequence[int], models: Sequence[int]) -> str | None:
    """Return what to do where an adapter's row differs from a model's in its number of layers alone; None where there is nothing.

    The folder of an adapter does not say how many layers its T5 has.
    """
    if own[1:] != models[1:]:
        return None
    if name in (*DELTAS, *SCALES, *ADAPTERS) and own[0] < models[0]:
        return "If it was trained on this T5 without its last layers, save it for all layers, in PEFT or AdapterHub."
    if name == DECODER_PAST_KEY_VALUES and own[0] > models[0]:
        return (
            f"If it was trained on this T5 with PEFT, which counts the encoder's layers, cut its layers to {models[0]}."
        )
    return None


def check_folded(tensors: Mapping[str, Any], method: str, sizes: BackboneSizes, *, has_tasks: bool) -> None:
    """Refuse what a method makes of its variables where no task could have it.

    Args:
      tensors: name -> [P, ...], or [K, P, ...] where there are tasks.
      method: its name.
      sizes: of the backbone.
      has_tasks: whether each tensor has an axis of tasks.

    Raises:
      PromptError: for unknown names, for those that the method does not have, and for rows of another shape.
    """
    check_tensors_of_method(tensors, method)
    for name, value in tensors.items():
        shape, row = list(value.shape)[has_tasks:], list(row_shape(name, sizes))
        if shape[1:] != row:
            raise PromptError(
                f"`{name}` of the method {method} must have the shape {_FORMS[name]}, on this T5 [.., {str(row)[1:]}. Received: "
                f"shape {shape}."
            )


def _listed(names: Sequence[str]) -> str:
    """Name tensors; those of one kind for each layer, or for each projection, are named once."""
    kinds = {
        **dict.fromkeys(LATE_PROMPTS, "prompt_before_layer_LAYER"),
        **dict.fromkeys(DELTAS, "ATTENTION_PROJECTION_delta"),
        **dict.fromkeys(SCALES, "ATTENTION_PROJECTION_scale, STACK_feed_forward_scale"),
        **dict.fromkeys(ADAPTERS, "ATTENTION_attention_adapter"),
        **dict.fromkeys(FEED_FORWARD_ADAPTERS, "STACK_feed_forward_adapter"),
        **dict.fromkeys(LANGUAGE_ADAPTERS, "STACK_language_adapter"),
    }
    return ", ".join(dict.fromkeys(kinds.get(name, name) for name in names))


def checked_tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return read-only float32 copies of usable tensors of known names.

    Raises:
      PromptError: if one is not finite, floating and of its form, or those that belong together differ in their rows.
    """
    checked = {name: _checked(name, tensors[name]) for name in TENSORS if name in tensors}
    others = set(checked) - {LABEL_ROWS, PROMPT, MIXTURE_WEIGHT, *PLACED_PROMPTS}
    if LABEL_ROWS in checked and others:
        raise PromptError(f"Label rows go with a prompt alone. Received: {', '.join(sorted(others))} too.")
    rows = {name: len(checked[name]) for name in KEY_VALUES if name in checked}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise PromptError(f"The keys and values of a task must have equally many rows. Received: {counts}.")
    if PROMPT_ADDITION in checked and len(checked[PROMPT_ADDITION]) != len(checked.get(PROMPT, ())):
        raise PromptError(
            f"`{PROMPT_ADDITION}` must have a row for each row of the task's prompt. Received: "
            f"{counted(len(checked[PROMPT_ADDITION]), 'row')} and a prompt of {len(checked.get(PROMPT, ()))}."
        )
    if PROMPT_SIGHT in checked and (PROMPT not in checked or not np.isin(checked[PROMPT_SIGHT], (0, 1)).all()):
        raise PromptError(
            f"`{PROMPT_SIGHT}` must be of zeros and ones, beside a prompt in front of the text. Received: "
            f"{checked[PROMPT_SIGHT].tolist()}, tensors {', '.join(checked)}."
        )
    if MIXTURE_WEIGHT in checked and checked[MIXTURE_WEIGHT].min() < 0:
        raise PromptError(f"`{MIXTURE_WEIGHT}` must be 0 or more. Received: {checked[MIXTURE_WEIGHT].min()}.")
    return checked


def _checked(name: str, value: np.ndarray) -> np.ndarray:
    array = np.asarray(value)
    is_pair = name not in KEY_VALUES or array.shape[2:3] == (2,)
    has_rows = name not in (*SCALES, MIXTURE_WEIGHT, PROMPT_SIGHT) or array.shape[:1] == (1,)
    has_rows &= array.shape[1:] == {MIXTURE_WEIGHT: (1,), PROMPT_SIGHT: (3,)}.get(name, array.shape[1:])
    if array.ndim != num_axes(name) or 0 in array.shape or not is_pair or not has_rows:
        raise PromptError(
            f"`{name}` must have the shape {_FORMS[name]}, one task's rows. Received: shape {list(array.shape)}."
        )
    # bfloat16 is no NumPy dtype of its own: ml_dtypes registers it with kind "V", and its name tells it apart.
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise PromptError(f"`{name}` must be floating. Received: dtype {array.dtype}.")
    with np.errstate(over="ignore"):  # float64 beyond float32's range becomes infinite, which is refused below
        values = np.array(array, dtype=np.float32, order="C")
    bad_rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if bad_rows.size:
        raise PromptError(
            f"`{name}` must be finite. Received: NaN or infinite values in {bad_rows.size} of {len(values)} rows, "
            f"the first in row {bad_rows[0]}."
        )
    values.setflags(write=False)
    return values
