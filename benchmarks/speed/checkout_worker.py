"""One case in one checkout: prepared once, then run at every line that comes in, and its seconds written back.

It uses public names alone, so that it runs in older checkouts too; see `two_checkouts`.
"""

import sys
import time
from collections.abc import Callable

import keras
import keras_hub
import numpy as np
import tensorflow as tf

import softprompt_tf as sp

ROWS, SOURCE, TARGET = 16, 128, 8
SIZES = {"num_layers": 8, "num_heads": 6, "hidden_dim": 512, "intermediate_dim": 1024, "key_value_dim": 64}
TEXTS = [" ".join(["word"] * 60)] * ROWS


def main(case: str, length: int) -> None:
    """Prepare a case, say so, and run it for every line of the input."""
    run = CASES[case](length)
    run()
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


def t5_small() -> sp.FrozenT5:
    """Return a T5 1.1 Small with drawn weights and the vocabulary of `mini`."""
    backbone = keras_hub.models.T5Backbone(
        vocabulary_size=32_128,
        dropout=0.0,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=False,
        **SIZES,
    )
    rng = np.random.default_rng(0)
    for weight in backbone.weights:
        is_norm = "norm" in weight.path
        weight.assign(
            np.ones(weight.shape) if is_norm else rng.normal(size=weight.shape) * 0.5 * weight.shape[0] ** -0.5
        )
    tokenizer = keras_hub.models.T5Tokenizer(proto=sp.load_t5("mini").tokenizer.proto)
    return sp.FrozenT5(backbone, tokenizer, name="small")


def prompted(length: int) -> sp.PromptedT5:
    """Return the model with a prompt of this length."""
    return sp.PromptedT5(t5_small(), sp.prompt_tuning(length, seed=1), labels=["yes", "no", "maybe"])


def training_step(length: int, *, gradient_checkpointing: bool = False) -> Callable[[], object]:
    """Return one step of Adafactor on 16 rows of 128 tokens with 8 target tokens."""
    model, rng = prompted(length), np.random.default_rng(1)
    ids, targets = (rng.integers(3, 8000, (ROWS, size)).astype("int32") for size in (SOURCE, TARGET))
    tokens = {"encoder_token_ids": ids, "decoder_token_ids": np.pad(targets[:, :-1], ((0, 0), (1, 0)))}
    tokens |= {"encoder_padding_mask": np.ones_like(ids), "decoder_padding_mask": np.ones_like(targets)}
    loss = sp.TargetCrossEntropy(z_loss=1e-4)
    model.compile(optimizer=sp.Adafactor(0.3), loss=loss, gradient_checkpointing=gradient_checkpointing)
    return lambda: model.train_on_batch(tokens, targets)


def generation(length: int, *, max_tokens: int) -> Callable[[], object]:
    """Return the answers of 16 texts."""
    model = prompted(length)
    return lambda: model.generate(TEXTS, max_tokens=max_tokens)


def classification(length: int) -> Callable[[], object]:
    """Return the labels of 16 texts."""
    model = prompted(length)
    return lambda: model.classify(TEXTS)


def step_behind(length: int) -> Callable[[], object]:
    """Return one step of `mini` with rows behind the encoder, on cached states of 32 short texts with 2 target tokens."""
    model = sp.PromptedT5(sp.load_t5("mini"), sp.late_prompts(length, seed=1))
    rng = np.random.default_rng(1)
    ids, targets = (rng.integers(3, 8000, (32, size)).astype("int32") for size in (14, 2))
    tokens = {"encoder_token_ids": ids, "decoder_token_ids": np.pad(targets[:, :-1], ((0, 0), (1, 0)))}
    tokens |= {"encoder_padding_mask": np.ones_like(ids), "decoder_padding_mask": np.ones_like(targets)}
    tokens["encoder_states"] = rng.normal(size=(*ids.shape, 256)).astype("float32")
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(z_loss=1e-4))
    model.make_train_function()  # `train_on_batch` would take the token ids, and encode them
    batches = iter(tf.data.Dataset.from_tensors((tokens, targets)).repeat())
    return lambda: float(model.train_function(batches)["loss"])


def one_text(length: int, *, method: str = "classify") -> Callable[[], object]:
    """Return the answer of `mini` to one text."""
    model = sp.PromptedT5(sp.load_t5("mini"), sp.prompt_tuning(length, seed=1), labels=["yes", "no", "maybe"])
    return lambda: getattr(model, method)(["a short and friendly text"])


def first_use(length: int, *, is_fit: bool) -> Callable[[], object]:
    """Return a first `fit`, or a first `classify`, of a new model of `mini` on 32 texts: its graph is traced each time."""
    t5 = sp.load_t5("mini")
    texts, labels = ["a charming film about a dog"] * 32, ["positive", "negative"] * 16

    def run() -> object:
        model = sp.PromptedT5(t5, sp.prompt_tuning(length, seed=1), labels=["negative", "positive"])
        if not is_fit:
            return model.classify(texts)
        model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy())
        return model.fit(texts, labels, verbose=0)

    return run


CASES: dict[str, Callable[[int], Callable[[], object]]] = {
    "train": training_step,
    "train_checkpointed": lambda length: training_step(length, gradient_checkpointing=True),
    "generate_8": lambda length: generation(length, max_tokens=8),
    "generate_32": lambda length: generation(length, max_tokens=32),
    "classify": classification,
    "step_behind": step_behind,
    "classify_one": one_text,
    "generate_one": lambda length: one_text(length, method="generate"),
    "first_fit": lambda length: first_use(length, is_fit=True),
    "first_labels": lambda length: first_use(length, is_fit=False),
}

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
