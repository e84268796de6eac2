"""How near is a quantized T5 to its float32 form? Bytes of weights, logits, and the gradient of a prompt.

    python -m benchmarks.quantized_t5 [BACKBONE]

8 rows of 32 random tokens with targets of 8, and a prompt of 20 vectors that is not trained. It takes a minute on 2 cores.
"""

import os
import sys

import numpy as np

QUANTIZATIONS = (None, "int8", "int4")


def main(backbone: str = "mini") -> None:
    """Print a line for each form."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import softprompt_tf as sp

    expected = None
    for quantization in QUANTIZATIONS:
        t5 = sp.load_t5(backbone, quantization=quantization)
        found = _logits_and_gradient(t5)
        expected = expected or found
        apart = np.linalg.norm(found[0] - expected[0]) / np.linalg.norm(expected[0])
        cosine = np.sum(found[1] * expected[1]) / np.linalg.norm(found[1]) / np.linalg.norm(expected[1])
        megabytes = sum(t5.bytes_by_device.values()) / 1e6
        print(f"{quantization}: {megabytes:.1f} MB, logits {apart:.2%} apart, cosine of the gradients {cosine:.4f}")


def _logits_and_gradient(t5) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    import tensorflow as tf

    import softprompt_tf as sp

    generator = np.random.default_rng(0)
    ids, targets = (tf.constant(generator.integers(3, 8000, (8, width)), tf.int32) for width in (32, 8))
    batch = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": tf.ones_like(ids),
        "decoder_token_ids": tf.roll(targets, 1, axis=1),
        "decoder_padding_mask": tf.ones_like(targets),
    }
    model = sp.PromptedT5(t5, sp.prompt_tuning(length=20, seed=1))
    with tf.GradientTape() as tape:
        logits = model(batch, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
    return logits.numpy(), tape.gradient(loss, model.prompt_variable.value).numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
