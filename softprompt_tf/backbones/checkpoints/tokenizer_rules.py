"""Translate the normalizers and pre-tokenizers of Hugging Face's `tokenizer.json` into rules, or refuse them by name.

What SentencePiece does itself, as T5's own tokenizers have it, is left to SentencePiece.

Source: huggingface/tokenizers, tokenizers/src/normalizers and pre_tokenizers.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.tokenization.text_rules import SPACE
from softprompt_tf.errors import BackboneError

Rule = tuple[str, ...]
_Translate = Callable[[Mapping[str, Any], Path], tuple[Rule, ...]]
# Normalizer `Nmt`: characters that go, and characters that become a space.
_NMT = (
    ("replace", "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]", ""),
    ("replace", "[\t\n\u000c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]", " "),
)
# These ops end a text at NUL. It is no piece of a vocabulary, nor is the character that takes its place.
_WITHOUT_NUL = ("replace", r"\x00", "\ue000")
_PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
# Regular expressions that mean the same to `tokenizers` (Oniguruma) and to RE2: plain characters with counts behind them.
_SAFE_REGEX = re.compile(r"(?:(?:[^\\\[\](){}.*+?|^$]|\\s)(?:\{\d+(?:,\d*)?\}|[+*?])?)+$")


@dataclass(frozen=True)
class Pipeline:
    """What happens to a text before the pieces.

    Args:
      steps: text -> text.
      splits: text -> words; () where SentencePiece's own words do.
      charsmap: a compiled map of characters, in base64, for SentencePiece's own normalizer; "" where it is none or a step.
      begins_again: whether the text behind an added token begins with a space of its own.
    """

    steps: tuple[Rule, ...]
    splits: tuple[Rule, ...]
    charsmap: str
    begins_again: bool


def pipeline_of(content: Mapping[str, Any], path: Path) -> Pipeline:
    """Translate a `tokenizer.json`.

    Args:
      content: of the file.
      path: of the file, for messages.

    Raises:
      BackboneError: naming a normalizer or a pre-tokenizer that TensorFlow's ops cannot express.
    """
    normalizers = list(_flat(content.get("normalizer"), "normalizers"))
    splitters = list(_flat(content.get("pre_tokenizer"), "pretokenizers"))
    names = [splitter.get("type") for splitter in splitters]
    scheme = _prepend_scheme(splitters, path)
    collapses = _collapses_spaces(normalizers)
    is_first = scheme == "first"
    by_words = names == ["WhitespaceSplit", "Metaspace"] and not is_first
    if by_words or (names == ["Metaspace"] and collapses and scheme != "never"):
        kept = normalizers[:-2] if collapses else normalizers
        while by_words and kept and _spaces_only(kept[-1]):
            kept = kept[:-1]
        if [step.get("type") for step in kept] == ["Precompiled"]:
            return Pipeline((), (), str(kept[0].get("precompiled_charsmap") or ""), not is_first)
        if is_first:
            return Pipeline(_steps(kept, path), (), "", False)
    if is_first:
        raise _unknown(path, "pre_tokenizer", "Metaspace with prepend_scheme 'first' beside other steps")
    return Pipeline(_steps(normalizers, path), _splits(splitters, path), "", True)


def _flat(part: Any, key: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a sequence of sequences."""
    if not isinstance(part, Mapping):
        return
    if part.get("type") == "Sequence":
        for inner in part.get(key) or ():
            yield from _flat(inner, key)
    else:
        yield part


def _prepend_scheme(splitters: list[Mapping[str, Any]], path: Path) -> str:
    metaspaces = [splitter for splitter in splitters if splitter.get("type") == "Metaspace"]
    if len(metaspaces) != 1 or metaspaces[0].get("replacement", "▁") != "▁":
        names = ", ".join(str(splitter.get("type")) for splitter in splitters) or "nothing"
        raise _unknown(path, "pre_tokenizer", f"{names}, without one Metaspace of '▁'")
    old = "always" if metaspaces[0].get("add_prefix_space", True) else "never"  # before tokenizers 0.15
    return str(metaspaces[0].get("prepend_scheme", old))


def _collapses_spaces(normalizers: list[Mapping[str, Any]]) -> bool:
    """Say whether the last two steps do to spaces what SentencePiece does, as transformers converts its models."""
    if len(normalizers) < 2:
        return False
    strip, replace = normalizers[-2:]
    is_strip = strip.get("type") == "Strip" and bool(strip.get("strip_right"))
    pattern = replace.get("pattern") if replace.get("type") == "Replace" else None
    return is_strip and pattern == {"Regex": " {2,}"} and replace.get("content") in (" ", "▁")


def _spaces_only(normalizer: Mapping[str, Any]) -> bool:
    """Say whether a step makes no difference to the words between spaces."""
    one_space = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    return normalizer.get("type") == "Strip" or dict(normalizer) == one_space


