"""What prompt tuning is measured against: all weights tuned, prompts written by hand, and a prompt that was never trained.

Names are loaded at first use: a sweep's config is checked without TensorFlow, which takes seconds to load.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.baselines.drawn_prompt import random_prompt as random_prompt
    from softprompt_tf.baselines.filled_phrases import fill_phrases as fill_phrases
    from softprompt_tf.baselines.mined_phrases import Phrase as Phrase
    from softprompt_tf.baselines.mined_phrases import mine_phrases as mine_phrases
    from softprompt_tf.baselines.model_tuning import ModelTuner as ModelTuner
    from softprompt_tf.baselines.model_tuning import TunedModel as TunedModel
    from softprompt_tf.baselines.prompt_design import DesignedPrompts as DesignedPrompts
    from softprompt_tf.baselines.prompt_design import design_prompts as design_prompts
    from softprompt_tf.baselines.prompt_design import draw_shots as draw_shots
    from softprompt_tf.baselines.ranked_phrases import RankedPhrase as RankedPhrase
    from softprompt_tf.baselines.ranked_phrases import best_of_one_length as best_of_one_length
    from softprompt_tf.baselines.ranked_phrases import rank_phrases as rank_phrases
    from softprompt_tf.baselines.tuning_settings import TuningSettings as TuningSettings

__all__ = [
    "DesignedPrompts",
    "ModelTuner",
    "Phrase",
    "RankedPhrase",
    "TunedModel",
    "TuningSettings",
    "best_of_one_length",
    "design_prompts",
    "draw_shots",
    "fill_phrases",
    "mine_phrases",
    "random_prompt",
    "rank_phrases",
]

_HOME = {
    "DesignedPrompts": "prompt_design",
    "ModelTuner": "model_tuning",
    "Phrase": "mined_phrases",
    "RankedPhrase": "ranked_phrases",
    "TunedModel": "model_tuning",
    "TuningSettings": "tuning_settings",
    "best_of_one_length": "ranked_phrases",
    "design_prompts": "prompt_design",
    "draw_shots": "prompt_design",
    "fill_phrases": "filled_phrases",
    "mine_phrases": "mined_phrases",
    "random_prompt": "drawn_prompt",
    "rank_phrases": "ranked_phrases",
}

__getattr__ = lazy_names(__name__, _HOME)
