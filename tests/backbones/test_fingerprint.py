"""Fingerprints: the same for one checkpoint in every dtype, another one as soon as any weight is another."""

import keras_hub
import numpy as np
import pytest
from keras import ops
from sentencepiece import sentencepiece_model_pb2
from tiny_t5 import make_tiny_t5, tiny_vocabulary

from softprompt_tf.backbones.fingerprint import tokenizer_fingerprint, weights_fingerprint


@pytest.fixture(scope="module")
def own_t5():
    return make_tiny_t5(num_layers=1)


def test_float32_and_bfloat16_have_one_fingerprint(tiny_t5, tiny_t5_bfloat16):
    assert tiny_t5_bfloat16.fingerprint == tiny_t5.fingerprint


def test_it_is_t5_and_sixteen_hexadecimal_digits(own_t5):
    kind, _, digits = own_t5.fingerprint.partition(":")

    assert kind == "t5"
    assert len(digits) == 16
    assert int(digits, 16) >= 0


def test_another_seed_another_depth_or_a_tied_head_differs(own_t5, tiny_t5):
    others = [make_tiny_t5(num_layers=1, seed=5), tiny_t5, make_tiny_t5(num_layers=1, tie=True)]

    assert len({own_t5.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_any_weight_that_moves_changes_it(own_t5):
    before = weights_fingerprint(own_t5.backbone)
    seen = {before}

    for variable in own_t5.backbone.weights:
        old = variable.numpy()
        variable.assign(old * 1.01)
        seen.add(weights_fingerprint(own_t5.backbone))
        variable.assign(old)

    assert len(seen) == 1 + len(own_t5.backbone.weights)
    assert weights_fingerprint(own_t5.backbone) == before


def test_the_first_and_the_last_value_of_a_weight_are_looked_at(own_t5):
    table = own_t5.backbone.token_embedding.embeddings
    old, seen = table.numpy(), set()

    for place in [(0, 0), (-1, -1)]:
        changed = old.copy()
        changed[place] += 1.0
        table.assign(changed)
        seen.add(weights_fingerprint(own_t5.backbone))
    table.assign(old)

    assert len({weights_fingerprint(own_t5.backbone), *seen}) == 3


def test_no_weight_is_read_as_a_whole(own_t5, monkeypatch):
    sizes = []
    convert = ops.convert_to_numpy
    monkeypatch.setattr(
        ops, "convert_to_numpy", lambda value: sizes.append(int(np.prod(value.shape))) or convert(value)
    )

    weights_fingerprint(own_t5.backbone)

    assert max(int(np.prod(variable.shape)) for variable in own_t5.backbone.weights) == 128 * 16
    assert max(sizes) == 256


def test_one_vocabulary_has_one_fingerprint(tiny_t5):
    again = tokenizer_fingerprint(keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()))

    assert tiny_t5.tokenizer_fingerprint == again
    assert again.startswith("spm:")


def test_another_vocabulary_differs(tiny_t5):
    swapped = _with_two_pieces_swapped(tiny_vocabulary())

    assert tokenizer_fingerprint(keras_hub.models.T5Tokenizer(proto=swapped)) != tiny_t5.tokenizer_fingerprint


def _with_two_pieces_swapped(proto):
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    model.pieces[10].piece, model.pieces[11].piece = model.pieces[11].piece, model.pieces[10].piece
    return model.SerializeToString()
