"""Prompts in plain NumPy, as the papers' formulas have them: one task's values in, its rows [P, H] out."""

import numpy as np


def dense(values, name, rows):
    return rows @ values[f"{name}.kernel"] + values[f"{name}.bias"]


def residual(values):
    made = dense(values, "up", np.maximum(dense(values, "down", values["rows"]), 0))
    mean, variance = made.mean(axis=1, keepdims=True), made.var(axis=1, keepdims=True)
    normed = (made - mean) / np.sqrt(variance + 1e-5)
    return values["rows"] + normed * values["norm.scale"] + values["norm.shift"]


def superpos(values):
    rows = []
    for p, weights in enumerate(values["weights"]):
        changes = values["embedding_changes"][p] if "embedding_changes" in values else 0.0
        rows.append(sum(weight * row for weight, row in zip(weights, values["embeddings"] + changes, strict=True)))
    return np.stack(rows)


def low_rank(values):
    return np.einsum("pr,rh->ph", values["left"], values["right"])


def ulpt(values):
    projected = np.einsum("pr,rh->ph", values["low_rows"], values["projection"])
    return projected * values["scale"] + values["shift"]


def attempt(values):
    exponentials = np.exp(values["attention"])
    *of_sources, of_rows = exponentials / exponentials.sum()
    return values["rows"] * (1 + of_rows) + np.einsum("s,sph->ph", of_sources, values["source_prompts"])


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def lstm(values, name, rows):
    """Read the rows from the first one on."""
    size = len(values[f"{name}.recurrent_kernel"])
    state, carry, states = np.zeros(size), np.zeros(size), []
    for row in rows:
        gates = row @ values[f"{name}.kernel"] + state @ values[f"{name}.recurrent_kernel"] + values[f"{name}.bias"]
        enter, forget, new, leave = (gates[k * size : (k + 1) * size] for k in range(4))
        carry = sigmoid(forget) * carry + sigmoid(enter) * np.tanh(new)
        state = sigmoid(leave) * np.tanh(carry)
        states.append(state)
    return np.stack(states)


def p_tuning_lstm(values):
    rows = values["rows"]
    for layer in range(2):
        forward = lstm(values, f"lstm_{layer}.forward", rows)
        backward = lstm(values, f"lstm_{layer}.backward", rows[::-1])[::-1]
        rows = np.concatenate([forward, backward], axis=1)
    return dense(values, "output", np.maximum(dense(values, "hidden", rows), 0))


def p_tuning_mlp(values):
    rows = np.maximum(dense(values, "first", values["rows"]), 0)
    return dense(values, "output", np.maximum(dense(values, "hidden", rows), 0))


def added(values):
    return values["shared_rows"] + values["task_rows"]


def concatenated(values):
    return np.concatenate([values["shared_rows"], values["task_rows"]])


def with_concatenated_features(values):
    return np.concatenate([values["shared_rows"], values["task_rows"]], axis=1)


def projected(values):
    return dense(values, "task", values["shared_rows"])


def mpt(values):
    return values["shared_rows"] * (values["task_left"] @ values["task_right"])
