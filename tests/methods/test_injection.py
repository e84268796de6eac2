"""Where a prompt goes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import prepend

PROMPT = np.full((2, 3, 4), 7, np.float32)  # [B, P, H]
EMBEDDINGS = np.arange(40, dtype=np.float32).reshape(2, 5, 4)  # [B, T, H]
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.int32)


def test_prepend_puts_the_prompt_first():
    embeddings, _ = prepend(tf.constant(PROMPT), tf.constant(EMBEDDINGS), tf.constant(MASK))

    np.testing.assert_array_equal(embeddings[:, :3], PROMPT)
    np.testing.assert_array_equal(embeddings[:, 3:], EMBEDDINGS)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
def test_prepend_grows_mask_by_prompt_length(dtype):
    _, mask = prepend(tf.constant(PROMPT), tf.constant(EMBEDDINGS), tf.constant(MASK.astype(dtype)))

    np.testing.assert_array_equal(mask, [[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0, 0]])
    assert keras.backend.standardize_dtype(mask.dtype) == dtype


def test_prepend_takes_the_mask_of_short_prompts():
    prompt_mask = tf.constant([[0, 0, 1], [0, 1, 1]])

    _, mask = prepend(tf.constant(PROMPT), tf.constant(EMBEDDINGS), tf.constant(MASK > 0), prompt_mask=prompt_mask)

    np.testing.assert_array_equal(mask, [[0, 0, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0, 0, 0]])


def test_prepend_keeps_the_dtype_of_the_embeddings():
    embeddings, _ = prepend(tf.constant(PROMPT), tf.cast(EMBEDDINGS, tf.bfloat16), tf.constant(MASK))

    assert embeddings.dtype == tf.bfloat16


def test_prepend_works_in_a_functional_model_and_in_a_graph():
    prompt = keras.Input([3, 4])
    embeddings = keras.Input([None, 4])
    mask = keras.Input([None], dtype="int32")
    model = keras.Model([prompt, embeddings, mask], prepend(prompt, embeddings, mask))

    eager = prepend(tf.constant(PROMPT), tf.constant(EMBEDDINGS), tf.constant(MASK))
    for got in (model([PROMPT, EMBEDDINGS, MASK]), tf.function(prepend)(PROMPT, EMBEDDINGS, MASK)):
        np.testing.assert_array_equal(got[0], eager[0])
        np.testing.assert_array_equal(got[1], eager[1])


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 4)], ids=str)
def test_a_prompt_of_another_width_is_an_error(shape):
    with pytest.raises(
        PromptError, match=r"as wide as the embeddings .* Received: prompt \[.*\], embeddings \[2, 5, 4\]"
    ):
        prepend(np.ones(shape, np.float32), EMBEDDINGS, MASK)


def test_a_padding_mask_of_another_rank_is_an_error():
    with pytest.raises(PromptError, match=r"`padding_mask` must have the shape \[B, T\]\. Received: shape \[2, 5, 1\]"):
        prepend(PROMPT, EMBEDDINGS, MASK[:, :, None])


def test_a_prompt_mask_of_another_length_is_an_error():
    with pytest.raises(
        PromptError, match=r"`prompt_mask` must have the shape \[B, P\], P=3\. Received: shape \[2, 2\]"
    ):
        prepend(PROMPT, EMBEDDINGS, MASK, prompt_mask=np.ones((2, 2)))
