"""The settings of model tuning in a sweep's config; read before TensorFlow is loaded."""

from pydantic import BaseModel, ConfigDict, Field


class TuningSettings(BaseModel):
    """How the whole model is trained.

    Args:
      steps: batches.
      batch_size: rows per step.
      learning_rate: Adam's, behind the warm-up.
      warmup_steps: over which the rate rises linearly.
      evaluate_every: steps between two looks at the validation rows, each of which also saves the state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    steps: int = Field(default=1_000, gt=0)
    batch_size: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    evaluate_every: int = Field(default=100, gt=0)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; step 0 has 1 / warmup_steps of the full one."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
