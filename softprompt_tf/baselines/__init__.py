"""What prompt tuning is measured against: all weights tuned, prompts written by hand, and a prompt that was never trained."""

from softprompt_tf.baselines.model_tuning import ModelTuner, TunedModel, TuningSettings
from softprompt_tf.baselines.prompt_design import DesignedPrompts, design_prompts, draw_shots
from softprompt_tf.baselines.random_prompt import random_prompt

__all__ = [
    "DesignedPrompts",
    "ModelTuner",
    "TunedModel",
    "TuningSettings",
    "design_prompts",
    "draw_shots",
    "random_prompt",
]
