"""Choose float32 or bfloat16 for a frozen T5: bfloat16 where it is faster on this machine and agrees with float32.

`precision_measurement` measures both. What was chosen is kept in precision.json, so that what goes on keeps it, also on another
machine.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.config import RunConfig, TrainingConfig, load_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.progress import say

AUTO = "auto"
PRECISIONS = ("float32", "bfloat16")
CHOICE_FILE = "precision.json"
LARGEST_LOSS_DIFFERENCE = 0.02  # of the float32 loss
LEAST_COSINE = 0.98  # of both vectors
LEAST_GAIN = 0.95  # bfloat16 has to take less than this share of float32's time

_SETTINGS = "settings"
_CPU_FLAGS = ("amx_bf16", "avx512_bf16")
_FIRST_GPU_WITH_BFLOAT16 = (8, 0)  # compute capability


@dataclass(frozen=True)
class Measured:
    """What a precision did on the same few batches.

    Args:
      seconds: of all of them; processor time where there is no GPU.
      losses: of each batch.
      vectors: of each batch, what has to point the same way in both precisions: the gradients of all that is trained, as one
        vector, or the probabilities of answers.
      vectors_are: what they are, for people.
    """

    seconds: float
    losses: tuple[float, ...]
    vectors: tuple[np.ndarray, ...]
    vectors_are: str = "gradients"


@dataclass(frozen=True)
class Choice:
    """A precision, "float32" or "bfloat16", and why."""

    precision: str
    reason: str

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"a precision must be one of {', '.join(PRECISIONS)}, and not {self.precision!r}")


def choose(measured: Callable[[], Sequence[Measured]], *, what: str = "precision") -> Choice:
    """Measure both precisions where bfloat16 may gain, choose one, and say it.

    Args:
      measured: measures float32 and bfloat16, in this order.
      what: is chosen, for people.
    """
    why_not = why_not_bfloat16()
    choice = Choice("float32", why_not) if why_not else decide(*measured())
    say(f"{what}: {choice.precision} ({choice.reason})")
    return choice


def kept_choice(path: Path) -> Choice | None:
    """Return the one choice that a file keeps, None where there is no file; a TrainingError if it cannot be read."""
    if not path.is_file():
        return None
    with _readable(path):
        return Choice(**{key: value for key, value in _content(path).items() if key != _SETTINGS})


def kept_or_chosen(path: Path, measured: Callable[[], Sequence[Measured]], *, settings: str) -> Choice:
    """Return the choice that a file keeps for the same settings; else choose as `choose` does, and keep it.

    Args:
      path: of the file.
      measured: as in `choose`.
      settings: what the choice is made for, in short: an earlier start may have had another backbone.

    Raises:
      TrainingError: if the file cannot be read or written.
    """
    kept = kept_choice(path)
    if kept is not None and _content(path).get(_SETTINGS) == settings:
        return kept
    choice = choose(measured)
    _keep(path, {**asdict(choice), _SETTINGS: settings})
    return choice


def kept_choices(path: Path) -> dict[str, Choice]:
    """Return the named choices that a file keeps; none where there is no file.

    Raises:
      TrainingError: if it cannot be read.
    """
    if not path.is_file():
        return {}
    with _readable(path):
        return {name: Choice(**values) for name, values in _content(path).items()}


def keep_choices(path: Path, choices: Mapping[str, Choice]) -> None:
    """Write named choices; a TrainingError if that fails."""
    _keep(path, {name: asdict(choice) for name, choice in choices.items()})


def with_chosen_precision(config: RunConfig, measured: Callable[[], Sequence[Measured]]) -> RunConfig:
    """Return a run's config with float32 or bfloat16 where it has "auto": what the run has chosen before, or chooses now.

    A run without a checkpoint chooses again where an earlier start in its directory had other settings.

    Args:
      config: the run's.
      measured: measures float32 and bfloat16.

    Raises:
      ConfigError: for "auto" on a TPU, where each shape would be compiled for it.
      TrainingError: if what was chosen before cannot be read, or what is chosen now cannot be written.
    """
    from softprompt_tf.runs.run_identity import config_digest  # here, as a sweep is planned without TensorFlow

    training, output_dir = config.training, Path(config.output_dir)
    if training.precision != AUTO:
        return config
    check_can_be_measured(training)
    path = output_dir / CHOICE_FILE
    has_begun = any((output_dir / "checkpoints").glob("*")) and (output_dir / "config.yaml").is_file()
    precision: str
    if has_begun:
        kept = kept_choice(path)
        precision = kept.precision if kept else load_config(output_dir / "config.yaml").training.precision
    else:
        precision = kept_or_chosen(path, measured, settings=config_digest(config)).precision
    return config.model_copy(update={"training": training.model_copy(update={"precision": precision})})


def check_can_be_measured(training: TrainingConfig, *, where: str = "") -> None:
    """Refuse "auto" where it cannot be measured, with a ConfigError; `where` says whose training it is."""
    if training.precision == AUTO and training.strategy == "tpu":
        raise ConfigError(
            f"`training.precision: auto` measures on a CPU or a GPU. Received: training.strategy=tpu{where}. Write bfloat16, "
            "which TPUs are made for, or float32."
        )


def why_not_bfloat16() -> str:
    """Return why bfloat16 cannot gain on this machine; "" where it may."""
    import tensorflow as tf  # here, as a sweep is planned without it

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "" if tuple(capability) >= _FIRST_GPU_WITH_BFLOAT16 else "the GPU has no units for bfloat16"
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8", errors="replace") if information.is_file() else ""
    return "" if any(flag in flags for flag in _CPU_FLAGS) else "the processor has no units for bfloat16"


def decide(exact: Measured, rounded: Measured) -> Choice:
    """Return bfloat16 where it agrees with float32 and is faster, else float32.

    Args:
      exact: float32's.
      rounded: bfloat16's, of the same batches.
    """
    pairs = zip(exact.losses, rounded.losses, strict=True)
    loss = float(np.max([abs(a - b) / max(abs(a), 1e-12) for a, b in pairs]))  # NaN stays
    cosine = float(np.min([_cosine(a, b) for a, b in zip(exact.vectors, rounded.vectors, strict=True)]))
    told = f"losses differ by {100 * loss:.2g} %, cosine of the {exact.vectors_are} {cosine:.4f}"
    if not (loss <= LARGEST_LOSS_DIFFERENCE and cosine >= LEAST_COSINE):
        return Choice("float32", f"bfloat16 does not agree: {told}")
    share = rounded.seconds / exact.seconds
    if share >= LEAST_GAIN:
        return Choice("float32", f"bfloat16 takes {share:.2f} times as long")
    return Choice("bfloat16", f"{share:.2f} times as long as float32; {told}")


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} must hold the precision that was chosen. Received: {error}. Write float32 or bfloat16 instead of auto."
        ) from error


def _keep(path: Path, values: Mapping[str, Any]) -> None:
    content = json.dumps(values, indent=2) + "\n"
    write_atomically(path, content.encode("utf-8"), error_type=TrainingError)
