"""Plain text files in, a small pretrained T5 1.1 out, as a preset directory that `softprompt_tf.t5.load_t5` reads.

`python -m softprompt_tf.pretraining` does all of it: it reads the corpora, trains a vocabulary, and trains a model on a
mixture of span corruption, prefix LM and instruction tasks made from the text itself. Names here are those that a
program of one's own needs; those of the training loop load TensorFlow when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

from softprompt_tf.pretraining.batches import Mixture, PretrainingBatches
from softprompt_tf.pretraining.corpus import Corpus, load_corpora
from softprompt_tf.pretraining.instruction_tasks import INSTRUCTION_TASKS
from softprompt_tf.pretraining.objectives import prefix_lm, span_corruption
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.vocabulary import train_vocabulary

if TYPE_CHECKING:
    from softprompt_tf.pretraining.pretrain import (
        BackboneShape,
        Pretrainer,
        PretrainingRun,
        build_backbone,
        write_preset,
    )

__all__ = [
    "INSTRUCTION_TASKS",
    "BackboneShape",
    "Corpus",
    "Mixture",
    "PassageSource",
    "Pretrainer",
    "PretrainingBatches",
    "PretrainingRun",
    "build_backbone",
    "load_corpora",
    "prefix_lm",
    "span_corruption",
    "train_vocabulary",
    "write_preset",
]


def __getattr__(name: str) -> object:
    """Load the training loop, and TensorFlow with it, at the first use of one of its names."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("softprompt_tf.pretraining.pretrain"), name)
