"""Tokenizers as `tokenizer.json` files, and texts for them: what `record_tokens.py` records and the tests compare with."""

import base64

from sentencepiece import sentencepiece_model_pb2
from tiny_t5 import tiny_vocabulary

METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
FIRST = {**METASPACE, "prepend_scheme": "first"}
SPLIT = {"type": "WhitespaceSplit"}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": "nmt_nfkc"}  # the real one is put in when a file is written
SPECIAL = ["<pad>", "</s>", "<unk>"]
TEXTS = [
    "the old miller walks",
    "Mixed CASE Film 2021",
    "line one\nline\ttwo",
    "  a  b\u00a0c  ",
    "ﬁne ½ ｆｕｌｌ",
    "",
    "   ",
    "naïve café, e\u0301t",
    "ΟΔΟΣ ΣΑΣ",
    "“no” — yes… 12:30!",
    "a\u200bb\ufeffc",
    "the <ORG>, not [new york]or<ORG>",
    "<ORG> <ORG><extra_id_0>x </s> y",
    "▁ the_end ``quoted''",
    "日本 😀",
]


def added(*texts, first_id=120, **properties):
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **properties}
    listed = [{**token, "id": first_id + k, "content": text} for k, text in enumerate(texts)]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{**plain, "id": k, "content": text} for k, text in enumerate(SPECIAL)] + listed


CASES = {
    # normalizers, pre-tokenizers, added tokens
    "plain": ([CHARSMAP], [SPLIT, METASPACE], added("<ORG>", "[new york]", "<extra_id_0>")),
    "spaces_taken": ([CHARSMAP], [SPLIT, METASPACE], added("<ORG>", "[new york]", lstrip=True, rstrip=True)),
    "converted": (
        [CHARSMAP, {"type": "Strip", "strip_left": False, "strip_right": True}, {**SPACES, "content": "▁"}],
        [METASPACE],
        added("<ORG>", "[new york]"),
    ),
    "converted_first": (
        [CHARSMAP, {"type": "Strip", "strip_left": False, "strip_right": True}, {**SPACES, "content": "▁"}],
        [FIRST],
        added("<ORG>", "[new york]"),
    ),
    "no_charsmap": ([], [SPLIT, METASPACE], added("<ORG>")),
    "spaces_kept": ([CHARSMAP], [METASPACE], added("<ORG>", "[new york]")),
    "lower_case": ([CHARSMAP, {"type": "Lowercase"}], [SPLIT, METASPACE], added("<ORG>")),
    "tokenizers_own": (
        [{"type": "Nmt"}, {"type": "NFKC"}, SPACES, {"type": "Lowercase"}],
        [METASPACE, {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Isolated"}],
        added("<ORG>", "[new york]", lstrip=True),
    ),
    "albert_like": (
        [
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
            {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Lowercase"},
            CHARSMAP,
        ],
        [SPLIT, METASPACE],
        added(),
    ),
    "split_at_the": (
        [{"type": "NFC"}, {"type": "Prepend", "prepend": "a "}],
        [
            {"type": "Split", "pattern": {"String": "the"}, "behavior": "Isolated", "invert": False},
            METASPACE,
            {"type": "Digits", "individual_digits": False},
            {"type": "Punctuation", "behavior": "Contiguous"},
        ],
        added(),
    ),
}


def vocabulary():
    """Return pieces and scores of the tiny vocabulary."""
    model = sentencepiece_model_pb2.ModelProto.FromString(tiny_vocabulary())
    return [[piece.piece, piece.score] for piece in model.pieces]


def tokenizer_json(case, pieces):
    """Return a case's file as a dictionary."""
    normalizers, splitters, tokens = CASES[case]
    charsmap = sentencepiece_model_pb2.ModelProto.FromString(tiny_vocabulary()).normalizer_spec.precompiled_charsmap
    compiled = {**CHARSMAP, "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    return {
        "version": "1.0",
        "added_tokens": tokens,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [compiled if step is CHARSMAP else step for step in normalizers],
        },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splitters},
        "decoder": METASPACE,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }
