"""Prompts and their relatives: the methods, the table that trains them, where they go in, and the files that keep them.

Names are loaded at first use: a config is checked, and a task added to an export, without Keras.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.methods import initializers as initializers
    from softprompt_tf.methods.family.kept_tensors import kept_tensors as kept_tensors
    from softprompt_tf.methods.family.late_prompts import late_prompts as late_prompts
    from softprompt_tf.methods.family.lora import lora as lora
    from softprompt_tf.methods.family.method import PromptMethod as PromptMethod
    from softprompt_tf.methods.family.p_tuning_v2 import p_tuning_v2 as p_tuning_v2
    from softprompt_tf.methods.family.prefix_tuning import prefix_tuning as prefix_tuning
    from softprompt_tf.methods.family.prompt_tuning import prompt_tuning as prompt_tuning
    from softprompt_tf.methods.files.members import check_members as check_members
    from softprompt_tf.methods.files.prompt_file import TaskPrompt as TaskPrompt
    from softprompt_tf.methods.files.prompt_file import check_backbone as check_backbone
    from softprompt_tf.methods.files.prompt_file import load_prompt as load_prompt
    from softprompt_tf.methods.files.prompt_file import write_npy as write_npy
    from softprompt_tf.methods.files.prompt_file import write_peft_adapter as write_peft_adapter
    from softprompt_tf.methods.files.prompt_file import write_prompt as write_prompt
    from softprompt_tf.methods.initializers import PromptInitializer as PromptInitializer
    from softprompt_tf.methods.initializers import Vocabulary as Vocabulary
    from softprompt_tf.methods.injection import injection_of as injection_of
    from softprompt_tf.methods.injection import prepend as prepend
    from softprompt_tf.methods.injection import put_in_front as put_in_front
    from softprompt_tf.methods.neighbours import nearest_neighbours as nearest_neighbours
    from softprompt_tf.methods.registry import METHODS as METHODS
    from softprompt_tf.methods.task_table import TaskTable as TaskTable

    init = initializers

_HOME = {
    "METHODS": "registry",
    "PromptInitializer": "initializers",
    "PromptMethod": "family.method",
    "TaskPrompt": "files.prompt_file",
    "TaskTable": "task_table",
    "Vocabulary": "initializers",
    "check_backbone": "files.prompt_file",
    "check_members": "files.members",
    "injection_of": "injection",
    "kept_tensors": "family.kept_tensors",
    "late_prompts": "family.late_prompts",
    "load_prompt": "files.prompt_file",
    "lora": "family.lora",
    "nearest_neighbours": "neighbours",
    "p_tuning_v2": "family.p_tuning_v2",
    "prefix_tuning": "family.prefix_tuning",
    "prepend": "injection",
    "prompt_tuning": "family.prompt_tuning",
    "put_in_front": "injection",
    "write_npy": "files.prompt_file",
    "write_peft_adapter": "files.prompt_file",
    "write_prompt": "files.prompt_file",
}

__all__ = sorted([*_HOME, "init"])
_named = lazy_names(__name__, _HOME)


def __getattr__(name: str) -> object:
    """Return a public name; `init` is the module of initializers."""
    if name == "init":
        from softprompt_tf.methods import initializers

        return initializers
    return _named(name)
