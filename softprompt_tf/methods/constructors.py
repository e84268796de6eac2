"""The constructors of the methods: the one list of their public names, which both packages offer.

Type checkers read the imports. At run time a name loads its module in `family/`, which has the same name, at its first use.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.methods.family.adapters import adapters
    from softprompt_tf.methods.family.attempt import attempt
    from softprompt_tf.methods.family.dept import dept
    from softprompt_tf.methods.family.ia3 import ia3
    from softprompt_tf.methods.family.late_prompts import late_prompts
    from softprompt_tf.methods.family.lora import lora
    from softprompt_tf.methods.family.low_rank import low_rank
    from softprompt_tf.methods.family.mad_x import mad_x
    from softprompt_tf.methods.family.mpt import mpt
    from softprompt_tf.methods.family.multitask_prompts import multitask_prompts
    from softprompt_tf.methods.family.p_tuning import p_tuning
    from softprompt_tf.methods.family.p_tuning_v2 import p_tuning_v2
    from softprompt_tf.methods.family.prefix_tuning import prefix_tuning
    from softprompt_tf.methods.family.prompt_tuning import prompt_tuning
    from softprompt_tf.methods.family.residual import residual
    from softprompt_tf.methods.family.soft_words import soft_words
    from softprompt_tf.methods.family.superpos import superpos
    from softprompt_tf.methods.family.ulpt import ulpt
    from softprompt_tf.methods.family.warp import warp

__all__ = [
    "adapters",
    "attempt",
    "dept",
    "ia3",
    "late_prompts",
    "lora",
    "low_rank",
    "mad_x",
    "mpt",
    "multitask_prompts",
    "p_tuning",
    "p_tuning_v2",
    "prefix_tuning",
    "prompt_tuning",
    "residual",
    "soft_words",
    "superpos",
    "ulpt",
    "warp",
]

__getattr__ = lazy_names("softprompt_tf.methods.family", {name: name for name in __all__})
