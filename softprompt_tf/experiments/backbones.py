"""Load the T5s of a sweep, and refuse one whose weights have changed since its first run.

OUTPUT/backbones.json   each backbone's name, as the sweep file has it -> fingerprints of its weights and of its vocabulary
"""

import json
from collections.abc import Sequence
from pathlib import Path

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.errors import ConfigError
from softprompt_tf.files.atomic_file import write_atomically

Fingerprints = dict[str, str]


class SweepBackbones:
    """Loads the backbones of one sweep, so that all results of one name are of the same weights.

    A path may get other weights under it, and a bundled name with another version of the library; results of both in one table
    would compare what cannot be compared.

    Args:
      path: of the JSON file; made when the first backbone is loaded.
    """

    def __init__(self, path: Path):
        self._path = path

    def names(self) -> set[str]:
        """Return the names of all backbones that were loaded for this sweep.

        Raises:
          ConfigError: if the file is damaged.
        """
        return set(self._known())

    def load(self, name: str, *, dtype: str = "float32", devices: Sequence[str] | None = None) -> FrozenT5:
        """Load a backbone as `load_t5` does, and remember its fingerprints or compare them.

        Raises:
          ConfigError, DataError: as `load_t5`; ConfigError also if it is not the one that the sweep began with.
        """
        t5, known = load_t5(name, dtype=dtype, devices=devices), self._known()
        found = {"weights": t5.fingerprint, "vocabulary": t5.tokenizer_fingerprint}
        if name not in known:
            content = json.dumps(known | {name: found}, indent=2, sort_keys=True) + "\n"
            write_atomically(self._path, content.encode(), error_type=ConfigError)
        elif known[name] != found:
            raise ConfigError(
                f"A sweep's backbone must stay the same. Received: {name!r} with {_told(found)}; the results in "
                f"{self._path.parent} are of {_told(known[name])}. Give another --output; what is there is kept."
            )
        return t5

    def _known(self) -> dict[str, Fingerprints]:
        if not self._path.is_file():
            return {}
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            return {name: {key: found[key] for key in ("weights", "vocabulary")} for name, found in known.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"{self._path} must hold the fingerprints of a sweep's backbones. Received: {error!r}. "
                "Without the file the sweep goes on and takes them as they are now."
            ) from error


def _told(fingerprints: Fingerprints) -> str:
    return f"weights {fingerprints['weights']} and vocabulary {fingerprints['vocabulary']}"
