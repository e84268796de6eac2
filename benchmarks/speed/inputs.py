"""The model, batches and prompts that both sides get: NumPy with a seed, so that each makes the same."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEAD_DIM = 64


@dataclass(frozen=True)
class Shape:
    """A T5: width H, feed-forward width, layers of each stack, heads N, rows of the vocabulary V.

    T5 1.1 and Flan-T5 have a gated GELU and a head of their own. An original T5 has a ReLU and a tied head.
    """

    hidden: int
    wide: int
    layers: int
    heads: int
    rows: int = 32128
    is_original: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers its weights are, relative positions and layer norms left out."""
        block = 4 * self.hidden * self.heads * HEAD_DIM
        feed_forward = self.feed_forward_products * self.hidden * self.wide
        tables = 1 if self.is_original else 2
        return self.layers * (3 * block + 2 * feed_forward) + tables * self.rows * self.hidden

    @property
    def feed_forward_products(self) -> int:
        """How many matrices a feed-forward block has."""
        return 2 if self.is_original else 3


SHAPES = {
    "mini": Shape(256, 512, 4, 4, 8192),  # the bundled backbone's
    "small": Shape(512, 1024, 8, 6),
    "base": Shape(768, 2048, 12, 12),
    "large": Shape(1024, 2816, 24, 16),
    "original_small": Shape(512, 2048, 6, 8, is_original=True),
    "tiny": Shape(64, 128, 2, 2, 8192),  # for dry runs
    "tiny_original": Shape(64, 128, 2, 2, 8192, is_original=True),
}


def configuration(shape: Shape) -> dict[str, object]:
    """Return what a Hugging Face directory says of the model."""
    return {
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True,
        "vocab_size": shape.rows, "d_model": shape.hidden, "d_kv": HEAD_DIM, "d_ff": shape.wide, "num_heads": shape.heads,
        "num_layers": shape.layers, "num_decoder_layers": shape.layers, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "relu" if shape.is_original else "gated-gelu",
        "tie_word_embeddings": shape.is_original, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "use_cache": True,
    }  # fmt: skip


def write_model(directory: Path, shape: Shape = SHAPES["small"]) -> None:
    """Write a T5 with random weights as a Hugging Face directory, unless it is there; needs safetensors."""
    import safetensors.numpy

    if (directory / "config.json").is_file():
        return
    generator = np.random.default_rng(0)
    inner = shape.heads * HEAD_DIM

    def matrix(outputs: int, inputs: int, scale: float = 1.0) -> np.ndarray:
        return (scale * inputs**-0.5 * generator.standard_normal((outputs, inputs))).astype(np.float32)

    ones = np.ones(shape.hidden, np.float32)
    drawn = {"shared.weight": matrix(shape.rows, shape.hidden, shape.hidden**0.5)}
    if not shape.is_original:
        drawn["lm_head.weight"] = matrix(shape.rows, shape.hidden)
    for stack, blocks in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])):
        for i in range(shape.layers):
            for k, block in enumerate(blocks):
                at = f"{stack}.block.{i}.layer.{k}"
                for part in "qkv":
                    drawn[f"{at}.{block}.{part}.weight"] = matrix(
                        inner, shape.hidden, HEAD_DIM**-0.5 if part == "q" else 1.0
                    )
                drawn[f"{at}.{block}.o.weight"] = matrix(shape.hidden, inner)
                drawn[f"{at}.layer_norm.weight"] = ones
                if i == k == 0:
                    drawn[f"{at}.{block}.relative_attention_bias.weight"] = matrix(32, shape.heads)
            at = f"{stack}.block.{i}.layer.{len(blocks)}"
            for wide in ["wi"] if shape.is_original else ["wi_0", "wi_1"]:
                drawn[f"{at}.DenseReluDense.{wide}.weight"] = matrix(shape.wide, shape.hidden)
            drawn[f"{at}.DenseReluDense.wo.weight"] = matrix(shape.hidden, shape.wide)
            drawn[f"{at}.layer_norm.weight"] = ones
        drawn[f"{stack}.final_layer_norm.weight"] = ones
    directory.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(drawn, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(configuration(shape)))  # last: it marks a whole directory


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


def prompt(length: int, hidden: int = SHAPES["small"].hidden) -> np.ndarray:
    """Return a prompt float32 [P, H]."""
    return np.random.default_rng(2).standard_normal((length, hidden)).astype(np.float32)
