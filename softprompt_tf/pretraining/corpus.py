"""Text files in, documents out: plain, .gz or .xz files of one document a line, split into training and held-out ones.

A document is a paragraph block or an article. Every `HELD_OUT_EVERY`-th document of a file is kept for measuring and is
never trained on.
"""

import gzip
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from softprompt_tf.errors import DataError

HELD_OUT_EVERY = 200
MIN_CHARACTERS = 80


def open_text(path: str | Path) -> IO[str]:
    """Open a text file for reading as UTF-8; `.gz` and `.xz` are unpacked on the way.

    Raises:
      DataError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"A corpus file must exist. Received: {path}.")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def read_documents(path: str | Path) -> Iterator[str]:
    """Yield the documents of one file, one a line, leaving out those under `MIN_CHARACTERS` characters."""
    with open_text(path) as lines:
        for line in lines:
            document = line.strip()
            if len(document) >= MIN_CHARACTERS:
                yield document


@dataclass(frozen=True)
class Corpus:
    """The documents of several files, kept apart by the kind of text that each file holds.

    Args:
      kinds: the kind of each file, such as "book" or "article"; files of one kind are joined.
      documents: for each kind, its documents.
    """

    kinds: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]

    @property
    def num_documents(self) -> int:
        """How many documents there are, of all kinds together."""
        return sum(len(documents) for documents in self.documents)


def load_corpora(sources: Sequence[tuple[str, str | Path]]) -> tuple[Corpus, Corpus]:
    """Read `(kind, path)` pairs into a training corpus and a held-out corpus.

    A kind whose files hold fewer than `HELD_OUT_EVERY` documents each is not in the held-out corpus.

    Raises:
      DataError: if a file is missing or holds no document.
    """
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    for kind, path in sources:
        count = 0
        for count, document in enumerate(read_documents(path), start=1):
            target = held_out if count % HELD_OUT_EVERY == 0 else train
            target.setdefault(kind, []).append(document)
        if not count:
            raise DataError(f"A corpus file must hold lines of at least {MIN_CHARACTERS} characters. Received: {path}.")
    return _corpus(train), _corpus(held_out)


def _corpus(by_kind: dict[str, list[str]]) -> Corpus:
    return Corpus(kinds=tuple(by_kind), documents=tuple(tuple(documents) for documents in by_kind.values()))
