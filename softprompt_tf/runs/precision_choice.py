"""Choose float32 or bfloat16 for a run's frozen T5: bfloat16 where it is faster here and agrees with float32 on the first batches.

OUTPUT/precision.json   what was chosen and why; a run that goes on keeps it, also on another machine
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.progress import say

AUTO = "auto"
CHOICE_FILE = "precision.json"
FIRST_BATCHES = 3
LARGEST_LOSS_DIFFERENCE = 0.02  # of the float32 loss
LEAST_COSINE = 0.98  # of both gradients
LEAST_GAIN = 0.95  # bfloat16 has to take less than this share of float32's time

_CPU_FLAGS = ("amx_bf16", "avx512_bf16")
_FIRST_GPU_WITH_BFLOAT16 = (8, 0)  # compute capability


@dataclass(frozen=True)
class Measured:
    """What a precision did on the first batches.

    Args:
      seconds: of the losses and gradients of all of them; processor time where there is no GPU.
      losses: of each batch.
      gradients: of each batch, of all that is trained, as one vector.
    """

    seconds: float
    losses: tuple[float, ...]
    gradients: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Choice:
    """A precision, "float32" or "bfloat16", and why."""

    precision: str
    reason: str


def with_chosen_precision(config: RunConfig, measured: Callable[[], Sequence[Measured]]) -> RunConfig:
    """Return a run's config with float32 or bfloat16 where it has "auto": what the run has chosen before, or chooses now.

    Args:
      config: the run's.
      measured: measures float32 and bfloat16.

    Raises:
      ConfigError: for "auto" on a TPU, where each shape would be compiled for it.
      TrainingError: if what was chosen before cannot be read, or what is chosen now cannot be written.
    """
    training = config.training
    if training.precision != AUTO:
        return config
    if training.strategy == "tpu":
        raise ConfigError(
            "`training.precision: auto` measures on a CPU or a GPU. Received: training.strategy=tpu. Write bfloat16, which TPUs "
            "are made for, or float32."
        )
    precision = _kept(Path(config.output_dir)) or _chosen(Path(config.output_dir), measured)
    return config.model_copy(update={"training": training.model_copy(update={"precision": precision})})


def _kept(output_dir: Path) -> str | None:
    """Return the precision of the run in this directory; None where none has begun."""
    path = output_dir / CHOICE_FILE
    if not path.is_file():
        has_begun = any((output_dir / "checkpoints").glob("*")) and (output_dir / "config.yaml").is_file()
        return load_config(output_dir / "config.yaml").training.precision if has_begun else None
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8"))).precision
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} must hold the precision that was chosen for a run. Received: {error}. Set `training.precision`."
        ) from error


def _chosen(output_dir: Path, measured: Callable[[], Sequence[Measured]]) -> str:
    why_not = why_not_bfloat16()
    choice = Choice("float32", why_not) if why_not else decide(*measured())
    say(f"precision: {choice.precision} ({choice.reason})")
    content = json.dumps(asdict(choice), indent=2) + "\n"
    write_atomically(output_dir / CHOICE_FILE, content.encode("utf-8"), error_type=TrainingError)
    return choice.precision


def why_not_bfloat16() -> str:
    """Return why bfloat16 cannot gain on this machine; "" where it may."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "" if tuple(capability) >= _FIRST_GPU_WITH_BFLOAT16 else "the GPU has no units for bfloat16"
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8", errors="replace") if information.is_file() else ""
    return "" if any(flag in flags for flag in _CPU_FLAGS) else "the processor has no units for bfloat16"


def measure(model: PromptedT5, batches: tf.data.Dataset) -> Measured:
    """Compute losses and gradients of the first batches, and how long that takes once all is compiled."""
    gpus = tf.config.list_physical_devices("GPU")
    clock = time.perf_counter if gpus else time.process_time
    run = tf.function(_losses_and_gradients(model), autograph=False, reduce_retracing=True)
    first = list(islice(iter(batches), FIRST_BATCHES))
    answers = [run(x, y) for x, y in first]  # traces
    seconds = []
    for _ in range(2):
        started = clock()
        for x, y in first:
            run(x, y)[0].numpy()
        seconds.append(clock() - started)
    losses = tuple(float(loss) for loss, _ in answers)
    return Measured(min(seconds), losses, tuple(_vector(gradients) for _, gradients in answers))


def decide(exact: Measured, rounded: Measured) -> Choice:
    """Return bfloat16 where it agrees with float32 and is faster, else float32.

    Args:
      exact: float32's.
      rounded: bfloat16's, of the same batches.
    """
    pairs = zip(exact.losses, rounded.losses, strict=True)
    loss = float(np.max([abs(a - b) / max(abs(a), 1e-12) for a, b in pairs]))  # NaN stays
    cosine = float(np.min([_cosine(a, b) for a, b in zip(exact.gradients, rounded.gradients, strict=True)]))
    told = f"losses differ by {100 * loss:.2g} %, cosine of the gradients {cosine:.4f}"
    if not (loss <= LARGEST_LOSS_DIFFERENCE and cosine >= LEAST_COSINE):
        return Choice("float32", f"bfloat16 does not agree: {told}")
    share = rounded.seconds / exact.seconds
    if share >= LEAST_GAIN:
        return Choice("float32", f"bfloat16 takes {share:.2f} times as long")
    return Choice("bfloat16", f"{share:.2f} times as long as float32; {told}")


def _losses_and_gradients(model: PromptedT5) -> Any:
    def run(x: dict[str, tf.Tensor], y: tf.Tensor) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    return run


def _vector(gradients: Sequence[tf.Tensor]) -> np.ndarray:
    return np.concatenate([np.ravel(tf.convert_to_tensor(gradient).numpy()) for gradient in gradients])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))