def _steps(normalizers: list[Mapping[str, Any]], path: Path) -> tuple[Rule, ...]:
    steps = _rules(normalizers, _STEPS, "normalizer", path)
    if any(step[0] in ("unicode", "lower") for step in steps):
        steps = (_WITHOUT_NUL, *steps)
    return steps


def _splits(splitters: list[Mapping[str, Any]], path: Path) -> tuple[Rule, ...]:
    return _rules(splitters, _SPLITS, "pre_tokenizer", path)


def _rules(parts: list[Mapping[str, Any]], makers: Mapping[str, _Translate], kind: str, path: Path) -> tuple[Rule, ...]:
    """Return what the parts of a kind become, by the makers of their types."""
    rules: list[Rule] = []
    for part in parts:
        make = makers.get(str(part.get("type")))
        if make is None:
            raise _unknown(path, kind, str(part.get("type")))
        rules += make(part, path)
    return tuple(rules)


def _replace(normalizer: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    pattern = normalizer.get("pattern")
    rewrite = str(normalizer.get("content", "")).replace("\\", "\\\\")
    if isinstance(pattern, Mapping) and isinstance(pattern.get("String"), str):
        return (("replace", _literal(pattern["String"]), rewrite),)
    regex = pattern.get("Regex") if isinstance(pattern, Mapping) else None
    if not isinstance(regex, str) or not _SAFE_REGEX.match(regex):
        raise _unknown(path, "normalizer", f"Replace of the pattern {pattern!r}")
    return (("replace", regex.replace(r"\s", SPACE), rewrite),)


def _strip(normalizer: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    left, right = f"^{SPACE}+", f"{SPACE}+$"
    wanted = [side for side, key in ((left, "strip_left"), (right, "strip_right")) if normalizer.get(key)]
    return (("replace", "|".join(wanted), ""),) if wanted else ()


def _prepend(normalizer: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    front = str(normalizer.get("prepend", "")).replace("\\", "\\\\")
    return (("replace", "(?s)^(.)", front + r"\1"),)


def _unicode(normalizer: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    return (("unicode", str(normalizer["type"])),)


def _metaspace(splitter: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    if splitter.get("split", True) is not True:
        raise _unknown(path, "pre_tokenizer", "Metaspace with split: false")
    return (("space", _prepend_scheme([splitter], path)),)


def _digits(splitter: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    digits = r"\p{N}" if splitter.get("individual_digits") else r"\p{N}+"
    return (("split", digits, digits),)


def _punctuation(splitter: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    return _by_behavior(splitter, path, _PUNCTUATION, default="Isolated")


def _split(splitter: Mapping[str, Any], path: Path) -> tuple[Rule, ...]:
    pattern = splitter.get("pattern")
    text = pattern.get("String") if isinstance(pattern, Mapping) else None
    if not isinstance(text, str) or splitter.get("invert"):
        raise _unknown(path, "pre_tokenizer", f"Split of the pattern {pattern!r}")
    return _by_behavior(splitter, path, _literal(text), default="Removed")


def _by_behavior(splitter: Mapping[str, Any], path: Path, pattern: str, *, default: str) -> tuple[Rule, ...]:
    behavior = splitter.get("behavior", default)
    if behavior == "Isolated":
        return (("split", pattern, pattern),)
    if behavior == "Removed":
        return (("split", pattern, ""),)
    if behavior == "Contiguous":
        return (("split", f"(?:{pattern})+", f"(?:{pattern})+"),)
    raise _unknown(path, "pre_tokenizer", f"{splitter.get('type')} with the behavior {behavior!r}")


def _literal(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)


def _unknown(path: Path, key: str, name: str) -> BackboneError:
    return BackboneError(
        f"The `{key}` of {path} must be one that runs in a TensorFlow graph. Received: {name}. Text would be cut into other "
        "tokens than the model was trained on. Give a SentencePiece file instead (`vocabulary=`), if the model has one."
    )


_STEPS: dict[str, _Translate] = {
    "Nmt": lambda normalizer, path: _NMT,
    "Lowercase": lambda normalizer, path: (("lower",),),
    "StripAccents": lambda normalizer, path: (("replace", r"\p{M}", ""),),
    "Precompiled": lambda normalizer, path: (("charsmap", str(normalizer.get("precompiled_charsmap") or "")),),
    "Replace": _replace,
    "Strip": _strip,
    "Prepend": _prepend,
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD"), _unicode),
}
_SPLITS: dict[str, _Translate] = {
    "Metaspace": _metaspace,
    "WhitespaceSplit": lambda splitter, path: (("split", f"{SPACE}+", ""),),
    "Digits": _digits,
    "Punctuation": _punctuation,
    "Split": _split,
}
