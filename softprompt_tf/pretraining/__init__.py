"""Pretrain a small T5 1.1 from plain text, or adapt a pretrained one.

`softprompt pretrain` and `softprompt adapt` do all of it: they read the corpora, train a vocabulary where there is none, and
train a model on a mixture of span corruption, prefix LM and instruction tasks made from the text itself. Names here are those
that a program of one's own needs; those of the training loop load TensorFlow when they are first used.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names
from softprompt_tf.pretraining.batches import Mixture, PretrainingBatches
from softprompt_tf.pretraining.corpus import Corpus, load_corpora
from softprompt_tf.pretraining.instruction_tasks import INSTRUCTION_TASKS
from softprompt_tf.pretraining.objectives import prefix_lm, span_corruption
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.vocabulary import train_vocabulary

if TYPE_CHECKING:
    from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
    from softprompt_tf.pretraining.pretrainer import Pretrainer, PretrainingRun
    from softprompt_tf.pretraining.training_directory import adapt, pretrain

__all__ = [
    "INSTRUCTION_TASKS",
    "BackboneShape",
    "Corpus",
    "Mixture",
    "PassageSource",
    "Pretrainer",
    "PretrainingBatches",
    "PretrainingRun",
    "adapt",
    "build_backbone",
    "load_corpora",
    "prefix_lm",
    "pretrain",
    "span_corruption",
    "train_vocabulary",
]

_HOME = {
    "BackboneShape": "backbone",
    "build_backbone": "backbone",
    "Pretrainer": "pretrainer",
    "PretrainingRun": "pretrainer",
    "adapt": "training_directory",
    "pretrain": "training_directory",
}


__getattr__ = lazy_names(__name__, _HOME)
