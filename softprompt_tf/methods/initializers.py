"""How a prompt starts: random values, words of the vocabulary, class labels, a text, an array or a file.

Each public function makes a `PromptInitializer`, a frozen callable in two steps: given a `Vocabulary` it returns a
function of (seed, shape). The first step ties it to a backbone, the second draws, so one initializer serves any
number of tasks and backbones. Everything is NumPy and drawn from Philox, so a seed gives the same rows again.
Source: Lester, Al-Rfou, Constant 2021, section 2.1, arXiv:2104.08691.
"""

import dataclasses
import difflib
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.first_rows import array_rows, file_rows, label_rows, sampled_rows, text_rows, uniform_rows
from softprompt_tf.methods.vocabulary import Vocabulary as Vocabulary
from softprompt_tf.methods.vocabulary import output_rows as output_rows

NAMES = ("random_uniform", "sampled_vocabulary", "class_labels", "text:", "file:")
SOURCE, BEST_SOURCE = "source:", "best_source:"  # of a run alone, which has the data to choose by
BUNDLED = "bundled"  # in place of a directory: the prompts that ship with a bundled backbone


@dataclasses.dataclass(frozen=True)
class PromptInitializer:
    """A way to start a prompt; two are equal where their descriptions are.

    Args:
      description: how the initializer was made, such as "random_uniform(scale=0.5)".
      draw: (vocabulary, seed, (P, H)) -> [P, H] rows.

    Example:
      `random_uniform()(vocabulary)(0, (20, 512))` is a float32 array [20, 512].
    """

    description: str
    draw: Callable[[Vocabulary, int, tuple[int, int]], np.ndarray] = dataclasses.field(compare=False, repr=False)

    def __call__(self, vocabulary: Vocabulary) -> Callable[[int, tuple[int, int]], np.ndarray]:
        """Return the function (seed, (P, H)) -> float32 [P, H] for one backbone's vocabulary."""

        def draw(seed: int, shape: tuple[int, int]) -> np.ndarray:
            if shape[1] != vocabulary.hidden_dim:
                raise PromptError(
                    f"A prompt must be as wide as the embeddings. Received: prompt {list(shape)}, "
                    f"embeddings with H={vocabulary.hidden_dim}."
                )
            return np.ascontiguousarray(self.draw(vocabulary, seed, shape), dtype=np.float32)

        return draw


def random_uniform(scale: float = 0.5) -> PromptInitializer:
    """Draw every value uniformly from [-scale, scale).

    The recipe's own initializer is `jax.nn.initializers.uniform(0.5)`, which draws from [0, 0.5) and so gives every
    row the same mean direction; the ports of the method to other libraries draw from [-0.5, 0.5). This follows the
    ports. Either way the rows lie off the embeddings' manifold: `sampled_vocabulary` is the better start.

    Args:
      scale: half the width of the interval, above 0.

    Examples:
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.random_uniform(scale=0.5))
    """
    if not (math.isfinite(scale) and scale > 0):
        raise PromptError(f"`scale` must be a finite number above 0. Received: scale={scale}.")
    return PromptInitializer(f"random_uniform(scale={scale})", partial(uniform_rows, scale))


def sampled_vocabulary(population_size: int = 5000) -> PromptInitializer:
    """Take the embeddings of pieces drawn from the most frequent ones.

    A SentencePiece vocabulary is sorted by frequency, so the population is the first `population_size` pieces after
    the special ids 0 to 2 (pad, end of sequence, unknown), which are left out: their embeddings mean no text.
    Rows are drawn without replacement, unless the prompt is longer than the population.

    Args:
      population_size: how many pieces to draw from; a smaller vocabulary is used completely.

    Examples:
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.sampled_vocabulary(population_size=1000))
    """
    if population_size < 1:
        raise PromptError(f"`population_size` must be a positive integer. Received: population_size={population_size}.")
    return PromptInitializer(
        f"sampled_vocabulary(population_size={population_size})", partial(sampled_rows, population_size)
    )


