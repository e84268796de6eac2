"""A network of one hidden layer that maps the embeddings of one backbone to those of another."""

import warnings
from collections.abc import Callable

import numpy as np

WIDTH = 4  # of the hidden layer, in widths of the target
BATCH_SIZE = 50
EPOCHS = 25
LEARNING_RATE = 3e-4
_INTERRUPTED = "Training interrupted by user"  # how scikit-learn's warning begins


def fitted_network(
    inputs: np.ndarray, targets: np.ndarray, *, seed: int, epochs: int = EPOCHS, learning_rate: float = LEARNING_RATE
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the network, fitted with Adam to the mean squared error.

    Args:
      inputs: [C, H].
      targets: [C, H'].
      seed: of the first values and of the order of the rows.

    Raises:
      KeyboardInterrupt: as it came. Scikit-learn takes it for the end of the training, and only warns.

    Source: google-research/prompt-tuning, `prompt_tuning/recycling/recycle.py`: width, batch size, epochs and rate.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    network = MLPRegressor(
        hidden_layer_sizes=(WIDTH * targets.shape[1],),
        alpha=0.0,
        batch_size=min(BATCH_SIZE, len(inputs)),
        learning_rate_init=learning_rate,
        max_iter=epochs,
        n_iter_no_change=epochs,  # it never stops early
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is given
        warnings.filterwarnings("error", _INTERRUPTED, UserWarning)
        try:
            network.fit(inputs.astype(np.float32), targets.astype(np.float32))  # in half the time of float64
        except UserWarning as warning:
            raise KeyboardInterrupt from warning
    return lambda rows: network.predict(rows.astype(np.float32)).reshape(-1, targets.shape[1])
