"""Training a prompt: loss, optimizer, callbacks and the loop around `fit`.

The names that need TensorFlow load it at their first use, so that loss and optimizer work under Keras's JAX backend.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names
from softprompt_tf.model.distillation import Distillation
from softprompt_tf.model.loss_terms import LossTerm, NearText
from softprompt_tf.training.adafactor import Adafactor
from softprompt_tf.training.autoprompt import AutoPrompt
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation, KeepBestPrompt
from softprompt_tf.training.callbacks import BatchLogs, StopOnNonFiniteLoss
from softprompt_tf.training.cosine_restarts import CosineRestarts
from softprompt_tf.training.losses import TargetCrossEntropy
from softprompt_tf.training.prodigy import Prodigy
from softprompt_tf.training.progress import progress
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint
from softprompt_tf.training.schedule_free import ScheduleFreeAdam

if TYPE_CHECKING:
    from softprompt_tf.training.distribution import make_strategy
    from softprompt_tf.training.fit import Batches, TrainingResult, train_prompt
    from softprompt_tf.training.tensorboard import TensorBoardScalars
    from softprompt_tf.training.token_search import found_words

__all__ = [
    "Adafactor",
    "AutoPrompt",
    "BatchLogs",
    "Batches",
    "BestSoFar",
    "CosineRestarts",
    "Distillation",
    "Evaluation",
    "KeepBestPrompt",
    "LossTerm",
    "NearText",
    "Prodigy",
    "PromptCheckpoint",
    "ScheduleFreeAdam",
    "StopOnNonFiniteLoss",
    "TargetCrossEntropy",
    "TensorBoardScalars",
    "TrainingResult",
    "found_words",
    "make_strategy",
    "progress",
    "train_prompt",
]

_HOME = {
    "Batches": "fit",
    "TensorBoardScalars": "tensorboard",
    "TrainingResult": "fit",
    "found_words": "token_search",
    "make_strategy": "distribution",
    "train_prompt": "fit",
}


__getattr__ = lazy_names(__name__, _HOME)
