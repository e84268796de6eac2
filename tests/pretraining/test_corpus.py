"""Reading corpora: the three file formats, which lines are documents, and which of them are held out."""

import gzip
import lzma

import pytest

from softprompt_tf.errors import DataError
from softprompt_tf.pretraining.corpus import draw_documents, load_corpora, read_documents

# 80 characters are the least that a document has.
ENOUGH, TOO_LITTLE = "é" * 80, "é" * 79
OPENERS = {"text.txt": open, "text.txt.gz": gzip.open, "text.txt.xz": lzma.open}


def write_numbered(path, count):
    path.write_text("".join(f"{number:04d} {ENOUGH}\n" for number in range(1, count + 1)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", OPENERS)
def test_plain_and_packed_files_hold_the_same_documents(name, tmp_path):
    with OPENERS[name](tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(f"\ufeff  {ENOUGH}  \n\n{TOO_LITTLE}\n{ENOUGH} last line without an end")

    documents = list(read_documents(tmp_path / name))

    assert documents == [ENOUGH, f"{ENOUGH} last line without an end"]


def test_every_200th_document_of_a_file_is_held_out(tmp_path):
    books = write_numbered(tmp_path / "books.txt", 401)
    articles = write_numbered(tmp_path / "articles.txt", 199)

    train, held_out = load_corpora([("book", books), ("article", str(articles))])

    assert train.kinds == ("book", "article")
    assert [len(documents) for documents in train.documents] == [399, 199]
    assert train.num_documents == 598
    assert held_out.kinds == ("book",)  # the articles are too few
    assert [document[:4] for document in held_out.documents[0]] == ["0200", "0400"]


def test_files_of_one_kind_are_joined(tmp_path):
    first, second = write_numbered(tmp_path / "a.txt", 3), write_numbered(tmp_path / "b.txt", 2)

    train, held_out = load_corpora([("book", first), ("book", second)])

    assert train.kinds == ("book",)
    assert [document[:4] for document in train.documents[0]] == ["0001", "0002", "0003", "0001", "0002"]
    assert held_out.num_documents == 0


def test_drawn_documents_are_some_of_the_text_the_same_ones_for_a_seed(tmp_path):
    text = write_numbered(tmp_path / "text.txt", 60)

    drawn, again, other = (draw_documents(text, 20, seed=seed) for seed in (1, 1, 2))

    assert len(set(drawn)) == len(drawn) == 20
    assert set(drawn) < set(read_documents(text))
    assert again == drawn
    assert set(other) != set(drawn)


def test_more_documents_than_there_are_draws_all(tmp_path):
    text = write_numbered(tmp_path / "text.txt", 5)

    assert sorted(draw_documents(text, 20)) == list(read_documents(text))


def test_drawing_no_document_is_refused(tmp_path):
    text = write_numbered(tmp_path / "text.txt", 5)

    with pytest.raises(DataError, match=r"At least 1 document must be drawn\. Received: 0\."):
        draw_documents(text, 0)


def test_drawing_from_a_text_without_documents_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text(f"{TOO_LITTLE}\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"must have a line of 80 characters or more\. Received: .*short\.txt"):
        draw_documents(tmp_path / "short.txt", 3)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"A corpus file must exist\. Received: .*missing\.txt\.xz"):
        load_corpora([("book", tmp_path / "missing.txt.xz")])


def test_file_of_short_lines_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text(f"{TOO_LITTLE}\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"lines of at least 80 characters\. Received: .*short\.txt"):
        load_corpora([("book", tmp_path / "short.txt")])


def test_bytes_of_a_dataset_that_are_no_text_are_told():
    class Data:
        def as_numpy_iterator(self):
            return iter([ENOUGH.encode(), {"text": "größe".encode("latin1")}])

    documents = read_documents(Data())

    assert next(documents) == ENOUGH
    with pytest.raises(DataError, match=r"row 2: field `text` must be UTF-8 text \(invalid start byte at byte 2\)"):
        next(documents)
