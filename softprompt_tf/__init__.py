"""Soft prompt tuning of a frozen T5 in TensorFlow and Keras 3, and one SavedModel that serves every task.

Names are loaded at first use: the gRPC client (`softprompt_tf.export.PredictionClient`) starts without TensorFlow. With the first
name that needs Keras, or at once where Keras is imported already, Keras learns all classes of a saved model.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from softprompt_tf.methods import constructors
from softprompt_tf.version import __version__

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5 as FrozenT5
    from softprompt_tf.backbones import load_t5 as load_t5
    from softprompt_tf.errors import SoftPromptError as SoftPromptError
    from softprompt_tf.inference.answers import Classification as Classification
    from softprompt_tf.inference.answers import Generation as Generation
    from softprompt_tf.inference.beam import Beam as Beam
    from softprompt_tf.inference.greedy import Greedy as Greedy
    from softprompt_tf.methods import init as init
    from softprompt_tf.methods import load_prompt as load_prompt
    from softprompt_tf.methods.constructors import *  # noqa: F403
    from softprompt_tf.model.prompted_t5 import PromptedT5 as PromptedT5
    from softprompt_tf.model.token_metrics import ExactMatch as ExactMatch
    from softprompt_tf.model.token_metrics import LabelAccuracy as LabelAccuracy
    from softprompt_tf.model.token_metrics import TokenAccuracy as TokenAccuracy
    from softprompt_tf.resource_plan import ResourcePlan as ResourcePlan
    from softprompt_tf.resource_plan import plan as plan
    from softprompt_tf.saving import load_model as load_model
    from softprompt_tf.training import Adafactor as Adafactor
    from softprompt_tf.training import AutoPrompt as AutoPrompt
    from softprompt_tf.training import TargetCrossEntropy as TargetCrossEntropy
    from softprompt_tf.training import found_words as found_words
    from softprompt_tf.training import train_prompt as train_prompt
    from softprompt_tf.tuning import TuneResult as TuneResult
    from softprompt_tf.tuning import tune as tune

_MODULE_OF = {
    **dict.fromkeys(constructors.__all__, "methods"),
    "Adafactor": "training",
    "AutoPrompt": "training",
    "Beam": "inference.beam",
    "Classification": "inference.answers",
    "ExactMatch": "model.token_metrics",
    "FrozenT5": "backbones",
    "Generation": "inference.answers",
    "Greedy": "inference.greedy",
    "LabelAccuracy": "model.token_metrics",
    "PromptedT5": "model.prompted_t5",
    "ResourcePlan": "resource_plan",
    "SoftPromptError": "errors",
    "TargetCrossEntropy": "training",
    "TokenAccuracy": "model.token_metrics",
    "TuneResult": "tuning",
    "found_words": "training",
    "init": "methods",
    "load_model": "saving",
    "load_prompt": "methods",
    "load_t5": "backbones",
    "plan": "resource_plan",
    "train_prompt": "training",
    "tune": "tuning",
}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    _register()
    return value


def _register() -> None:
    """Make Keras, where it runs already, know every class of a saved model."""
    if "keras" in sys.modules:
        importlib.import_module(f"{__name__}.saving")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_register()
