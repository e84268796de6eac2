"""The prompt methods by name. Another method is one file in `family` and one row here, or is in a package of its own.

A program may put a `MethodRow` into `METHODS` at any time.
"""

from importlib.metadata import entry_points

from softprompt_tf.methods.family.adapters import AdaptersConfig, adapters
from softprompt_tf.methods.family.attempt import AttemptConfig, attempt
from softprompt_tf.methods.family.dept import DeptConfig, dept
from softprompt_tf.methods.family.ia3 import IA3Config, ia3
from softprompt_tf.methods.family.late_prompts import LatePromptsConfig, late_prompts
from softprompt_tf.methods.family.lora import LoRAConfig, lora
from softprompt_tf.methods.family.low_rank import LowRankConfig, low_rank
from softprompt_tf.methods.family.mad_x import MadXConfig, mad_x
from softprompt_tf.methods.family.mpt import MptConfig, mpt
from softprompt_tf.methods.family.multitask_prompts import MultitaskPromptsConfig, multitask_prompts
from softprompt_tf.methods.family.p_tuning import PTuningConfig, p_tuning
from softprompt_tf.methods.family.p_tuning_v2 import PTuningV2Config, p_tuning_v2
from softprompt_tf.methods.family.prefix_tuning import PrefixTuningConfig, prefix_tuning
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig, prompt_tuning
from softprompt_tf.methods.family.residual import ResidualConfig, residual
from softprompt_tf.methods.family.soft_words import SoftWordsConfig, soft_words
from softprompt_tf.methods.family.superpos import SuperPosConfig, superpos
from softprompt_tf.methods.family.ulpt import UlptConfig, ulpt
from softprompt_tf.methods.family.warp import WarpConfig, warp
from softprompt_tf.methods.method_row import MethodRow as MethodRow
from softprompt_tf.methods.other_packages import GROUP, Methods

_OWN = {
    "prompt_tuning": MethodRow(prompt_tuning, PromptTuningConfig),
    "prefix_tuning": MethodRow(prefix_tuning, PrefixTuningConfig),
    "p_tuning_v2": MethodRow(p_tuning_v2, PTuningV2Config),
    "late_prompts": MethodRow(late_prompts, LatePromptsConfig),
    "lora": MethodRow(lora, LoRAConfig),
    "ia3": MethodRow(ia3, IA3Config),
    "adapters": MethodRow(adapters, AdaptersConfig),
    "mad_x": MethodRow(mad_x, MadXConfig),
    "residual": MethodRow(residual, ResidualConfig),
    "superpos": MethodRow(superpos, SuperPosConfig),
    "low_rank": MethodRow(low_rank, LowRankConfig),
    "ulpt": MethodRow(ulpt, UlptConfig),
    "p_tuning": MethodRow(p_tuning, PTuningConfig),
    "multitask_prompts": MethodRow(multitask_prompts, MultitaskPromptsConfig),
    "mpt": MethodRow(mpt, MptConfig),
    "attempt": MethodRow(attempt, AttemptConfig),
    "dept": MethodRow(dept, DeptConfig),
    "soft_words": MethodRow(soft_words, SoftWordsConfig),
    "warp": MethodRow(warp, WarpConfig),
}
METHODS = Methods(_OWN, entry_points(group=GROUP))
