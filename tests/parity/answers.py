"""What softprompt-tf makes of the small T5s of `t5_models.py`, in the form in which `record.py` keeps transformers' answers."""

import numpy as np
import t5_models
from keras import ops

from softprompt_tf.decoding import Greedy
from softprompt_tf.injection import Injection, KeyValues
from softprompt_tf.prompts import prepend
from softprompt_tf.t5.cheaper_passes import tune


def answers(t5, case, prompt=None):
    """Return encoder output [3, W, H] at the watched positions, logits [3, 9, V] and 16 greedy tokens [3, 16]."""
    ids, mask, targets = t5_models.inputs(case)
    embeddings, padding_mask = t5.embed(ids.astype("int32")), mask.astype("int32")
    watched = t5_models.watched_positions()
    if prompt is not None:
        prompts = np.repeat(prompt[None], len(ids), axis=0)
        embeddings, padding_mask = prepend(prompts, embeddings, padding_mask)
        watched = watched + len(prompt)
    encoder_output = t5.encode(embeddings, padding_mask)
    logits = t5.logits(t5.decode(targets.astype("int32"), encoder_output, padding_mask))
    tokens, _ = Greedy()(t5, encoder_output, padding_mask, t5_models.NUM_GENERATED)
    return (
        ops.convert_to_numpy(encoder_output)[:, watched],
        ops.convert_to_numpy(logits),
        ops.convert_to_numpy(tokens),
    )


def prefix_answers(t5, case, key_values):
    """Return logits [3, 9, V] and 16 greedy tokens [3, 16] with keys and values [P, L, 2, N, D] in the decoder itself."""
    ids, mask, targets = (array.astype("int32") for array in t5_models.inputs(case))
    rows = ops.convert_to_tensor(np.repeat(key_values[None], len(ids), axis=0))
    injection, embeddings = Injection(decoder=KeyValues(rows)), t5.embed(ids)
    states = tune(t5, embeddings, mask, targets, injection)
    tokens, _ = Greedy()(t5, t5.encode(embeddings, mask), mask, t5_models.NUM_GENERATED, injection=injection)
    return ops.convert_to_numpy(t5.logits(states)), ops.convert_to_numpy(tokens)


def until_end(tokens):
    """Cut tokens [16] behind the first end of sequence: what a library writes there is its own affair."""
    ends = np.flatnonzero(tokens == 1)
    return tokens[: ends[0] + 1].tolist() if len(ends) else tokens.tolist()


def watched_mask():
    """Return [3, W]: which watched positions hold a real token. What stands at padding means nothing."""
    return t5_models.watched_positions()[None, :] < np.array(t5_models.LENGTHS)[:, None]
