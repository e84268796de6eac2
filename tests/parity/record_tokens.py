"""Write `recorded/tokens.json`: what huggingface/tokenizers makes of the cases in `tokenizer_cases.py`.

python -m pip install tokenizers==0.23.3
PYTHONPATH=tests:tests/parity python tests/parity/record_tokens.py
"""

import json
from pathlib import Path

import tokenizer_cases
from tokenizers import Tokenizer


def record():
    """Return the vocabulary, and of each case the ids of every text and the text of these ids."""
    pieces = tokenizer_cases.vocabulary()
    cases = {}
    for case in tokenizer_cases.CASES:
        tokenizer = Tokenizer.from_str(json.dumps(tokenizer_cases.tokenizer_json(case, pieces)))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in tokenizer_cases.TEXTS]
        cases[case] = {"ids": ids, "texts": [tokenizer.decode(row, skip_special_tokens=False) for row in ids]}
    return {"pieces": pieces, "cases": cases}


if __name__ == "__main__":
    path = Path(__file__).parent / "recorded" / "tokens.json"
    path.write_text(json.dumps(record(), ensure_ascii=False, indent=None) + "\n", encoding="utf-8")