def class_labels(labels: Sequence[str], fallback: PromptInitializer | None = None) -> PromptInitializer:
    """Start one row from each label, the mean of its tokens' embeddings, and the other rows from `fallback`.

    Args:
      labels: the label words, in the order of the rows; at most P.
      fallback: the initializer of the rows after the labels. Default `sampled_vocabulary()`.

    Examples:
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.class_labels(["negative", "positive"]))
    """
    if isinstance(labels, str) or not labels or not all(isinstance(label, str) and label for label in labels):
        raise PromptError(f"`labels` must be a list of non-empty strings. Received: labels={labels!r}.")
    names, rest = tuple(labels), fallback or sampled_vocabulary()
    description = f"class_labels({list(names)}, fallback={rest.description})"
    return PromptInitializer(description, partial(label_rows, names, rest))


def from_text(text: str, fallback: PromptInitializer | None = None) -> PromptInitializer:
    """Start the first rows from the tokens of a text, in order, and the other rows from `fallback`.

    A text of more tokens than the prompt has rows is cut, with a warning.

    Args:
      text: such as "Classify the sentiment of this review:".
      fallback: the initializer of the rows after the text. Default `sampled_vocabulary()`.

    Examples:
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.from_text("Is the film good or bad?"))
    """
    if not text.strip():
        raise PromptError(f"`text` must not be empty. Received: text={text!r}.")
    rest = fallback or sampled_vocabulary()
    return PromptInitializer(f"from_text({text!r}, fallback={rest.description})", partial(text_rows, text, rest))


def from_array(array: np.ndarray) -> PromptInitializer:
    """Start from an array of the prompt's exact shape; the seed has no effect.

    Args:
      array: [P, H], finite; a copy is kept.

    Examples:
      >>> rows = np.zeros((20, t5.hidden_dim))
      >>> prompt = sp.prompt_tuning(length=20, init=sp.init.from_array(rows))
    """
    values = np.array(array, dtype=np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise PromptError(f"`array` must be a finite [P, H] array. Received: shape {list(values.shape)}.")
    digest = hashlib.sha256(values.tobytes()).hexdigest()[:12]
    return PromptInitializer(f"from_array(shape={list(values.shape)}, sha256={digest})", partial(array_rows, values))


def from_file(path: str | Path) -> PromptInitializer:
    """Start from a trained prompt of the exact shape, read when the prompt is made; the seed has no effect.

    This is how a prompt is carried over from one task to another (Vu et al. 2022, SPoT, arXiv:2110.07904).

    Args:
      path: a .safetensors prompt file, a .npy [P, H], or a PEFT adapter folder.

    Warns:
      UserWarning: if the file says that it was trained on other weights than those of the backbone.

    Examples:
      >>> prompt = sp.prompt_tuning(length=5, init=sp.init.from_file("film.safetensors"))
    """
    return PromptInitializer(f"from_file({str(path)!r})", partial(file_rows, path))


def from_name(text: str, labels: Sequence[str] | None = None, *, population_size: int = 5000) -> PromptInitializer:
    """Return the initializer that a config names.

    Args:
      text: "random_uniform", "sampled_vocabulary", "class_labels", "text:<the text>" or "file:<path>".
      labels: the task's label words, for "class_labels".
      population_size: of the vocabulary sample, alone or as the fallback of labels and text.

    Raises:
      PromptError: for any other name, with the nearest one.
    """
    kind, _, argument = text.partition(":")
    sample = sampled_vocabulary(population_size)
    if text == "random_uniform":
        return random_uniform()
    if text == "sampled_vocabulary":
        return sample
    if text == "class_labels":
        return class_labels(labels or (), fallback=sample)
    if kind == "text" and argument:
        return from_text(argument.strip(), fallback=sample)
    if kind == "file" and argument:
        return from_file(argument.strip())
    if f"{kind}:" in (SOURCE, BEST_SOURCE):
        raise PromptError(
            f"`init` with `{kind}:` is for `softprompt train`, which trains to choose one of several prompts. "
            f"Received: init={text!r}. Name one here: file:PATH."
        )
    nearest = difflib.get_close_matches(text, NAMES, n=1) or difflib.get_close_matches(kind + ":", NAMES, n=1)
    has_other = bool(nearest) and nearest[0] != text
    hint = f"Did you mean {nearest[0]!r}?" if has_other else "A text or a path follows `text:` and `file:`."
    raise PromptError(f"`init` must be one of {', '.join(NAMES)}. Received: init={text!r}. {hint}")
