"""How well do pretrained T5s foretell a held-out text, beside n-grams? A text in, bits per byte of each as JSON and Markdown out.

    python benchmarks/bits_per_byte.py --text wikitext2.txt.xz --train gutenberg.txt.xz --train wikipedia.txt.xz \
        mini runs/large/preset --output runs/bits_per_byte [--max-documents 60] [--seed 1]

Every line of FILE that is long enough is a document; `--max-documents` draws some. A backbone is measured as
`softprompt_tf.pretraining.bits_per_byte` says. The n-gram model sees the same pieces of the same windows, and foretells the
same targets from the tokens before each, those of the given half too. It is trained on the training split of the `--train`
files, which is what pretraining on them sees; without `--train` no n-grams are measured. They are tokengrams'
(`pip install tokengrams`): exact counts in a suffix array; all orders interpolated by absolute discounting (Ney, Essen and
Kneser 1994), the discount of each order from its counts of counts. Lower orders use plain counts, so it is a little weaker
than Kneser-Ney proper. A query takes tens of milliseconds, so draw documents; RAYON_NUM_THREADS sets its threads. Texts of
the WikiText kind are measured as they are, with their marks; `--join-marks` undoes the plainest: " @-@ " becomes "-", and
spaces in front of punctuation go.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import sentencepiece
import tokengrams

from softprompt_tf.backbones import load_t5
from softprompt_tf.pretraining.batches import EOS_ID
from softprompt_tf.pretraining.bits_per_byte import BitsPerByte, Window, cut_windows, measure_windows
from softprompt_tf.pretraining.corpus import draw_documents, load_corpora, read_documents

QUERIES_AT_ONCE = 64
MARKS = ((r" @([-,.])@ ", r"\1"), (r" ([,.;:!?%)\]]|'s\b|n't\b)", r"\1"), (r"([(\[$]) ", r"\1"))


@dataclass(frozen=True)
class Row:
    """One line of the table: who foretold, what it was trained on, the figures, and the seconds of measuring."""

    model: str
    trained_on: str
    result: BitsPerByte
    seconds: float


def main() -> None:
    """Measure every backbone, and an n-gram model for every vocabulary; write the table."""
    arguments = _parse_arguments()
    if arguments.max_documents is None:
        documents = list(read_documents(arguments.text))
    else:
        documents = draw_documents(arguments.text, arguments.max_documents, seed=arguments.seed)
    if arguments.join_marks:
        documents = [join_marks(document) for document in documents]
    rows: list[Row] = []
    vocabularies: set[bytes] = set()
    for source in arguments.backbones:
        t5 = load_t5(source)
        tokenizer = sentencepiece.SentencePieceProcessor(model_proto=t5.tokenizer.proto)
        windows = cut_windows(documents, tokenizer, window=arguments.window)
        start = time.monotonic()
        result = measure_windows(t5.backbone, tokenizer, windows)
        rows.append(Row(str(source), "see the model's own page", result, time.monotonic() - start))
        print(rows[-1], flush=True)
        if arguments.train and t5.tokenizer.proto not in vocabularies:
            vocabularies.add(t5.tokenizer.proto)
            rows.append(_measure_ngrams(arguments, tokenizer, windows, name=str(source)))
            print(rows[-1], flush=True)
    _write(arguments, rows, len(documents))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "backbones", nargs="+", help="what `load_t5` takes: a bundled name, a preset directory, a preset"
    )
    parser.add_argument("--text", required=True, type=Path, help="the held-out text; plain, .gz or .xz")
    parser.add_argument("--train", default=[], action="append", type=Path, help="a file that the n-grams learn from")
    parser.add_argument("--output", required=True, type=Path, help="directory of bits_per_byte.json and .md")
    parser.add_argument("--max-documents", type=int, help="how many documents are drawn; default: all")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--window", type=int, default=128, help="tokens")
    parser.add_argument("--order", type=int, default=4, choices=(3, 4, 5), help="of the n-grams")
    parser.add_argument("--join-marks", action="store_true", help="undo WikiText's plainest marks first")
    return parser.parse_args()


def join_marks(text: str) -> str:
    """Undo the plainest marks of WikiText's tokenization; quotation marks stay apart."""
    for pattern, replacement in MARKS:
        text = re.sub(pattern, replacement, text)
    return text


