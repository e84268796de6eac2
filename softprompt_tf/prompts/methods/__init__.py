"""The prompt methods by name. Another method is one file beside this one and one row here."""

from collections.abc import Callable
from typing import NamedTuple

from softprompt_tf.prompts.methods.method import PromptMethod
from softprompt_tf.prompts.methods.method_config import MethodConfig
from softprompt_tf.prompts.methods.p_tuning_v2 import PTuningV2Config, p_tuning_v2
from softprompt_tf.prompts.methods.prefix_tuning import PrefixTuningConfig, prefix_tuning
from softprompt_tf.prompts.methods.prompt_tuning import PromptTuningConfig, prompt_tuning


class MethodRow(NamedTuple):
    """A method: its constructor, and its section of a config."""

    make: Callable[..., PromptMethod]
    config: type[MethodConfig]


METHODS: dict[str, MethodRow] = {
    "prompt_tuning": MethodRow(prompt_tuning, PromptTuningConfig),
    "prefix_tuning": MethodRow(prefix_tuning, PrefixTuningConfig),
    "p_tuning_v2": MethodRow(p_tuning_v2, PTuningV2Config),
}
