"""The cache of one T5's encoder states at one layer, computed once per text."""

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import whole_file
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.progress import Progress, say
from softprompt_tf.shown_numbers import bytes_text, counted
from softprompt_tf.states.encoding import DTYPES, StateEncoder, StatesOverflowError, array_dtype
from softprompt_tf.states.host_rows import HostRows
from softprompt_tf.states.ragged_rows import RaggedRows
from softprompt_tf.states.state_file import read_states, state_path, states_digest, write_header
from softprompt_tf.states.states_as_needed import StatesAsNeeded
from softprompt_tf.states.text_states import Ids, TextStates, key_of

MEMORY_LIMIT = 2**31  # bytes


class StateCache:
    """States of the encoder of one T5, at one place; several models, runs and tasks may share it.

    Args:
      t5: the frozen T5.
      layer: the encoder layer before which the states are; None: behind the encoder.
      dtype: what they are kept in: "float16", "bfloat16" or "float32".
      directory: where they are kept for later runs too. Default None: in memory alone.
      spill_directory: where states go that are larger than `memory_limit` and have no `directory`.
      memory_limit: bytes; larger states stay on the disk and are mapped into memory.

    Raises:
      ConfigError: for another dtype.
      TrainingError: if a directory is on another machine.
    """

    def __init__(
        self,
        t5: FrozenT5,
        layer: int | None,
        *,
        dtype: str = "float16",
        directory: str | Path | None = None,
        spill_directory: str | Path | None = None,
        memory_limit: int = MEMORY_LIMIT,
    ):
        if dtype not in DTYPES:
            raise ConfigError(f"States are kept in one of {', '.join(DTYPES)}. Received: {dtype!r}.")
        self.t5 = t5
        self.layer = layer
        self.dtype = dtype
        self._directory = _local(directory)
        self._spill_directory = _local(spill_directory)
        self._memory_limit = memory_limit
        self._kept: dict[tuple[str, str], TextStates] = {}
        self._encoders: dict[str, StateEncoder] = {}
        self._layers: tuple[str, ...] = ()  # that the states and the encoders are of

    def of(self, token_ids: Sequence[Ids]) -> TextStates | None:
        """Return the states of texts; None where they can be kept neither in memory nor on the disk, which is told.

        Args:
          token_ids: a text's ids as the model sees them, for each text. Equal ones are computed once.

        Warns:
          UserWarning: where the disk is full, float16 is too narrow, or the states cannot be kept.
        """
        keys, rows = _distinct(token_ids)
        self._forget_other_layers()
        digest = states_digest(self.t5, rows)
        if (digest, self.dtype) not in self._kept:
            values = self._values(rows, digest)
            if values is None:
                return None
            ragged = RaggedRows.of(values, _lengths(rows), self.dtype)
            self._kept[digest, self.dtype] = TextStates(ragged, _numbers(keys))
        return self._kept[digest, self.dtype]

    def as_needed(self, token_ids: Sequence[Ids]) -> TextStates | None:
        """Return the states of the texts of one run, which are computed when the run comes to them, as in `StateBatchStream`.

        States that are kept on the disk, or are there already, are those of `of`. One that float16 cannot hold is in float32.

        Args:
          token_ids: as in `of`.

        Warns:
          UserWarning: as in `of`.
        """
        keys, rows = _distinct(token_ids)
        digest, lengths = states_digest(self.t5, rows), _lengths(rows)
        is_large = self._num_bytes(rows) > self._memory_limit
        if is_large or self._path(digest, is_large=False) is not None or (digest, self.dtype) in self._kept:
            return self.of(token_ids)
        host = HostRows(lengths, self.t5.hidden_dim, self.dtype)
        ragged = RaggedRows.of(host, lengths, host.read_as)
        return StatesAsNeeded(ragged, _numbers(keys), rows, self._batch, host)

    def _batch(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Return the states of some texts, computed together, in `dtype`, or in float32 where that cannot hold them."""
        try:
            return self._encoder(self.dtype).batch(rows)
        except StatesOverflowError:
            return self._encoder("float32").batch(rows)

    def _encoder(self, dtype: str) -> StateEncoder:
        self._forget_other_layers()
        if dtype not in self._encoders:
            self._encoders[dtype] = StateEncoder(self.t5, self.layer, dtype)
        return self._encoders[dtype]

    def _forget_other_layers(self) -> None:
        """Forget states and graphs of layers that were changed since."""
        layers = self.t5.layer_state
        if layers != self._layers:
            self._kept.clear()
            self._encoders.clear()
            self._layers = layers

    def _num_bytes(self, rows: Sequence[np.ndarray]) -> int:
        return sum(map(len, rows)) * self.t5.hidden_dim * array_dtype(self.dtype).itemsize

    def _values(self, rows: Sequence[np.ndarray], digest: str) -> np.ndarray | None:
        """Return the states [sum of the lengths, H], read or computed, in what is `dtype` afterwards."""
        try:
            return self._read_or_computed(rows, digest)
        except StatesOverflowError as overflow:
            warnings.warn(
                f"States of {self.t5.name} reach {overflow}, and float16 ends at 65504: they are kept in bfloat16.",
                stacklevel=4,
            )
            self.dtype = "bfloat16"
            return self._read_or_computed(rows, digest)

    def _read_or_computed(self, rows: Sequence[np.ndarray], digest: str) -> np.ndarray | None:
        shape = (sum(map(len, rows)), self.t5.hidden_dim)
        num_bytes = self._num_bytes(rows)
        is_large = num_bytes > self._memory_limit
        path = self._path(digest, is_large=is_large)
        if path is not None and path.exists():
            states = read_states(path, shape, self.dtype, is_mapped=is_large)
            if states is not None:
                return states
            say(f"The cached states in {path} are damaged: they are computed again.")
        if not is_large:
            return self._into_memory(rows, shape, path)
        reason = "no directory was given for them"
        if path is not None:
            try:
                _write(path, shape, self.dtype, self._computed(rows))
                return read_states(path, shape, self.dtype, is_mapped=True)
            except OSError as error:
                reason = f"{path.parent} cannot hold them ({error})"
        warnings.warn(
            f"Training goes on without cached states: {bytes_text(num_bytes)} are more than the memory limit of "
            f"{bytes_text(self._memory_limit)}, and {reason}.",
            stacklevel=5,
        )
        return None

    def _into_memory(self, rows: Sequence[np.ndarray], shape: tuple[int, int], path: Path | None) -> np.ndarray:
        states = np.empty(shape, array_dtype(self.dtype))
        place = 0
        for part in self._computed(rows):
            states[place : place + len(part)] = part
            place += len(part)
        if path is not None:
            try:
                _write(path, shape, self.dtype, [states])
            except OSError as error:
                warnings.warn(
                    f"The cached states are kept in memory alone: {path.parent} cannot hold {bytes_text(states.nbytes)} ({error}).",
                    stacklevel=6,
                )
        return states

    def _computed(self, rows: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the states of some rows at a time, and show how far they are."""
        encoder = self._encoder(self.dtype)
        started, num_bytes = time.monotonic(), 0
        with Progress(len(rows), what="Encoding", unit="text") as progress:
            for count, states in encoder.batches(rows):
                num_bytes += states.nbytes
                progress.advance(count)
                yield states
        seconds = time.monotonic() - started
        if seconds > 1:
            say(f"Encoded {counted(len(rows), 'text')} ({bytes_text(num_bytes)}) in {seconds:.1f} s")

    def _path(self, digest: str, *, is_large: bool) -> Path | None:
        directory = self._directory or (self._spill_directory if is_large else None)
        # The name of a file knows nothing of what stands in a layer's place.
        if directory is None or self.t5.layer_state:
            return None
        is_spilled = self._directory is None
        return state_path(directory, self.t5, self.layer, self.dtype, digest, is_spilled=is_spilled)


def _write(path: Path, shape: tuple[int, int], dtype: str, parts: Iterable[np.ndarray]) -> None:
    with whole_file(path) as file:
        write_header(file, shape, dtype)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def _distinct(token_ids: Sequence[Ids]) -> tuple[list[bytes], list[np.ndarray]]:
    """Return what distinct texts are known by, and their ids, the shortest first."""
    distinct = {key_of(ids): np.asarray(ids, np.int32) for ids in token_ids}
    keys = sorted(distinct, key=lambda key: (len(key), key))
    return keys, [distinct[key] for key in keys]


def _numbers(keys: Sequence[bytes]) -> dict[bytes, int]:
    return {key: number for number, key in enumerate(keys)}


def _lengths(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(row) for row in rows], np.int64)


def _local(directory: str | Path | None) -> Path | None:
    return None if directory is None else local_target(directory, error_type=TrainingError)
