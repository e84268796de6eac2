"""The models and the order of the parity section, for programs that load no model themselves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A model of the parity section.

    Args:
      words: what a report calls it.
      shape: of drawn weights, a key of `inputs.SHAPES`; None for the bundled backbone.
    """

    words: str
    shape: str | None


MODELS = {
    "small": Model("T5 1.1 Small shape (gated GELU, untied head)", "small"),
    "mini": Model("mini, the bundled backbone", None),
    "base": Model("Flan-T5 Base shape (gated GELU, untied head)", "base"),
    "original_small": Model("T5 1.0 Small shape (ReLU, tied head)", "original_small"),
    "tiny": Model("tiny (gated GELU, untied head)", "tiny"),
    "tiny_original": Model("tiny (ReLU, tied head)", "tiny_original"),
}
MODEL_WORDS = {name: model.words for name, model in MODELS.items()}
# The order is that of importance: a run that is cut short has the first ones.
PARITY_CASES = [(m, p) for p in ("float32", "bfloat16", "tf32") for m in ("small", "mini", "base", "original_small")]
QUICK_PARITY_CASES = [("tiny", "float32"), ("tiny_original", "float32"), ("mini", "bfloat16"), ("tiny", "tf32")]
