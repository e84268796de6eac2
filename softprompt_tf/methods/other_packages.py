"""Methods of other packages, which name them in an entry point of the group `softprompt_tf.methods`.

In such a package's pyproject.toml, where GATED is a `MethodRow`, and `gated` the method's name:

    [project.entry-points."softprompt_tf.methods"]
    gated = "my_package:GATED"
"""

import contextlib
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint

from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.method_row import MethodRow

GROUP = "softprompt_tf.methods"


class Methods(UserDict[str, MethodRow]):
    """Methods by name. Those of other packages are loaded when they are asked for: their names alone need none of their code.

    Args:
      own: the methods of this library, whose names others cannot take.
      others: entry points of the group.
    """

    def __init__(self, own: Mapping[str, MethodRow], others: Iterable[EntryPoint]):
        super().__init__(own)
        self._others = {entry.name: entry for entry in others if entry.name not in own}

    def that_load(self) -> dict[str, MethodRow]:
        """Return all but those of packages whose code fails."""
        found = {}
        for name in self:
            with contextlib.suppress(ConfigError):
                found[name] = self[name]
        return found

    def __missing__(self, name: str) -> MethodRow:
        if name not in self._others:
            raise KeyError(name)
        self.data[name] = _loaded(self._others[name])
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self._others

    def __iter__(self) -> Iterator[str]:
        return iter({**self.data, **self._others})

    def __len__(self) -> int:
        return len({**self.data, **self._others})


def _loaded(entry: EntryPoint) -> MethodRow:
    """Return the method of another package.

    Raises:
      ConfigError: with what its code raised, or what is wrong with what it has.
    """
    try:
        row = entry.load()
        if not isinstance(row, MethodRow):
            raise TypeError(f"{entry.value} is no MethodRow")
        name = row.config.model_fields["method"].default
        if name != entry.name:
            raise ValueError(f"its config has the method {name!r}")
    except Exception as error:  # whatever another package's code raises
        package = "another package" if entry.dist is None else entry.dist.name
        raise ConfigError(
            f"The method {entry.name} of {package} must be one that can be loaded. Received: {type(error).__name__}: {error}. Mend "
            "or uninstall that package."
        ) from error
    return row
