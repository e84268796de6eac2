"""What a vocabulary does with a text besides SentencePiece's own rules, kept inside the SentencePiece file.

Tokenizers of other tools have tokens that were added later, and steps before and between the pieces. They travel as JSON in a
field that SentencePiece leaves to others (sentencepiece_model.proto: `extensions 200 to max`) and passes over, so presets, saved
models and exports carry them without a file of their own.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from google.protobuf import unknown_fields
from sentencepiece import sentencepiece_model_pb2

proto: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
_FIELD = 200
_TAG = b"\xc2\x0c"  # field 200, wire type 2 (bytes), as a varint
SENTINEL = re.compile(r"<extra_id_\d+>$")
SPECIAL = ("<pad>", "</s>", "<unk>")
# What Unicode calls White_Space; the same class in RE2 and in Python.
SPACE = "[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"


@dataclass(frozen=True)
class AddedToken:
    """A token that stands for its own text, wherever that is written.

    Args:
      text: as it is written.
      token_id: its row in the embedding table.
      takes_space_before, takes_space_after: whether spaces around it are part of it.
    """

    text: str
    token_id: int
    takes_space_before: bool = False
    takes_space_after: bool = False


@dataclass(frozen=True)
class TextRules:
    """What happens to a text around SentencePiece.

    Args:
      added: tokens that are found in the text before anything else.
      steps: text -> text, before SentencePiece: see `text_steps`.
      splits: text -> words, each of which SentencePiece sees alone: see `text_steps`. () leaves the words to SentencePiece.
      begins_again: whether the text behind an added token begins as a text of its own, with a space in front.
      aliases: ids that the pieces from `first_alias` on stand for; only in a model that `compiled_model` has made.
      first_alias: see `aliases`.
    """

    added: tuple[AddedToken, ...] = ()
    steps: tuple[tuple[str, ...], ...] = ()
    splits: tuple[tuple[str, ...], ...] = ()
    begins_again: bool = True
    aliases: tuple[int, ...] = ()
    first_alias: int = -1

    @property
    def is_compiled(self) -> bool:
        """Whether the pieces of the added tokens are in the model."""
        return self.first_alias >= 0

    def beyond_t5(self) -> str:
        """Return, as a text, what T5's own vocabulary has not; "" where there is nothing."""
        others = tuple(token for token in self.added if not SENTINEL.match(token.text) and token.text not in SPECIAL)
        own = TextRules(others, self.steps, self.splits)
        return "" if own == TextRules() else json.dumps(asdict(own), sort_keys=True)


def with_rules(model: bytes, rules: TextRules) -> bytes:
    """Return a serialized SentencePiece model that carries these rules, in the place of those it had."""
    if rules_of(model) is not None:
        parsed = proto.ModelProto.FromString(model)
        parsed.DiscardUnknownFields()
        model = parsed.SerializeToString()
    content = json.dumps(asdict(rules)).encode()
    return model + _TAG + _varint(len(content)) + content


def rules_of(model: bytes) -> TextRules | None:
    """Return the rules in a serialized SentencePiece model, None where it has none."""
    if _TAG not in model:
        return None
    fields = unknown_fields.UnknownFieldSet(proto.ModelProto.FromString(model))
    contents = [field.data for field in fields if field.field_number == _FIELD]
    return _from_json(json.loads(contents[-1])) if contents else None


def wrapped(pieces: TextRules, *, keeps_spaces: bool) -> list[tuple[str, str]]:
    """Return the replacements, a pattern and what takes its place, after which SentencePiece finds the added tokens.

    The patterns mean the same in RE2 and in Python.

    Args:
      pieces: the rules.
      keeps_spaces: whether this SentencePiece model keeps every space of a text.
    """
    if not pieces.added:
        return []
    if not keeps_spaces:  # then the spaces around a token go anyway
        return [(f"({_either(pieces.added)})", r" \1 " if pieces.begins_again else r" \1")]
    groups: dict[tuple[bool, bool], list[AddedToken]] = {}
    for token in pieces.added:
        groups.setdefault((token.takes_space_before, token.takes_space_after), []).append(token)
    return [
        (f"{SPACE + '*' if before else ''}({_either(tokens)}){SPACE + '*' if after else ''}", r"▁\1")
        for (before, after), tokens in groups.items()
    ]


def any_added(rules: TextRules) -> str:
    """Return a pattern of all added tokens, each with the spaces that it takes."""
    plain = [replace(token, takes_space_before=False, takes_space_after=False) for token in rules.added]
    if list(rules.added) == plain:
        return _either(rules.added)
    return "|".join(
        f"{SPACE + '*' if t.takes_space_before else ''}{_escaped(t.text)}{SPACE + '*' if t.takes_space_after else ''}"
        for t in _longest_first(rules.added)
    )


def _either(tokens: Any) -> str:
    return "|".join(_escaped(token.text) for token in _longest_first(tokens))


def _longest_first(tokens: Any) -> list[AddedToken]:
    return sorted(tokens, key=lambda token: (-len(token.text), token.text))


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)


def _from_json(content: dict[str, Any]) -> TextRules:
    lists = {name: tuple(tuple(item) for item in content[name]) for name in ("steps", "splits")}
    added = tuple(AddedToken(**token) for token in content["added"])
    return TextRules(
        added=added,
        **lists,
        begins_again=content["begins_again"],
        aliases=tuple(content["aliases"]),
        first_alias=content["first_alias"],
    )


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
