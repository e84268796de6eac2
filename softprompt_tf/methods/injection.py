"""Where a task's tensors go in: named tensors of a batch's rows become an `Injection`, and embeddings get its front and offsets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from softprompt_tf.errors import PromptError
from softprompt_tf.injection import (
    Front,
    Injection,
    InvertibleAdapter,
    KeyValues,
    LabelRows,
    LateFront,
    LayerChange,
    Placed,
    PromptSight,
    TextOffsets,
)
from softprompt_tf.methods.task_tensors import (
    CHANGES,
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    ENCODER_KEY_VALUES,
    INVERTIBLE_ADAPTER,
    LABEL_ROWS,
    LATE_PROMPTS,
    PLACED_PROMPTS,
    PROMPT,
    PROMPT_BEHIND_ENCODER,
    PROMPT_SIGHT,
    SCALES,
    TEXT_OFFSETS,
)


def injection_of(tensors: Mapping[str, Any], masks: Mapping[str, Any] | None = None) -> Injection:
    """Return what a batch's rows inject.

    Args:
      tensors: name of `TENSORS` -> [B, P, ...].
      masks: name -> [B, P], 1 = a row that counts. Default: all do.
    """

    def part(kind: Any, name: str) -> Any:
        return kind(tensors[name], (masks or {}).get(name)) if name in tensors else None

    return Injection(
        front=part(Front, PROMPT),
        encoder=part(KeyValues, ENCODER_KEY_VALUES),
        decoder=_with_past(part(KeyValues, DECODER_KEY_VALUES), part(KeyValues, DECODER_PAST_KEY_VALUES)),
        cross=part(KeyValues, CROSS_KEY_VALUES),
        late=tuple(
            LateFront(layer, tensors[name], (masks or {}).get(name))
            for name, layer in LATE_PROMPTS.items()
            if name in tensors
        ),
        behind=part(Front, PROMPT_BEHIND_ENCODER),
        changes=tuple(
            LayerChange(*at, _unmasked(name, tensors[name], (masks or {}).get(name)))
            for name, at in CHANGES.items()
            if name in tensors
        ),
        offsets=_zeroed(TextOffsets, TEXT_OFFSETS, tensors, masks),
        sight=_zeroed(PromptSight, PROMPT_SIGHT, tensors, masks),
        invertible=_zeroed(InvertibleAdapter, INVERTIBLE_ADAPTER, tensors, masks),
        labels=part(LabelRows, LABEL_ROWS),
        placed=tuple(
            Placed(placeholder, tensors[name], (masks or {}).get(name))
            for name, placeholder in PLACED_PROMPTS.items()
            if name in tensors
        ),
    )


def _zeroed(kind: Any, name: str, tensors: Mapping[str, Any], masks: Mapping[str, Any] | None) -> Any:
    """Return a part of rows that change nothing where they are zeros, with zeros where a mask has zeros."""
    if name not in tensors:
        return None
    rows, mask = tensors[name], (masks or {}).get(name)
    if mask is None:
        return kind(rows)
    return kind(rows * ops.reshape(ops.cast(mask, rows.dtype), (*ops.shape(mask), *[1] * (len(rows.shape) - 2))))


def _unmasked(name: str, rows: Any, mask: Any) -> Any:
    """Return rows [B, R, L, F] with what changes nothing where a mask [B, R] has zeros: of scales one row of ones, else zeros."""
    if mask is None:
        return rows
    mask = ops.cast(mask, rows.dtype)[:, :, None, None]
    if name not in SCALES:
        return rows * mask
    counts = ops.sum(mask, axis=1, keepdims=True)  # 0 or 1; a batch may have no row of any task
    return ops.sum(rows * mask, axis=1, keepdims=True) + (1 - counts)


def _with_past(plain: KeyValues | None, past: KeyValues | None) -> KeyValues | None:
    """Put keys and values without positions in front of those that have one."""
    if past is None:
        return plain
    parts = [part for part in (plain, past) if part is not None]
    masks = [ops.ones_like(part.rows[..., 0, 0, 0, 0]) if part.mask is None else part.mask for part in parts]
    has_position = [ops.full_like(mask, part is past) for part, mask in zip(parts, masks, strict=True)]
    rows = [part.rows for part in parts]
    return KeyValues(*(ops.concatenate(pieces, axis=1) for pieces in (rows, masks, has_position)))


def with_offsets(embeddings: Any, offsets: TextOffsets | None) -> Any:
    """Add offsets to the embeddings [B, T, H] of texts; positions past the last offset stay as they are."""
    if offsets is None:
        return embeddings
    batch, length = ops.shape(embeddings)[:2]
    rows = ops.cast(offsets.rows[:, :length], embeddings.dtype)
    missing = ops.zeros((batch, length - ops.shape(rows)[1], rows.shape[2]), dtype=rows.dtype)
    return embeddings + ops.concatenate([rows, missing], axis=1)


def embedded(embed: Callable[[Any], Any], token_ids: Any, placed: Sequence[Placed]) -> Any:
    """Embed token ids [B, T] as [B, T, H], with rows in the places of their placeholders.

    A row of the batch that has more or fewer placeholders than rows of the prompt is all NaN, so that no task answers, or is
    trained, without its prompt.

    Args:
      embed: token ids to their embeddings.
      token_ids: int [B, T], T at least 1.
      placed: the rows.
    """
    if not placed:
        return embed(token_ids)
    states = embed(ops.maximum(token_ids, 0))
    for part in placed:
        states = _put_in_places(part, states, token_ids)
    return states


def _put_in_places(part: Placed, states: Any, token_ids: Any) -> Any:
    is_own = ops.equal(token_ids, part.placeholder)  # [B, T]
    num_before = ops.cumsum(ops.cast(is_own, "int32"), axis=1)  # that at the place included
    width = ops.shape(part.rows)[1] if part.rows.shape[1] is None else part.rows.shape[1]
    each = ops.ones_like(part.rows[:, :, 0], dtype="int32")  # [B, P]
    counts = ops.sum(each if part.mask is None else ops.cast(part.mask, "int32"), axis=1, keepdims=True)  # [B, 1]
    place = ops.clip(width - counts + num_before - 1, 0, width - 1)  # [B, T], of the row that goes there
    first = width * (ops.cumsum(each[:, :1], axis=0) - 1)  # [B, 1], of each batch row's rows, one behind the other
    rows = ops.reshape(ops.cast(part.rows, states.dtype), (-1, part.rows.shape[2]))  # [B * P, H]
    states = ops.where(is_own[:, :, None], ops.take(rows, first + place, axis=0), states)
    is_whole = ops.equal(num_before[:, -1:], counts)[:, :, None]  # [B, 1, 1]
    return ops.where(is_whole, states, float("nan"))


def put_in_front(front: Front | None, embeddings: Any, padding_mask: Any) -> tuple[Any, Any]:
    """Put injected rows in front of embeddings [B, T, H] with mask [B, T], as `prepend` does; nothing where there are none."""
    if front is None:
        return embeddings, padding_mask
    return prepend(front.rows, embeddings, padding_mask, prompt_mask=front.mask)


def prepend(prompt: Any, embeddings: Any, padding_mask: Any, *, prompt_mask: Any = None) -> tuple[Any, Any]:
    """Put a prompt in front of the embeddings and grow the mask by its length.

    Args:
      prompt: [B, P, H], cast to the dtype of `embeddings`.
      embeddings: [B, T, H].
      padding_mask: [B, T], 1 or True = real token; bool, integer or floating.
      prompt_mask: [B, P], for rows whose prompt is shorter than P. Default None, every row of a prompt counts.

    Returns:
      Embeddings [B, P + T, H] and mask [B, P + T], each of the dtype it came in.

    Raises:
      PromptError: if the widths differ, or a tensor has the wrong rank.

    Source: Lester et al. 2021, arXiv:2104.08691, section 2.
    """
    _check(prompt, embeddings, padding_mask, prompt_mask)
    front = ops.ones_like(prompt[:, :, 0]) if prompt_mask is None else prompt_mask  # [B, P]
    mask = ops.concatenate([ops.cast(front, padding_mask.dtype), padding_mask], axis=1)  # [B, P + T]
    return ops.concatenate([ops.cast(prompt, embeddings.dtype), embeddings], axis=1), mask  # [B, P + T, H]


def _check(prompt: Any, embeddings: Any, padding_mask: Any, prompt_mask: Any) -> None:
    if len(prompt.shape) != 3 or len(embeddings.shape) != 3 or prompt.shape[2] != embeddings.shape[2]:
        raise PromptError(
            "A prompt [B, P, H] must be as wide as the embeddings [B, T, H]. "
            f"Received: prompt {list(prompt.shape)}, embeddings {list(embeddings.shape)}."
        )
    if len(padding_mask.shape) != 2:
        raise PromptError(f"`padding_mask` must have the shape [B, T]. Received: shape {list(padding_mask.shape)}.")
    if prompt_mask is not None and (len(prompt_mask.shape) != 2 or prompt_mask.shape[1] != prompt.shape[1]):
        raise PromptError(
            f"`prompt_mask` must have the shape [B, P], P={prompt.shape[1]}. Received: shape {list(prompt_mask.shape)}."
        )
