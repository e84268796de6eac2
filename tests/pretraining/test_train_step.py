"""One step: the mean over real targets, and the same step on two replicas as on one device."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import pad_batch
from softprompt_tf.pretraining.train_step import TrainStep

pytestmark = pytest.mark.thorough

SHAPE = BackboneShape(vocabulary_size=40, hidden_dim=8, intermediate_dim=12, num_layers=1, num_heads=2, key_value_dim=4)


def test_one_step_of_gradient_descent_goes_down_the_gradient_of_the_mean_loss():
    backbone = build_backbone(SHAPE, dtype="float32", seed=1)
    head = backbone.token_embedding.reverse_embeddings
    step = TrainStep(backbone, keras.optimizers.SGD(1.0), precision="float32", strategy=tf.distribute.get_strategy())
    batch = pad_batch([[5, 6, 7], [8]], [[9], [10, 11, 12]])
    inputs = {name: array for name, array in batch.items() if name != "targets"}
    outputs = backbone({**inputs, "decoder_padding_mask": np.ones_like(batch["targets"])})
    states = keras.ops.convert_to_numpy(outputs["decoder_sequence_output"])[batch["targets"] != 0].astype("float64")
    kernel = keras.ops.convert_to_numpy(head).astype("float64")
    probabilities = np.exp(states @ kernel)
    probabilities /= probabilities.sum(-1, keepdims=True)
    wanted = np.eye(40)[batch["targets"][batch["targets"] != 0]]

    loss = step(batch, 0.5)

    assert loss == pytest.approx(-np.log((probabilities * wanted).sum(-1)).mean(), rel=1e-5)
    gradient = states.T @ (probabilities - wanted) / 6  # 6 real targets, ends included
    np.testing.assert_allclose(keras.ops.convert_to_numpy(head), kernel - 0.5 * gradient, rtol=0, atol=1e-5)


def test_two_replicas_with_uneven_rows_equal_one_device(forked):
    script = pathlib.Path(__file__).with_name("two_replicas.py")

    done = forked.run(script)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["replicas"] == 2
    assert report["moved"] > 0.01
    assert report["losses_differ"] < 1e-5
    assert report["weights_differ"] < 1e-4
    assert report["copies_differ"] == 0
