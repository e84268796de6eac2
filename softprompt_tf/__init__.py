"""Soft prompt tuning of a frozen T5 in TensorFlow and Keras 3, and one SavedModel that serves every task.

Names are loaded at first use: the gRPC client (`softprompt_tf.export.PredictionClient`) starts without TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from softprompt_tf.version import __version__

if TYPE_CHECKING:
    from softprompt_tf.answers import Classification as Classification
    from softprompt_tf.answers import Generation as Generation
    from softprompt_tf.decoding import Beam as Beam
    from softprompt_tf.decoding import Greedy as Greedy
    from softprompt_tf.errors import SoftPromptError as SoftPromptError
    from softprompt_tf.prompted_t5 import PromptedT5 as PromptedT5
    from softprompt_tf.prompts import init as init
    from softprompt_tf.prompts import load_prompt as load_prompt
    from softprompt_tf.prompts import prompt_tuning as prompt_tuning
    from softprompt_tf.t5 import FrozenT5 as FrozenT5
    from softprompt_tf.t5 import load_t5 as load_t5
    from softprompt_tf.training import Adafactor as Adafactor
    from softprompt_tf.training import TargetCrossEntropy as TargetCrossEntropy
    from softprompt_tf.training import train_prompt as train_prompt

_MODULE_OF = {
    "Adafactor": "training",
    "Beam": "decoding",
    "Classification": "answers",
    "FrozenT5": "t5",
    "Generation": "answers",
    "Greedy": "decoding",
    "PromptedT5": "prompted_t5",
    "SoftPromptError": "errors",
    "TargetCrossEntropy": "training",
    "init": "prompts",
    "load_prompt": "prompts",
    "load_t5": "t5",
    "prompt_tuning": "prompts",
    "train_prompt": "training",
}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
