"""The precisions of a run: the dtype of the model, and how matrix products of float32 values are computed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """One precision, as each side is told.

    Args:
      dtype: what the model computes in.
      jax: `jax_default_matmul_precision`.
      torch: `torch.set_float32_matmul_precision`.
      words: what a report calls it.
      limit: how far values may lie from the recorded ones, as a share of the largest recorded value.
    """

    dtype: str
    jax: str
    torch: str
    words: str
    limit: float


PRECISIONS = {
    "float32": Precision("float32", "highest", "highest", "float32, TF32 off", 1e-4),
    "tf32": Precision("float32", "tensorfloat32", "high", "float32, TF32 on", 1e-2),
    "bfloat16": Precision("bfloat16", "default", "high", "bfloat16", 1e-1),
}
