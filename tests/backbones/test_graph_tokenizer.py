"""The tokenizer in a graph outlives what TensorFlow throws away, and travels in a SavedModel."""

import keras
import pytest
import tensorflow as tf
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones.tokenization.graph_tokenizer import make_graph_tokenizer

TEXTS = ["the river", ""]


class Tokenizing(tf.Module):
    def __init__(self):
        super().__init__()
        self.tokenizer = make_graph_tokenizer(tiny_vocabulary())

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "text")])
    def tokenize(self, text):
        return {"ids": self.tokenizer.tokenize(text).to_tensor()}


@pytest.mark.parametrize(
    "forget",
    [lambda: keras.utils.set_random_seed(1), lambda: tf.random.set_seed(1), keras.utils.clear_session],
    ids=["set_random_seed", "set_seed", "clear_session"],
)
def test_it_lives_on_after_tensorflow_drops_its_kernels(tiny_t5, forget):
    module = Tokenizing()
    before = module.tokenize(tf.constant(TEXTS))["ids"].numpy()
    dataset = tf.data.Dataset.from_tensors(TEXTS).map(module.tokenizer.tokenize)

    forget()

    assert before.tolist() == [tiny_t5.tokenize(TEXTS)[0], [0] * before.shape[1]]
    assert module.tokenize(tf.constant(TEXTS))["ids"].numpy().tolist() == before.tolist()
    assert next(iter(dataset)).to_tensor().numpy().tolist() == before.tolist()
    assert module.tokenizer.tokenize(TEXTS).to_tensor().numpy().tolist() == before.tolist()


def test_it_travels_in_a_saved_model(tiny_t5, tmp_path):
    module = Tokenizing()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.tokenize})
    expected = tiny_t5.tokenize(TEXTS[:1])

    loaded = tf.saved_model.load(str(tmp_path))

    assert loaded.tokenize(tf.constant(TEXTS[:1]))["ids"].numpy().tolist() == expected
    for _ in range(2):  # as a model server does, which may hold two versions at once
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            signature = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path)).signature_def[
                "serving_default"
            ]
            ids = session.run(signature.outputs["ids"].name, {signature.inputs["text"].name: TEXTS[:1]})
            assert ids.tolist() == expected
