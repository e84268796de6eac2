"""Trained prompts as possible starts of another task: read from files and directories, and ranked by similarity.

Source: Vu et al. 2022, SPoT, section 5, arXiv:2110.07904: prompts as task embeddings, by which source tasks are retrieved.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.errors import DataError, PromptError
from softprompt_tf.interpretability.distances import mean_cosine, token_cosine
from softprompt_tf.methods import TaskPrompt, load_prompt
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.settings.spelling import check_files, nearest

MEASURES = {"tokens": token_cosine, "means": mean_cosine}
_ENDINGS = (".safetensors", ".npy")


@dataclass(frozen=True)
class RankedSource:
    """A prompt and its similarity to another, in [-1, 1]."""

    path: Path
    task_id: str
    cosine: float


@dataclass(frozen=True)
class RankedSources:
    """Prompts, the most similar one first, and why others cannot be compared: path -> reason."""

    fitting: tuple[RankedSource, ...]
    others: Mapping[Path, str]


def read_sources(places: Iterable[str | Path]) -> dict[Path, TaskPrompt]:
    """Read prompts.

    Args:
      places: prompt files, PEFT adapter folders, or directories whose `.safetensors` and `.npy` files are read, in the order
        of their names.

    Returns:
      Path -> prompt.

    Raises:
      DataError: if a place is not there, or a directory has no prompt file.
      PromptFileError: if a file cannot be read as a prompt.
    """
    paths = [Path(place) for place in places]
    check_files(paths)
    files: dict[Path, None] = {}
    for place in paths:
        files |= dict.fromkeys(_files_of(place) if _is_library(place) else [place])
    return {path: load_prompt(path) for path in files}


def similar_sources(
    prompt: TaskPrompt, sources: Mapping[Path, TaskPrompt], *, measure: str = "tokens"
) -> RankedSources:
    """Rank prompts by their similarity to one; of equally similar ones the first stays first.

    Args:
      prompt: of the task that looks for a start, such as one after a short training.
      sources: trained prompts.
      measure: "tokens": `token_cosine`; "means": `mean_cosine`.

    Raises:
      PromptError: for another measure, or if the task has no rows [P, H] in front of its text.
    """
    if measure not in MEASURES:
        raise PromptError(
            f"`measure` must be one of {', '.join(MEASURES)}. Received: measure={measure!r}.{nearest(measure, MEASURES)}"
        )
    rows = prompt.prompt
    reasons = {path: why_not(source, prompt) for path, source in sources.items()}
    ranked = [
        RankedSource(path, source.task_id, float(MEASURES[measure]([rows, source.prompt])[0, 1]))
        for path, source in sources.items()
        if not reasons[path]
    ]
    ranked.sort(key=lambda each: -each.cosine)
    return RankedSources(tuple(ranked), {path: reason for path, reason in reasons.items() if reason})


def why_not(source: TaskPrompt, prompt: TaskPrompt) -> str:
    """Return why a prompt cannot be compared with another; "" where it can."""
    if prompt_name(source.tensors) is None:
        return f"It has no prompt's rows, but {', '.join(source.tensors)}."
    if source.hidden_dim != prompt.hidden_dim:
        return f"It has the width H={source.hidden_dim}, not {prompt.hidden_dim}."
    fingerprints = (source.backbone_fingerprint, prompt.backbone_fingerprint)
    if all(fingerprints) and len(set(fingerprints)) > 1:
        return f"It was made for another backbone, {source.backbone} ({source.backbone_fingerprint})."
    return ""


def _is_library(place: Path) -> bool:
    return place.is_dir() and not (place / "adapter_config.json").exists()


def _files_of(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.iterdir() if path.suffix in _ENDINGS and not path.name.startswith("."))
    if not files:
        raise DataError(f"A directory of prompts must hold {' or '.join(_ENDINGS)} files. Received: {directory}.")
    return files
