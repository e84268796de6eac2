"""A network of one hidden layer that maps the embeddings of one backbone to those of another, in NumPy."""

from collections.abc import Callable, Iterator

import numpy as np

WIDTH = 4  # of the hidden layer, in widths of the target
BATCH_SIZE = 50
EPOCHS = 25
LEARNING_RATE = 3e-4
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

Parameters = list[np.ndarray]


def fitted_network(
    inputs: np.ndarray, targets: np.ndarray, *, seed: int, epochs: int = EPOCHS, learning_rate: float = LEARNING_RATE
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the network, fitted with Adam to the mean squared error.

    Args:
      inputs: [C, H].
      targets: [C, H'].
      seed: of the first values and of the order of the rows.

    Source: google-research/prompt-tuning, `prompt_tuning/recycling/recycle.py`: width, batch size, epochs and rate.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    inputs, targets = inputs.astype(np.float32), targets.astype(np.float32)  # in half the time of float64
    parameters = [value.astype(np.float32) for value in first_values(generator, inputs.shape[1], targets.shape[1])]
    means, squares = ([np.zeros_like(value) for value in parameters] for _ in range(2))
    for step, rows in enumerate(_batches(generator, len(inputs), epochs), start=1):
        _, gradients = loss_and_gradients(parameters, inputs[rows], targets[rows])
        for value, mean, square, gradient in zip(parameters, means, squares, gradients, strict=True):
            mean += (1 - _BETA_1) * (gradient - mean)
            square += (1 - _BETA_2) * (gradient**2 - square)
            root = np.sqrt(square / (1 - _BETA_2**step)) + _EPSILON
            value -= np.float32(learning_rate / (1 - _BETA_1**step)) * mean / root
    return lambda rows: _output(parameters, rows)[1]


def first_values(generator: np.random.Generator, width: int, target_width: int) -> Parameters:
    """Return kernels [H, 4 H'] and [4 H', H'] of variance 1 / inputs, each followed by its bias of zeros."""
    hidden = WIDTH * target_width
    kernels = [
        generator.normal(0, rows**-0.5, (rows, columns)) for rows, columns in ((width, hidden), (hidden, target_width))
    ]
    return [kernels[0], np.zeros(hidden), kernels[1], np.zeros(target_width)]


def loss_and_gradients(parameters: Parameters, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, Parameters]:
    """Return half the mean squared error, and its gradients."""
    hidden, output = _output(parameters, inputs)
    error = output - targets  # [B, H']
    upstream = error / error.size
    back = upstream @ parameters[2].T * (hidden > 0)
    gradients = [inputs.T @ back, back.sum(axis=0), hidden.T @ upstream, upstream.sum(axis=0)]
    return 0.5 * float(np.mean(error**2)), gradients


def _output(parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.maximum(inputs @ parameters[0] + parameters[1], 0)
    return hidden, hidden @ parameters[2] + parameters[3]


def _batches(generator: np.random.Generator, count: int, epochs: int) -> Iterator[np.ndarray]:
    for _ in range(epochs):
        order = generator.permutation(count)
        yield from (order[start : start + BATCH_SIZE] for start in range(0, count, BATCH_SIZE))
