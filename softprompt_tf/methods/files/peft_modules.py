"""The modules of a T5 that a PEFT adapter changes: those that its config targets, and those that it holds tensors of.

PEFT builds what its config targets and then fills in what the file holds: what is held and not targeted has no effect, and what is
targeted and not held stays as it was drawn. Both are refused here, so that nothing is dropped in silence.

Source: huggingface/peft:src/peft/tuners/tuners_utils.py (`check_target_module_exists`), 0.21.2.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softprompt_tf.errors import PromptFileError

PREFIX = "base_model.model."
# The blocks of one layer in their order, by stack.
_BLOCKS = {
    "encoder": ("SelfAttention", "DenseReluDense"),
    "decoder": ("SelfAttention", "EncDecAttention", "DenseReluDense"),
}
FEED_FORWARD = "DenseReluDense"
PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "output"}  # transformers' name -> this library's
GATED = "wi_1"  # the projection beside the gate, where the feed-forwards have one
# What can be changed of a block.
_PARTS = {"SelfAttention": ("q", "k", "v", "o"), "EncDecAttention": ("q", "k", "v", "o"), FEED_FORWARD: ("wo", GATED)}
# Of less than 100 layers, as all of them are looked at up to the last one that a file names.
_NAME = re.compile(r"(encoder|decoder)\.block\.([0-9]{1,2})\.layer\.([0-9])\.(\w+)\.(\w+)")
_ALL_LINEAR = "all-linear"
_SHOWN = 4  # names in a message


class Module(NamedTuple):
    """A projection of a T5, as transformers names it.

    Args:
      stack: "encoder" or "decoder".
      layer: from 0.
      block: "SelfAttention", "EncDecAttention" or "DenseReluDense".
      part: "q", "k", "v", "o", "wo" or "wi_1".
    """

    stack: str
    layer: int
    block: str
    part: str

    @property
    def name(self) -> str:
        """Its name in transformers' T5."""
        place = _BLOCKS[self.stack].index(self.block)
        return f"{self.stack}.block.{self.layer}.layer.{place}.{self.block}.{self.part}"

    @property
    def place(self) -> str:
        """The attention that it is of, or the stack of a feed-forward."""
        return "cross" if self.block == "EncDecAttention" else self.stack


Stored = dict[Module, dict[str, np.ndarray]]
"""A module -> the tensors that an adapter has of it, by the end of their names."""


def stored_modules(
    path: Path, tensors: Mapping[str, np.ndarray], *, ends: Sequence[str], blocks: Collection[str]
) -> Stored:
    """Return what an adapter holds, by module.

    Args:
      path: the adapter's folder, for messages.
      tensors: its tensors by their names.
      ends: how the names of a module's tensors end; it must have all of them.
      blocks: which blocks' modules may be changed.

    Raises:
      PromptFileError: if there is none, one is of another module or has another end, or a module lacks one.
    """
    stored: Stored = {}
    others = []
    for name, value in tensors.items():
        module, end = _split(name, ends)
        if module is None or module.block not in blocks:
            others.append(name)
        else:
            stored.setdefault(module, {})[end] = value
    if others or not stored:
        changed = "q, k, v and o of the attentions" + (", wo and wi_1" if FEED_FORWARD in blocks else "")
        raise PromptFileError(
            f"PEFT adapter {path} must change {changed} alone, by tensors that end in {' and '.join(ends)}. "
            f"Received: {listed(sorted(others))}. Train it with other target_modules."
        )
    lacking = sorted(f"{m.name}.{end}" for m, values in stored.items() for end in ends if end not in values)
    if lacking:
        raise PromptFileError(
            f"PEFT adapter {path} must hold {' and '.join(ends)} of each module. Received: none of {listed(lacking)}."
        )
    return dict(sorted(stored.items()))


def num_layers(modules: Collection[Module], stack: str) -> int:
    """Return how many layers of a stack an adapter reaches. How many the T5 has is not in it."""
    return 1 + max((module.layer for module in modules if module.stack == stack), default=-1)


