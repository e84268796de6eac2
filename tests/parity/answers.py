"""What softprompt-tf makes of the small T5s of `t5_models.py`, in the form in which `record.py` keeps transformers' answers."""

import numpy as np
import t5_models
from keras import ops

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, encode_embeddings, tune
from softprompt_tf.inference.decoding import Greedy, decode
from softprompt_tf.methods import adapters, injection_of, mpt, p_tuning, prepend
from softprompt_tf.model.prompted_inputs import embeddings_of, logits_of


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


def logits_under_tensors(t5, case, tensors):
    """Return logits [3, 9, V] with one task's tensors, but no prompt, in every row."""
    return _answers(t5, case, tensors)[0]()


def answers_under_tensors(t5, case, tensors):
    """Return logits [3, 9, V] and 16 greedy tokens [3, 16] with one task's tensors, but no prompt, in every row."""
    return tuple(part() for part in _answers(t5, case, tensors))


def _answers(t5, case, tensors):
    ids, mask, targets = t5_models.inputs(case)
    mask = mask.astype("int32")
    injection = injection_of({name: np.repeat(value[None], len(ids), axis=0) for name, value in tensors.items()})
    embeddings = embeddings_of(t5, ids.astype("int32"), injection)

    def logits():
        states = tune(t5, embeddings, mask, targets.astype("int32"), injection).decoder
        return ops.convert_to_numpy(logits_of(t5, states, injection))

    def tokens():
        encoded = Encoded(encode_embeddings(t5, embeddings, mask, injection), mask, injection)
        return ops.convert_to_numpy(decode(Greedy(), t5, encoded, t5_models.NUM_GENERATED)[0])

    return logits, tokens


def made_prompts(kind):
    """Return the prompts [3, P, H] that this library makes of `t5_models.made_prompt`, one for each input."""
    sizes = BackboneSizes(t5_models.CASES[t5_models.MADE_CASE]["d_model"], 1, 1, 1, 1)  # the others say nothing here
    if kind == "mpt":
        method = mpt(t5_models.PROMPT_LENGTH, rank=t5_models.MADE_RANK, task_ids=["a", "b"])
    else:
        network = kind.removeprefix("p_tuning_")
        method = p_tuning(t5_models.PROMPT_LENGTH, network=network, network_dim=t5_models.MADE_DIM)
    values = {name: ops.convert_to_tensor(value) for name, value in t5_models.made_prompt(kind).items()}
    prompts = ops.convert_to_numpy(method.fold(values, sizes)["prompt"])
    return prompts[list(t5_models.MADE_TASKS)] if kind == "mpt" else np.repeat(prompts[None], 3, axis=0)


def logits_under_bottlenecks(t5, name):
    """Return logits [3, 9, V] under the adapters of `t5_models.bottlenecks`."""
    case, after_attention = t5_models.BOTTLENECKS[name]
    invertible = name in t5_models.WITH_INVERTIBLE
    method = adapters(t5_models.BOTTLENECK_DIM, after_attention=after_attention, invertible=invertible)
    values = {name: ops.convert_to_tensor(value) for name, value in t5_models.bottlenecks(name).items()}
    assert {name: tuple(value.shape) for name, value in values.items()} == method.shapes(t5.sizes)
    folded = {name: ops.convert_to_numpy(value) for name, value in method.fold(values, t5.sizes).items()}
    return logits_under_tensors(t5, case, folded)


def logits_under_prompts(t5, case, prompts):
    """Return logits [3, 9, V] with a prompt [P, H] of its own in front of each input."""
    ids, mask, targets = t5_models.inputs(case)
    embeddings, padding_mask = prepend(prompts, t5.embed(ids.astype("int32")), mask.astype("int32"))
    states = t5.decode(targets.astype("int32"), t5.encode(embeddings, padding_mask), padding_mask)
    return ops.convert_to_numpy(t5.logits(states))


def until_end(tokens):
    """Cut tokens [16] behind the first end of sequence: what a library writes there is its own affair."""
    ends = np.flatnonzero(tokens == 1)
    return tokens[: ends[0] + 1].tolist() if len(ends) else tokens.tolist()


def watched_mask():
    """Return [3, W]: which watched positions hold a real token. What stands at padding means nothing."""
    return t5_models.watched_positions()[None, :] < np.array(t5_models.LENGTHS)[:, None]
