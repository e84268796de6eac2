"""What several models in one process say, and do not say."""

import tensorflow as tf
from tiny_t5 import make_tiny_t5

from softprompt_tf.inference.answering import answerer_without_prompt


def test_many_models_are_asked_without_a_warning_of_retracing(caplog):
    t5 = make_tiny_t5(num_layers=1)
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for _ in range(6):  # TensorFlow warns from the fifth on
            answerer_without_prompt(t5, max_target_tokens=1).score(["a film", "a longer text"], ["yes", "no"])
    finally:
        logger.removeHandler(caplog.handler)

    assert [record.getMessage() for record in caplog.records if "retracing" in record.getMessage()] == []
