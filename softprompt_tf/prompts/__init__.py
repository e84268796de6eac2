"""Prompts: how they start, the table that trains them, where they go, and the files that keep them."""

from softprompt_tf.prompts import initializers as init
from softprompt_tf.prompts.initializers import PromptInitializer, Vocabulary
from softprompt_tf.prompts.injection import prepend
from softprompt_tf.prompts.members import check_members
from softprompt_tf.prompts.methods import METHODS, PromptMethod, prompt_tuning
from softprompt_tf.prompts.neighbours import nearest_neighbours
from softprompt_tf.prompts.prompt_file import (
    TaskPrompt,
    check_backbone,
    load_prompt,
    write_npy,
    write_peft_adapter,
    write_prompt,
)
from softprompt_tf.prompts.prompt_table import PromptTable

__all__ = [
    "METHODS",
    "PromptInitializer",
    "PromptMethod",
    "PromptTable",
    "TaskPrompt",
    "Vocabulary",
    "check_backbone",
    "check_members",
    "init",
    "load_prompt",
    "nearest_neighbours",
    "prepend",
    "prompt_tuning",
    "write_npy",
    "write_peft_adapter",
    "write_prompt",
]
