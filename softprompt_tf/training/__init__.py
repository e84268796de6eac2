"""A prompted T5 and its batches enter; a trained prompt leaves: loss, optimizer, callbacks and the loop around `fit`."""

from softprompt_tf.training.adafactor import Adafactor
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation, KeepBestPrompt
from softprompt_tf.training.callbacks import BatchLogs, StopOnNonFiniteLoss
from softprompt_tf.training.distribution import make_strategy
from softprompt_tf.training.fit import Batches, TrainingResult, train_prompt
from softprompt_tf.training.losses import TargetCrossEntropy
from softprompt_tf.training.progress import progress
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint
from softprompt_tf.training.tensorboard import TensorBoardScalars

__all__ = [
    "Adafactor",
    "BatchLogs",
    "Batches",
    "BestSoFar",
    "Evaluation",
    "KeepBestPrompt",
    "PromptCheckpoint",
    "StopOnNonFiniteLoss",
    "TargetCrossEntropy",
    "TensorBoardScalars",
    "TrainingResult",
    "make_strategy",
    "progress",
    "train_prompt",
]
