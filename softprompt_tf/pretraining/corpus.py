"""Read a corpus: files with one document per line, TFDS or tf.data, split into training and held-out documents.

Files are plain, .gz or .xz. A document is a paragraph block or an article. Every `HELD_OUT_EVERY`-th document of a source is
kept for measuring and is never trained on.
"""

import gzip
import itertools
import lzma
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from softprompt_tf.errors import DataError, first_line
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.pretraining.ranges import check_least

if TYPE_CHECKING:
    from softprompt_tf.tasks.rows import Row

HELD_OUT_EVERY = 200
MIN_CHARACTERS = 80

Source = str | Path | Iterable[Any]


def open_text(path: str | Path) -> IO[str]:
    """Open a text file for reading as UTF-8, without a byte order mark; `.gz` and `.xz` are unpacked on the way.

    Raises:
      DataError: if there is no such file.
    """
    path = local_source(path, error_type=DataError)
    if not path.is_file():
        raise DataError(f"A corpus file must exist. Received: {path}.")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")


def read_documents(source: Source) -> Iterator[str]:
    """Yield the documents of one source, leaving out those under `MIN_CHARACTERS` characters.

    Args:
      source: a text file of one document a line; or the name of a TFDS data set with its split, such as
        "wiki40b/en@train", and with its text's field where that is not `text`: "wiki40b/en@train#body"; or a
        `tf.data.Dataset` of strings or of dictionaries with a field `text`; or any iterable of strings.

    Raises:
      DataError: if there is no such source, or it has no such field.
    """
    for text in _texts(source):
        document = text.strip()
        if len(document) >= MIN_CHARACTERS:
            yield document


def check_source(source: str | None) -> None:
    """Refuse a text file that is not there, cannot be read, or holds no document; a TFDS name is left to `read_documents`.

    Raises:
      DataError: naming the file.
    """
    if source is None or _is_tfds_name(source):
        return
    if next(read_documents(source), None) is None:
        raise DataError(f"A corpus must hold lines of at least {MIN_CHARACTERS} characters. Received: {source}.")


def draw_documents(source: Source, count: int, *, seed: int = 1) -> list[str]:
    """Return `count` documents of a source, drawn without replacement; all of them, in a drawn order, if it has fewer.

    Args:
      source: what `read_documents` takes; all of it is read.
      count: how many, at least 1.
      seed: of the draw.

    Raises:
      DataError: if `count` is less than 1, there is no such source, or it holds no document.
    """
    if count < 1:
        raise DataError(f"At least 1 document must be drawn. Received: {count}.")
    documents = list(read_documents(source))
    if not documents:
        raise DataError(
            f"A text must have a line of {MIN_CHARACTERS} characters or more. Received: {source}, which has none."
        )
    return random.Random(seed).sample(documents, min(count, len(documents)))


def _texts(source: Source) -> Iterator[str]:
    if isinstance(source, str) and _is_tfds_name(source):
        from softprompt_tf.tasks.tensorflow_sources import tfds_rows  # of a package that the other sources do without

        name, _, field = source.partition("#")
        yield from _field_of(tfds_rows(name), field or "text", name)
    elif isinstance(source, str | Path):
        yield from text_lines(source)
    elif hasattr(source, "as_numpy_iterator"):
        from softprompt_tf.tasks.rows import text_of

        for number, element in enumerate(source.as_numpy_iterator(), start=1):
            value = element.get("text") if isinstance(element, dict) else element
            if not isinstance(value, bytes):
                raise DataError(
                    f"row {number}: must be a string, or a dictionary with a string `text`. Received: {type(value).__name__}."
                )
            yield text_of(value, "text", f"row {number}")
    else:
        yield from source


def _is_tfds_name(source: str) -> bool:
    return "@" in source and not Path(source).is_file()


def text_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a text file, each with its end.

    Raises:
      DataError: if there is no such file, or it is no UTF-8, or damaged; names the file.
    """
    try:
        with open_text(path) as lines:
            yield from lines
    except UnicodeDecodeError as error:
        raise DataError(f"A corpus file must be UTF-8 text. Received: {path} ({error.reason}).") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}.") from error


def _field_of(rows: "Iterable[Row]", field: str, name: str) -> Iterator[str]:
    for row in rows:
        text = row.values.get(field)
        if not isinstance(text, str):
            raise DataError(
                f"{row.location}: a document must be text. Received: field {field!r} of the fields {', '.join(row.values)}. "
                f"Name the field of the text: {name}#FIELD."
            )
        yield text


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


def load_corpora(sources: Sequence[tuple[str, Source]], *, max_documents: int | None = None) -> tuple[Corpus, Corpus]:
    """Read `(kind, source)` pairs into a training corpus and a held-out corpus, both in memory.

    A kind whose sources hold fewer than `HELD_OUT_EVERY` documents each is not in the held-out corpus.

    Args:
      sources: a kind and what `read_documents` takes, each.
      max_documents: of each source, only the first so many are read.

    Raises:
      ConfigError: if `max_documents` is less than 1.
      DataError: if a source is missing or holds no document.
    """
    if max_documents is not None:
        check_least(1, max_documents=max_documents)
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    for kind, source in sources:
        count = 0
        for count, document in enumerate(itertools.islice(read_documents(source), max_documents), start=1):
            target = held_out if count % HELD_OUT_EVERY == 0 else train
            target.setdefault(kind, []).append(document)
        if not count:
            raise DataError(f"A corpus must hold lines of at least {MIN_CHARACTERS} characters. Received: {source}.")
    return _corpus(train), _corpus(held_out)


def _corpus(by_kind: dict[str, list[str]]) -> Corpus:
    return Corpus(kinds=tuple(by_kind), documents=tuple(tuple(documents) for documents in by_kind.values()))
