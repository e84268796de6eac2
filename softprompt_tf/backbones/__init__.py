"""The frozen T5: loading, embed / encode / decode / logits, its cached decoder and its fingerprint. Knows nothing of methods.

Names are loaded at first use: an export's vocabulary is read without Keras, which takes seconds to load.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.backbones.bundled import bundled_backbones as bundled_backbones
    from softprompt_tf.backbones.frozen_t5 import EOS_ID as EOS_ID
    from softprompt_tf.backbones.frozen_t5 import PAD_ID as PAD_ID
    from softprompt_tf.backbones.frozen_t5 import START_ID as START_ID
    from softprompt_tf.backbones.frozen_t5 import UNK_ID as UNK_ID
    from softprompt_tf.backbones.frozen_t5 import FrozenT5 as FrozenT5
    from softprompt_tf.backbones.loading.load import load_t5 as load_t5
    from softprompt_tf.backbones.loading.preset import write_preset as write_preset

__all__ = ["EOS_ID", "PAD_ID", "START_ID", "UNK_ID", "FrozenT5", "bundled_backbones", "load_t5", "write_preset"]

_HOME = {
    "EOS_ID": "frozen_t5",
    "FrozenT5": "frozen_t5",
    "PAD_ID": "frozen_t5",
    "START_ID": "frozen_t5",
    "UNK_ID": "frozen_t5",
    "bundled_backbones": "bundled",
    "load_t5": "loading.load",
    "write_preset": "loading.preset",
}


__getattr__ = lazy_names(__name__, _HOME)
