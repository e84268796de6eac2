"""Rows of states in the host's memory that are put there one by one, and read where a batch is made."""

import numpy as np

from softprompt_tf.states.encoding import array_dtype


class HostRows:
    """N rows of states, one behind the other; the memory of a row is taken when it is put there.

    They are read as float32 where they are kept in float16: a row that float16 cannot hold is kept in float32 then.

    Args:
      lengths: int64 [N].
      hidden_dim: H.
      dtype: what rows are kept in, "float16", "bfloat16" or "float32".

    Attributes:
      is_there: bool [N], whether a row was put.
      read_as: the name of the dtype that rows are read as.
      dtype: its NumPy dtype; bits of bfloat16 are uint16.
      shape: [sum of the lengths, H].
    """

    def __init__(self, lengths: np.ndarray, hidden_dim: int, dtype: str):
        self.lengths = lengths
        self._starts = np.cumsum(lengths) - lengths
        self._values = np.empty((int(lengths.sum()), hidden_dim), array_dtype(dtype))
        self._wide: dict[int, np.ndarray] = {}  # by number
        self.is_there = np.zeros(len(lengths), bool)
        self.read_as = "float32" if dtype == "float16" else dtype
        self.dtype = array_dtype(self.read_as)
        self.shape = self._values.shape

    def put(self, number: int, states: np.ndarray) -> None:
        """Keep a row [T, H], in the dtype of the rows, or float32 where that is too narrow."""
        if states.dtype == self._values.dtype:
            start = self._starts[number]
            self._values[start : start + len(states)] = states
        else:
            self._wide[int(number)] = states
        self.is_there[number] = True

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Read values [B, T, H] at places int64 [B, T]; each of the B begins where a row starts.

        Raises:
          RuntimeError: if a row was not put.
        """
        numbers = np.searchsorted(self._starts, places[:, 0])
        if not self.is_there[numbers].all():
            raise RuntimeError("A batch reads states that were not computed. Take them by `TextStates.windows`.")
        values = self._values[places].astype(self.dtype, copy=False)
        for place in np.flatnonzero(np.isin(numbers, list(self._wide))) if self._wide else ():
            number = int(numbers[place])
            values[place] = self._wide[number][places[place] - self._starts[number]]
        return values
