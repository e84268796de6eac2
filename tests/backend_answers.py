"""What a tiny T5 with a prompt answers on token arrays, under whichever Keras backend runs."""

import numpy as np

PROMPT_LENGTH = 3
ROWS, SOURCE, TARGETS, VOCABULARY = 4, 7, 5, 120


def token_batch():
    """Return a token dictionary and its targets: four rows of three lengths, drawn from a seed."""
    rng = np.random.default_rng(7)
    source = rng.integers(3, VOCABULARY, (ROWS, SOURCE)).astype("int32")
    targets = rng.integers(3, VOCABULARY, (ROWS, TARGETS)).astype("int32")
    for row, length in enumerate((7, 5, 4, 7)):
        source[row, length:] = 0
    targets[1, 3:] = 0
    tokens = {
        "encoder_token_ids": source,
        "encoder_padding_mask": (source != 0).astype("int32"),
        "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
        "decoder_padding_mask": (targets != 0).astype("int32"),
    }
    return tokens, targets


def answers(t5):
    """Return logits, greedy ids and label scores of a prompted T5, and what three steps of training make of it."""
    import keras

    import softprompt_tf as sp
    from softprompt_tf.backbones.passes.target_scores import score_targets
    from softprompt_tf.inference.decoding import decode
    from softprompt_tf.model.prompted_inputs import encode
    from softprompt_tf.training import Distillation

    prompt = np.random.default_rng(8).normal(size=(PROMPT_LENGTH, t5.hidden_dim)).astype("float32")
    model = sp.PromptedT5(t5, sp.prompt_tuning(PROMPT_LENGTH, sp.init.from_array(prompt)))
    tokens, targets = token_batch()
    encoded = encode(t5, model.prompt_table, {key: keras.ops.convert_to_tensor(value) for key, value in tokens.items()})
    ids, scores = decode(model.sampler, t5, encoded, 4)
    found = {
        "logits": model(tokens),
        "symbolic_logits": model.predict(tokens, verbose=0),
        "greedy_ids": ids,
        "greedy_scores": scores,
        "beam_ids": decode(sp.Beam(2), t5, encoded, 4)[0],
        "label_scores": score_targets(t5, keras.ops.convert_to_tensor(targets.reshape(ROWS, 1, TARGETS)), *encoded),
    }
    marked = sp.PromptedT5(t5, sp.prompt_tuning(PROMPT_LENGTH, sp.init.from_array(prompt), position="marked"))
    placed = np.array(tokens["encoder_token_ids"])
    placed[:, [0, 1, 3]] = -1  # the places of the prompt's rows
    found["placed_logits"] = marked({**tokens, "encoder_token_ids": placed})
    seen = sp.PromptedT5(t5, sp.prompt_tuning(PROMPT_LENGTH, sp.init.from_array(prompt), sees="earlier"))
    found["seen_logits"] = seen(tokens)
    adapters = sp.adapters(2, after_attention=False, decoder=False, invertible=True, seed=1)
    found["invertible_logits"] = with_drawn_values(sp.PromptedT5(t5, adapters))(tokens)
    before = [keras.ops.convert_to_numpy(weight) for weight in t5.backbone.weights]
    terms = [Distillation(seen.task_prompt("it"), hidden_weight=1.0)]
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(z_loss=1e-4), loss_terms=terms)
    history = model.fit(tokens, targets, epochs=3, batch_size=ROWS, shuffle=False, verbose=0).history
    found["losses"] = history["loss"]
    found["evaluated"] = model.evaluate(tokens, targets, batch_size=ROWS, verbose=0)
    found["prompt"] = model.prompt_value()
    moved = [
        np.abs(old - keras.ops.convert_to_numpy(new)).max()
        for old, new in zip(before, t5.backbone.weights, strict=True)
    ]
    found["moved_weights"] = max(moved)
    found["prodigy"] = after_prodigy()
    return {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}


def after_prodigy():
    """Return what five steps of Prodigy make of a vector that is pulled to ones."""
    import keras

    from softprompt_tf.training import Prodigy

    variable = keras.Variable(np.array([0.5, -1.0, 2.0], "float32"))
    optimizer = Prodigy(d0=1e-2, use_bias_correction=True)
    for _ in range(5):
        optimizer.apply([variable - 1.0], [variable])
    return variable


def with_drawn_values(model):
    """Return a model whose trained values change something, also where they start at 0."""
    rng = np.random.default_rng(9)
    for variable in model.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape).astype("float32"))
    return model


def refusals(t5):
    """Return what JAX says to texts: to `fit`, to `generate` and to a data pipeline."""
    import softprompt_tf as sp

    model = sp.PromptedT5(t5)
    tries = {
        "fit": lambda: model.fit({"encoder_text": ["a film"], "decoder_text": ["good"]}),
        "fit_list": lambda: model.fit(["a film"], ["good"]),
        "generate": lambda: model.generate(["a film"]),
        "classify": lambda: model.classify(["a film"], labels=["good", "bad"]),
    }
    return {name: _message(run) for name, run in tries.items()}


def _message(run):
    try:
        run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def write_answers(path):
    """Write what a new tiny T5 answers, and its refusals."""
    from tiny_t5 import make_tiny_t5

    t5 = make_tiny_t5()
    np.savez(path, **answers(t5), **{f"refused_{name}": text for name, text in refusals(t5).items()})
