"""The model, batches and prompts that both sides get: NumPy with a seed, so that each makes the same."""

import json
from pathlib import Path

import numpy as np

HIDDEN, WIDE, LAYERS, HEADS, HEAD_DIM, ROWS = 512, 1024, 8, 6, 64, 32128  # T5 1.1 Small
CONFIG = {
    "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True,
    "vocab_size": ROWS, "d_model": HIDDEN, "d_kv": HEAD_DIM, "d_ff": WIDE, "num_heads": HEADS, "num_layers": LAYERS,
    "num_decoder_layers": LAYERS, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
    "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "use_cache": True,
}  # fmt: skip


def write_model(directory: Path) -> None:
    """Write T5 1.1 Small with random weights as a Hugging Face directory; needs safetensors."""
    import safetensors.numpy

    generator = np.random.default_rng(0)
    inner = HEADS * HEAD_DIM

    def matrix(outputs: int, inputs: int, scale: float = 1.0) -> np.ndarray:
        return (scale * inputs**-0.5 * generator.standard_normal((outputs, inputs))).astype(np.float32)

    ones = np.ones(HIDDEN, np.float32)
    drawn = {"shared.weight": matrix(ROWS, HIDDEN, HIDDEN**0.5), "lm_head.weight": matrix(ROWS, HIDDEN)}
    for stack, blocks in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])):
        for i in range(LAYERS):
            for k, block in enumerate(blocks):
                at = f"{stack}.block.{i}.layer.{k}"
                for part in "qkv":
                    drawn[f"{at}.{block}.{part}.weight"] = matrix(inner, HIDDEN, HEAD_DIM**-0.5 if part == "q" else 1.0)
                drawn[f"{at}.{block}.o.weight"] = matrix(HIDDEN, inner)
                drawn[f"{at}.layer_norm.weight"] = ones
                if i == k == 0:
                    drawn[f"{at}.{block}.relative_attention_bias.weight"] = matrix(32, HEADS)
            at = f"{stack}.block.{i}.layer.{len(blocks)}"
            drawn[f"{at}.DenseReluDense.wi_0.weight"] = matrix(WIDE, HIDDEN)
            drawn[f"{at}.DenseReluDense.wi_1.weight"] = matrix(WIDE, HIDDEN)
            drawn[f"{at}.DenseReluDense.wo.weight"] = matrix(HIDDEN, WIDE)
            drawn[f"{at}.layer_norm.weight"] = ones
        drawn[f"{stack}.final_layer_norm.weight"] = ones
    directory.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(drawn, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(CONFIG))  # last: it marks a whole directory


def source(rows: int, length: int) -> np.ndarray:
    """Return token ids int64 [B, T], no padding."""
    return np.random.default_rng(1).integers(3, 8000, (rows, length))


def targets(rows: int, length: int) -> np.ndarray:
    """Return token ids int64 [B, U], no padding."""
    return np.random.default_rng(3).integers(3, 8000, (rows, length))


def labels(length: int, count: int = 2) -> np.ndarray:
    """Return the token ids int64 [C, U] of labels, each with the end of sequence, 1, behind it."""
    words = np.random.default_rng(4).integers(3, 8000, (count, length - 1))
    return np.concatenate([words, np.ones((count, 1), words.dtype)], axis=1)


def prompt(length: int) -> np.ndarray:
    """Return a prompt float32 [P, H]."""
    return np.random.default_rng(2).standard_normal((length, HIDDEN)).astype(np.float32)
