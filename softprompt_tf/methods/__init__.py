"""Prompt methods: what they train, where it goes in, and the files that keep it.

Names are loaded at first use: a config is checked, and a task added to an export, without Keras.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names
from softprompt_tf.methods import constructors

if TYPE_CHECKING:
    from softprompt_tf.methods import initializers as initializers
    from softprompt_tf.methods.constructors import *  # noqa: F403
    from softprompt_tf.methods.family.kept_tensors import kept_tensors as kept_tensors
    from softprompt_tf.methods.family.method import PromptMethod as PromptMethod
    from softprompt_tf.methods.family.method_config import LengthConfig as LengthConfig
    from softprompt_tf.methods.family.method_config import MethodConfig as MethodConfig
    from softprompt_tf.methods.family.method_config import TaskStart as TaskStart
    from softprompt_tf.methods.family.method_config import task_ids_of as task_ids_of
    from softprompt_tf.methods.files.members import check_members as check_members
    from softprompt_tf.methods.files.members import mixture_weights as mixture_weights
    from softprompt_tf.methods.files.members import with_weight as with_weight
    from softprompt_tf.methods.files.prompt_file import TaskPrompt as TaskPrompt
    from softprompt_tf.methods.files.prompt_file import check_backbone as check_backbone
    from softprompt_tf.methods.files.prompt_file import load_prompt as load_prompt
    from softprompt_tf.methods.files.prompt_file import write_adapterhub_adapter as write_adapterhub_adapter
    from softprompt_tf.methods.files.prompt_file import write_npy as write_npy
    from softprompt_tf.methods.files.prompt_file import write_peft_adapter as write_peft_adapter
    from softprompt_tf.methods.files.prompt_file import write_prompt as write_prompt
    from softprompt_tf.methods.initializers import PromptInitializer as PromptInitializer
    from softprompt_tf.methods.injection import embedded as embedded
    from softprompt_tf.methods.injection import injection_of as injection_of
    from softprompt_tf.methods.injection import prepend as prepend
    from softprompt_tf.methods.injection import put_in_front as put_in_front
    from softprompt_tf.methods.injection import with_offsets as with_offsets
    from softprompt_tf.methods.method_row import MethodRow as MethodRow
    from softprompt_tf.methods.neighbours import nearest_neighbours as nearest_neighbours
    from softprompt_tf.methods.registry import METHODS as METHODS
    from softprompt_tf.methods.task_table import TaskTable as TaskTable
    from softprompt_tf.methods.vocabulary import Vocabulary as Vocabulary

    init = initializers

_HOME = {
    **dict.fromkeys(constructors.__all__, "constructors"),
    "LengthConfig": "family.method_config",
    "METHODS": "registry",
    "MethodConfig": "family.method_config",
    "MethodRow": "method_row",
    "PromptInitializer": "initializers",
    "PromptMethod": "family.method",
    "TaskPrompt": "files.prompt_file",
    "TaskStart": "family.method_config",
    "TaskTable": "task_table",
    "Vocabulary": "vocabulary",
    "check_backbone": "files.prompt_file",
    "check_members": "files.members",
    "embedded": "injection",
    "injection_of": "injection",
    "kept_tensors": "family.kept_tensors",
    "load_prompt": "files.prompt_file",
    "mixture_weights": "files.members",
    "nearest_neighbours": "neighbours",
    "prepend": "injection",
    "put_in_front": "injection",
    "task_ids_of": "family.method_config",
    "with_offsets": "injection",
    "with_weight": "files.members",
    "write_adapterhub_adapter": "files.prompt_file",
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