# === The n-grams ===


def _measure_ngrams(
    arguments: argparse.Namespace,
    tokenizer: sentencepiece.SentencePieceProcessor,
    windows: Sequence[Window],
    *,
    name: str,
) -> Row:
    start = time.monotonic()
    train, _ = load_corpora([("text", path) for path in arguments.train])
    with tempfile.TemporaryDirectory() as directory:
        stream = Path(directory) / "tokens.u16"
        num_tokens = _write_stream(stream, (text for kind in train.documents for text in kind), tokenizer)
        index = tokengrams.InMemoryIndex.from_token_file(str(stream), None, tokenizer.get_piece_size())
    index.estimate_deltas(arguments.order)
    print(f"{num_tokens:,} tokens indexed in {time.monotonic() - start:.0f} s", flush=True)
    nats = _ngram_nats(index, windows, arguments.order)
    total = BitsPerByte.of(
        nats,
        num_tokens=sum(len(window.targets) for window in windows),
        num_bytes=sum(window.num_bytes for window in windows),
    )
    label = f"{arguments.order}-grams, pieces of {name}"
    return Row(
        label, f"{num_tokens / 1e6:.1f} M tokens, {train.num_documents:,} documents", total, time.monotonic() - start
    )


def _write_stream(path: Path, texts: Iterable[str], tokenizer: sentencepiece.SentencePieceProcessor) -> int:
    """Write the tokens of all texts, each behind an end of sequence, as 16-bit numbers; return how many there are.

    At the end every piece stands once more on its own, so that none that the texts lack is impossible.
    """
    num_pieces = tokenizer.get_piece_size()
    if num_pieces > 1 << 16:
        raise SystemExit(f"The n-grams take vocabularies of up to 65,536 pieces. Received: {num_pieces}.")
    count = 0
    with path.open("wb") as stream:
        texts = iter(texts)
        while some := list(islice(texts, 1000)):
            ids = np.array([i for row in tokenizer.encode(some) for i in (EOS_ID, *row)], np.uint16)
            count += len(ids)
            ids.tofile(stream)
        alone = np.full(2 * num_pieces, EOS_ID, np.uint16)
        alone[1::2] = np.arange(num_pieces)
        alone.tofile(stream)
    return count


def _ngram_nats(index: tokengrams.InMemoryIndex, windows: Sequence[Window], order: int) -> float:
    """Return the nats of all targets, each foretold from the `order` - 1 tokens before it."""
    queries: list[list[int]] = []
    targets: list[int] = []
    for window in windows:
        ids = [*window.context, *window.targets]
        for place in range(len(window.context), len(ids)):
            queries.append(ids[place - order + 1 : place])
            targets.append(ids[place])
    nats = 0.0
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = slice(start, start + QUERIES_AT_ONCE)
        probabilities = np.array(index.batch_get_smoothed_probs(queries[some]))  # [queries, V]
        nats -= float(np.log(probabilities[np.arange(len(probabilities)), targets[some]]).sum())
    return nats


# === The table ===


def _write(arguments: argparse.Namespace, rows: Sequence[Row], num_documents: int) -> None:
    settings = {
        "text": arguments.text.name,
        "num_documents": num_documents,
        "window": arguments.window,
        "seed": arguments.seed,
        "join_marks": arguments.join_marks,
        "train": [path.name for path in arguments.train],
    }
    marks = ", marks joined" if arguments.join_marks else ""
    lines = [
        f"Bits per byte on {num_documents:,} documents of {arguments.text.name}{marks}; windows of {arguments.window} tokens, "
        "of which the second half is foretold.",
        "",
        "| model | trained on | bits per byte | nats per token | tokens | bytes | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        result = row.result
        lines.append(
            f"| {row.model} | {row.trained_on} | {result.bits_per_byte:.3f} | {result.nats_per_token:.3f} "
            f"| {result.num_tokens:,} | {result.num_bytes:,} | {row.seconds:.0f} |"
        )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "bits_per_byte.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = json.dumps({"settings": settings, "rows": [asdict(row) for row in rows]}, indent=2)
    (arguments.output / "bits_per_byte.json").write_text(content + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
