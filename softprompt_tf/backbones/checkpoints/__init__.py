"""Read T5 checkpoints of other tools; the format is recognised by the content.

Known are Hugging Face directories, Mesh TensorFlow's `model.ckpt-*` and T5X's zarr checkpoints. Nothing is read before it
is needed, and each weight is read on its own, so that a big model never stands in memory twice.
"""

from softprompt_tf.backbones.checkpoints.architecture import T5Architecture
from softprompt_tf.backbones.checkpoints.assemble import assemble_backbone
from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint, StoredTensor
from softprompt_tf.backbones.checkpoints.recognize import is_preset_directory, open_checkpoint
from softprompt_tf.backbones.checkpoints.vocabulary import find_vocabulary

__all__ = [
    "Checkpoint",
    "StoredTensor",
    "T5Architecture",
    "assemble_backbone",
    "find_vocabulary",
    "is_preset_directory",
    "open_checkpoint",
]
