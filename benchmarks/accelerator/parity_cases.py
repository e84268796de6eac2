"""What the recorded values are of: a model with a drawn prompt, and the token ids that it gets."""

import numpy as np

import softprompt_tf as sp
from benchmarks.accelerator.case_names import MODELS
from benchmarks.accelerator.places import model_directory
from benchmarks.speed import inputs
from benchmarks.speed.protocol import VOCABULARY

ROWS, SOURCE, TARGET, LABELS, LABEL_TOKENS = 4, 32, 8, 3, 4
PROMPT, GENERATED = 20, 16


def load(name: str, dtype: str) -> sp.PromptedT5:
    """Return a model of `MODELS` with a drawn prompt; its weights must have been written."""
    shape = MODELS[name].shape
    if shape is None:
        t5 = sp.load_t5("mini", dtype=dtype)
    else:
        t5 = sp.load_t5(model_directory(shape), vocabulary=VOCABULARY, dtype=dtype)
    prompt = inputs.prompt(PROMPT, t5.hidden_dim)
    return sp.PromptedT5(t5, sp.prompt_tuning(PROMPT, sp.init.from_array(prompt)))


def batch() -> dict[str, np.ndarray]:
    """Return the same ids for every model: inputs and targets with padding, and labels of each row."""
    generator = np.random.default_rng(5)
    source = generator.integers(3, 8000, (ROWS, SOURCE)).astype(np.int32)
    targets = generator.integers(3, 8000, (ROWS, TARGET)).astype(np.int32)
    source_lengths, target_lengths = np.array([SOURCE, 20, 9, 1]), np.array([TARGET, 5, 3, 1])
    padding_mask = (np.arange(SOURCE) < source_lengths[:, None]).astype(np.int32)
    target_mask = (np.arange(TARGET) < target_lengths[:, None]).astype(np.int32)
    targets[np.arange(ROWS), target_lengths - 1] = 1  # the end of sequence
    targets *= target_mask
    labels = generator.integers(3, 8000, (ROWS, LABELS, LABEL_TOKENS)).astype(np.int32)
    labels[..., -1] = 1
    labels[:, 0, 1:] = (1, 0, 0)  # a label of one piece
    return {
        "encoder_token_ids": source * padding_mask,
        "encoder_padding_mask": padding_mask,
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": target_mask,
        "targets": targets,
        "labels": labels,
    }