def check_targets(path: Path, config: Mapping[str, Any], modules: Collection[Module], default: Sequence[str]) -> None:
    """Refuse an adapter whose config targets other modules than those that it holds tensors of.

    Args:
      path: the adapter's folder, for messages.
      config: its config.
      modules: what it holds tensors of.
      default: what PEFT targets in a T5 where the config has no `target_modules`.

    Raises:
      PromptFileError: with the modules.
    """
    try:
        untargeted = [module.name for module in modules if not _is_target(config, module.name, default)]
        known = [module for module in _all_modules(modules) if module not in modules]
        missing = [module.name for module in known if _is_target(config, module.name, default)]
    except (re.error, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error
    if untargeted:
        raise PromptFileError(
            f"PEFT adapter {path} must hold tensors of targeted modules alone: others have no effect in PEFT. "
            f"Received: also {listed(untargeted)}."
        )
    if missing:
        raise PromptFileError(
            f"PEFT adapter {path} must hold tensors of every module that its config targets. Received: none of "
            f"{listed(missing)}."
        )


def check_settings(path: Path, config: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse settings that are used and not known here: they may change what the adapter does.

    Raises:
      PromptFileError: with the settings.
    """
    used = [f"{name}={value!r}" for name, value in sorted(config.items()) if name not in known and value]
    if used:
        raise PromptFileError(
            f"PEFT adapter {path} must have no other settings than those that this library knows. Received: "
            f"{listed(used)}. Train or convert it without."
        )


def target_modules(modules: Collection[Module]) -> list[str] | str:
    """Return what PEFT's `target_modules` must be for these modules of all layers: names where they say enough, or a pattern."""
    kinds = {(module.stack, module.block, module.part) for module in modules}
    names = sorted({part for *_, part in kinds})
    everywhere = {
        (stack, block, part) for stack, blocks in _BLOCKS.items() for block in blocks for part in _PARTS[block]
    }
    if kinds == {kind for kind in everywhere if kind[-1] in names}:
        return names
    return "|".join(
        rf"{stack}\.block\.\d+\.layer\.{_BLOCKS[stack].index(block)}\.{block}\.{part}"
        for stack, block, part in sorted(kinds)
    )


def module_of(place: str, layer: int, projection: str) -> Module:
    """Return a projection of an attention by this library's names."""
    part = next(part for part, name in PROJECTIONS.items() if name == projection)
    block = "EncDecAttention" if place == "cross" else "SelfAttention"
    return Module("encoder" if place == "encoder" else "decoder", layer, block, part)


def is_named(path: Path, names: str | Sequence[str], name: str) -> bool:
    """Say whether a pattern is all of a module's name, or one of a list of names is its end.

    Raises:
      PromptFileError: if the names are neither.
    """
    try:
        return _matches(names, name)
    except (re.error, TypeError) as error:
        raise _unreadable(path, error) from error


def listed(names: Sequence[str]) -> str:
    """Name some of what is wrong, and count the rest."""
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _split(name: str, ends: Sequence[str]) -> tuple[Module | None, str]:
    """Split a tensor's name into its module, None where it is of no module that is known, and its end."""
    for end in ends:
        if name.startswith(PREFIX) and name.endswith(f".{end}"):
            found = _NAME.fullmatch(name[len(PREFIX) : -len(end) - 1])
            module = found and Module(found[1], int(found[2]), found[4], found[5])
            if module and module.block in _BLOCKS[module.stack] and module.part in _PARTS[module.block]:
                return (module if f"{PREFIX}{module.name}.{end}" == name else None), end
    return None, ""


def _all_modules(held: Collection[Module]) -> Iterator[Module]:
    """Yield the modules of as many layers as an adapter reaches; of a stack that it does not reach, those of the first.

    Not every T5 has `GATED`, so it is one where the adapter reaches some.
    """
    is_gated = any(module.part == GATED for module in held)
    for stack, blocks in _BLOCKS.items():
        for layer in range(max(num_layers(held, stack), 1)):
            for block in blocks:
                yield from (Module(stack, layer, block, part) for part in _PARTS[block] if part != GATED or is_gated)


def _is_target(config: Mapping[str, Any], name: str, default: Sequence[str]) -> bool:
    excluded, targets = config.get("exclude_modules"), config.get("target_modules")
    if excluded and _matches(excluded, name):
        return False
    if targets == _ALL_LINEAR:
        return True
    targets = default if targets is None else targets
    if isinstance(targets, str):
        return _matches(targets, name)
    return name in targets or (_matches(targets, name) and _is_in_layers(config, name))


def _unreadable(path: Path, error: Exception) -> PromptFileError:
    return PromptFileError(
        f"PEFT adapter {path} must name its modules by lists of names or by a regular expression. Received: {error}."
    )


def _matches(names: str | Sequence[str], name: str) -> bool:
    """Say whether a pattern is all of a module's name, or one of a list of names is its end."""
    if isinstance(names, str):
        return re.fullmatch(names, name) is not None
    return any(name == each or name.endswith(f".{each}") for each in names)


def _is_in_layers(config: Mapping[str, Any], name: str) -> bool:
    """Say whether a module is in one of `layers_to_transform`, where there are such."""
    layers, patterns = config.get("layers_to_transform"), config.get("layers_pattern")
    if layers is None or layers == []:
        return True
    patterns = [patterns] if isinstance(patterns, str) and patterns else patterns or [r"[^.]*"]
    found = (re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", name) for pattern in patterns)
    number = next((int(match[1]) for match in found if match), None)
    return number == layers if isinstance(layers, int) else number in layers
