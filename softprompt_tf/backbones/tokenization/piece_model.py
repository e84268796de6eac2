"""Put added tokens into a SentencePiece model, so that it finds them in a text by itself.

SentencePiece's user-defined pieces do what an added token does, but for the space in front, which SentencePiece makes a piece
"▁" of its own. So each token also has a piece with that space in it, behind all ids, which stands for the token's id.
"""

from dataclasses import replace
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from softprompt_tf.backbones.tokenization.text_rules import SENTINEL, AddedToken, TextRules, rules_of, with_rules
from softprompt_tf.errors import BackboneError

proto: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
NUM_SENTINELS = 100
UNK_ID = 2
_SPACE = "▁"
# A normal piece with the highest score there is, which no text has: SentencePiece ranks user-defined pieces by it.
_BEST = "\U0010fffd\U0010fffe"


def compiled_model(model: bytes, rules: TextRules) -> bytes:
    """Return the model with pieces for the added tokens, and with the rules; the same model where there are no rules.

    Raises:
      BackboneError: if SentencePiece does not find a token that is written in a text.
    """
    if rules.is_compiled or rules == TextRules():
        return model
    lost: list[AddedToken] = []
    for with_best in (False, True):
        compiled = _compiled(model, rules, with_best=with_best)
        lost = _lost_tokens(compiled)
        if not lost:
            return compiled
    raise BackboneError(
        f"An added token must be found in a text by SentencePiece. Received: {lost[0].text!r} (id {lost[0].token_id}), which "
        "this vocabulary cuts into pieces. Remove it from the tokenizer's files."
    )


def sentinel_tokens(model: bytes, *, count: int = NUM_SENTINELS) -> tuple[AddedToken, ...]:
    """Return T5's sentinels for a vocabulary that says nothing of them: past its pieces, or pieces that it does not find itself.

    Args:
      model: a serialized SentencePiece model without rules.
      count: how many sentinels stand past the pieces.
    """
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    if pieces.is_byte(len(pieces) - 1):  # byT5 writes its sentinels as bytes
        return ()
    found = []
    for k in range(count):
        text = f"<extra_id_{k}>"
        known = [i for i in map(pieces.piece_to_id, (text, _SPACE + text)) if pieces.id_to_piece(i).endswith(text)]
        if known and pieces.encode(text) == known[:1]:
            continue
        token_id = known[0] if known else len(pieces) + count - 1 - k
        found.append(AddedToken(text, token_id))
    return tuple(found)


def _compiled(model: bytes, rules: TextRules, *, with_best: bool) -> bytes:
    parsed = proto.ModelProto.FromString(model)
    parsed.DiscardUnknownFields()
    kinds = proto.ModelProto.SentencePiece
    num_pieces = len(parsed.pieces)
    past = {token.token_id: token for token in rules.added if token.token_id >= num_pieces}
    for token_id in range(num_pieces, max(past, default=num_pieces - 1) + 1):
        token = past.get(token_id)
        piece = _piece_of(token) if token else f"<no_token_{token_id}>"
        parsed.pieces.add(piece=piece, score=0.0, type=kinds.USER_DEFINED if token else kinds.UNUSED)
    first_alias, aliases = len(parsed.pieces), []
    for token in rules.added:
        if token.token_id >= num_pieces and past[token.token_id] is token and SENTINEL.match(token.text):
            continue  # its piece has the space, as nobody reads it in an answer
        parsed.pieces.add(piece=_SPACE + token.text.replace(" ", _SPACE), score=0.0, type=kinds.USER_DEFINED)
        aliases.append(token.token_id)
    if with_best:
        parsed.pieces.add(piece=_BEST, score=0.0, type=kinds.NORMAL)
        aliases.append(UNK_ID)
    parsed.trainer_spec.vocab_size = len(parsed.pieces)
    rules = replace(rules, aliases=tuple(aliases), first_alias=first_alias)
    try:
        return with_rules(_loadable(parsed.SerializeToString()), rules)
    except RuntimeError as error:
        raise BackboneError(f"The added tokens must be new pieces. Received: {error}.") from error


def _loadable(model: bytes) -> bytes:
    sentencepiece.SentencePieceProcessor(model_proto=model)
    return model


def _piece_of(token: AddedToken) -> str:
    text = token.text.replace(" ", _SPACE)
    return _SPACE + text if SENTINEL.match(text) else text


def _lost_tokens(compiled: bytes) -> list[AddedToken]:
    """Return the added tokens that the model cuts into pieces, though they stand in the text as `wrapped` writes them."""
    rules = rules_of(compiled) or TextRules()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=compiled)
    front = " " if removes_spaces(compiled) else _SPACE
    lost = []
    for token in rules.added:
        ids = [own_id(rules, i) for i in pieces.encode(front + token.text)]
        if ids != [token.token_id]:
            lost.append(token)
    return lost


def own_id(rules: TextRules, piece_id: int) -> int:
    """Return the id that a piece of a compiled model stands for."""
    if not rules.is_compiled or piece_id < rules.first_alias:
        return piece_id
    return rules.aliases[piece_id - rules.first_alias]


def removes_spaces(model: bytes) -> bool:
    """Say whether a serialized SentencePiece model takes spaces away at both ends, and all but one elsewhere."""
    return bool(proto.ModelProto.FromString(model).normalizer_spec.remove_extra_whitespaces)
