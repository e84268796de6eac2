"""The trained prompts that candidates of a search may start from (Vu et al. 2022, SPoT, arXiv:2110.07904)."""

from pathlib import Path

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.bundled import bundled_name, bundled_prompts
from softprompt_tf.errors import DataError
from softprompt_tf.interpretability.sources import read_sources
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.progress import say
from softprompt_tf.tuning.recipes import Source


def sources_of(t5: FrozenT5, directory: Path | None) -> list[Source]:
    """Return the prompts of a directory that fit a T5, each with its length; those that do not are named.

    Args:
      t5: the frozen T5.
      directory: of prompt files. None: those that ship with the T5, if there are any.

    Raises:
      DataError, PromptFileError: if the directory, or a file in it, cannot be read.
      DataError: if none of the directory's prompts fits.
    """
    place = directory or bundled_prompts(bundled_name(t5.fingerprint) or "")
    if place is None:
        return []
    found = []
    for path, prompt in read_sources([place]).items():
        has_rows = list(prompt.tensors) == [PROMPT] and prompt.hidden_dim == t5.hidden_dim
        if has_rows and prompt.backbone_fingerprint in ("", t5.fingerprint) and path.is_file():
            found.append(Source(path.absolute(), prompt.length))
        else:
            say(f"{path.name} is left out as a start: it is no prompt in front of the input of {t5.name}.")
    if directory is not None and not found:
        raise DataError(f"A prompt to start from must fit the T5. Received: {directory}, of which none does.")
    return found
