"""Where a prompt goes: prompts and embeddings enter, longer embeddings and the mask that fits them leave."""

from typing import Any

from keras import ops

from softprompt_tf.errors import PromptError


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
