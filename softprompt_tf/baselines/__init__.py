"""What prompt tuning is measured against: all weights tuned, prompts written by hand, and a prompt that was never trained.

Names are loaded at first use: a sweep's config is checked without TensorFlow, which takes seconds to load.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.baselines.drawn_prompt import random_prompt as random_prompt
    from softprompt_tf.baselines.model_tuning import ModelTuner as ModelTuner
    from softprompt_tf.baselines.model_tuning import TunedModel as TunedModel
    from softprompt_tf.baselines.prompt_design import DesignedPrompts as DesignedPrompts
    from softprompt_tf.baselines.prompt_design import design_prompts as design_prompts
    from softprompt_tf.baselines.prompt_design import draw_shots as draw_shots
    from softprompt_tf.baselines.tuning_settings import TuningSettings as TuningSettings

__all__ = [
    "DesignedPrompts",
    "ModelTuner",
    "TunedModel",
    "TuningSettings",
    "design_prompts",
    "draw_shots",
    "random_prompt",
]

_HOME = {
    "DesignedPrompts": "prompt_design",
    "ModelTuner": "model_tuning",
    "TunedModel": "model_tuning",
    "TuningSettings": "tuning_settings",
    "design_prompts": "prompt_design",
    "draw_shots": "prompt_design",
    "random_prompt": "drawn_prompt",
}

__getattr__ = lazy_names(__name__, _HOME)
