"""Read the tokens that were added to a Hugging Face tokenizer, from whichever of its files has them."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece

from softprompt_tf.backbones.checkpoints.hugging_face import read_json
from softprompt_tf.backbones.tokenization.byte_vocabulary import NUM_BYTE_PIECES, byte_texts
from softprompt_tf.backbones.tokenization.piece_model import NUM_SENTINELS, sentinel_tokens
from softprompt_tf.backbones.tokenization.text_rules import SENTINEL, SPECIAL, AddedToken
from softprompt_tf.errors import BackboneError

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ADDED_TOKENS = "added_tokens.json"
_NUM_BYTE_SENTINELS = 125
_CONFIGS = (TOKENIZER_CONFIG, "special_tokens_map.json")
_NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def added_tokens(directory: Path, model: bytes, *, normalizes: bool) -> tuple[AddedToken, ...]:
    """Return the added tokens of a directory, each text once; `tokenizer.json` goes before the other files.

    A special token that is named and has no id gets the next one, as in transformers.

    Args:
      directory: the tokenizer's.
      model: its pieces, a serialized SentencePiece model. Without a `tokenizer.json`, transformers adds the special pieces
        and the sentinels to them.
      normalizes: whether texts go through steps before SentencePiece.

    Raises:
      BackboneError: if a token has a property that cannot be expressed, or a file is damaged.
    """
    found: dict[str, AddedToken] = {}
    for entry in _entries(directory):
        token = _token(directory, entry, normalizes=normalizes)
        found.setdefault(token.text, token)
    if not (directory / TOKENIZER).is_file():
        for token in _default_tokens(directory, model):
            found.setdefault(token.text, token)
    for entry in _named_tokens(directory):
        text = str(entry.get("content"))
        if text not in found and not SENTINEL.match(text):
            token_id = _id_of_named(text, model, found.values())
            found[text] = _token(directory, {**entry, "id": token_id}, normalizes=normalizes)
    return tuple(sorted(found.values(), key=lambda token: token.token_id))


def _entries(directory: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what the files say of each added token, as `tokenizer.json` has it."""
    try:
        if (directory / TOKENIZER).is_file():
            yield from read_json(directory / TOKENIZER).get("added_tokens") or ()
        if (directory / TOKENIZER_CONFIG).is_file():
            decoder = read_json(directory / TOKENIZER_CONFIG).get("added_tokens_decoder") or {}
            for token_id, token in decoder.items():
                yield {"id": int(token_id), **token}
        if (directory / ADDED_TOKENS).is_file():
            for text, token_id in read_json(directory / ADDED_TOKENS).items():
                yield {"id": token_id, "content": text}
    except (AttributeError, TypeError, ValueError) as error:
        raise BackboneError(f"The added tokens in {directory} must have ids and texts. Received: {error}.") from error


def _named_tokens(directory: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the special tokens that are named without an id, in the order in which transformers gives them the next ids."""
    configs = [read_json(path) for name in _CONFIGS if (path := directory / name).is_file()]
    values = [config.get(f"{name}_token") for name in _NAMED for config in configs]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = configs[0].get(key) if (directory / TOKENIZER_CONFIG).is_file() else None
        values += more.values() if isinstance(more, dict) else more if isinstance(more, list) else []
    for value in values:
        if isinstance(value, str) and value:
            yield {"content": value}
        elif isinstance(value, dict):
            yield value


def _id_of_named(text: str, model: bytes, added: Collection[AddedToken]) -> int:
    """Return the id of the piece that a token is, or the first that is free."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    token_id = int(pieces.piece_to_id(text))
    return max(len(pieces), *(token.token_id + 1 for token in added)) if token_id == pieces.unk_id() else token_id


def _token(directory: Path, entry: Mapping[str, Any], *, normalizes: bool) -> AddedToken:
    text, token_id = entry.get("content"), entry.get("id")
    if not isinstance(text, str) or not text or isinstance(token_id, bool) or not isinstance(token_id, int):
        raise BackboneError(f"An added token must have a text and an id. Received: {entry!r:.100} in {directory}.")
    if entry.get("single_word"):
        raise _refused(directory, text, "is found as a whole word only (single_word)")
    if normalizes and entry.get("normalized"):
        raise _refused(directory, text, "is found behind the normalizers (normalized)")
    return AddedToken(text, token_id, bool(entry.get("lstrip")), bool(entry.get("rstrip")))


def _refused(directory: Path, text: str, why: str) -> BackboneError:
    return BackboneError(
        f"An added token must be found wherever it is written. Received: {text!r} in {directory}, which {why}; this cannot be "
        "done in a TensorFlow graph. Remove it from the tokenizer."
    )


def _default_tokens(directory: Path, model: bytes) -> Iterator[AddedToken]:
    """Yield the tokens that transformers adds to a SentencePiece file, and to byT5's bytes."""
    is_byte_level = byte_texts(model) is not None
    for token_id, text in enumerate(SPECIAL):
        yield AddedToken(text, token_id, takes_space_before=is_byte_level, takes_space_after=is_byte_level)
    path = directory / TOKENIZER_CONFIG
    default = _NUM_BYTE_SENTINELS if is_byte_level else NUM_SENTINELS
    count = read_json(path).get("extra_ids", default) if path.is_file() else default
    if isinstance(count, bool) or not isinstance(count, int):
        raise BackboneError(f"`extra_ids` of {path} must be an integer. Received: {count!r}.")
    if is_byte_level:
        yield from (AddedToken(f"<extra_id_{k}>", NUM_BYTE_PIECES + k) for k in range(count))
    else:
        yield from sentinel_tokens(model, count=count)
