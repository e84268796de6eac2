"""The settings of model tuning in a sweep's config; read before TensorFlow is loaded."""

from pydantic import Field

from softprompt_tf.settings.config_section import WHOLE_NUMBER, Section


class TuningSettings(Section):
    """How the whole model is trained.

    Args:
      steps: batches.
      batch_size: rows per step.
      learning_rate: Adam's, behind the warm-up.
      warmup_steps: over which the rate rises linearly.
      evaluate_every: steps between two looks at the dev rows, each of which also saves the state.
    """

    steps: int = Field(default=1_000, gt=0, description=f"{WHOLE_NUMBER} (batches)")
    batch_size: int = Field(default=32, gt=0, description=f"{WHOLE_NUMBER} (rows per step)")
    learning_rate: float = Field(default=5e-4, gt=0, description="a number above 0 (Adam's)")
    warmup_steps: int = Field(default=100, ge=0, description="a whole number from 0 up (steps of linear warm-up)")
    evaluate_every: int = Field(default=100, gt=0, description=f"{WHOLE_NUMBER} (steps)")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; step 0 has 1 / warmup_steps of the full one."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
