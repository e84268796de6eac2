"""At the smallest size of T5 1.1, an export is at most 2 % larger than the weights and the prompts that it holds."""

import keras_hub
import numpy as np
import pytest
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.export import write_saved_model
from softprompt_tf.methods import TaskPrompt


@pytest.mark.slow
def test_an_export_of_t5_small_is_at_most_two_percent_larger_than_what_it_holds(tmp_path):
    backbone = keras_hub.models.T5Backbone(
        vocabulary_size=32128,
        num_layers=8,
        num_heads=6,
        hidden_dim=512,
        intermediate_dim=1024,
        key_value_dim=64,
        use_gated_activation=True,
        tie_embedding_weights=False,
    )
    t5 = FrozenT5(backbone, keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()), name="small shape")
    prompts = {
        f"task{k}": TaskPrompt(prompt=np.full((length, 512), 0.1, np.float32), labels=("yes", "no"))
        for k, length in enumerate((20, 100))
    }
    num_weights = 2 * 32128 * 512 + 8 * 512 * (4 * 384 + 3 * 1024) + 8 * 512 * (8 * 384 + 3 * 1024)

    version = write_saved_model(tmp_path / "small", t5, prompts, verify=False)

    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    held = 4 * (num_weights + (20 + 100) * 512)
    assert held < size < 1.02 * held
