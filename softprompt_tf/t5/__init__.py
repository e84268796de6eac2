"""The frozen T5: loading, embed / encode / decode / logits, its cached decoder and its fingerprint. Knows nothing of prompts."""

from softprompt_tf.t5.bundled import bundled_backbones
from softprompt_tf.t5.frozen_t5 import EOS_ID, PAD_ID, START_ID, UNK_ID, FrozenT5
from softprompt_tf.t5.load import load_t5
from softprompt_tf.t5.preset import write_preset

__all__ = ["EOS_ID", "PAD_ID", "START_ID", "UNK_ID", "FrozenT5", "bundled_backbones", "load_t5", "write_preset"]
