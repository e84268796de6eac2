"""Files are cut into records and chunks: a damaged record takes no other with it, and a chunk read alone has the same rows."""

import gzip
import io
from pathlib import Path

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.export.bulk.chunks import cut, input_paths, open_inputs
from softprompt_tf.export.bulk.file_formats import format_of
from softprompt_tf.export.bulk.records import csv_records, framed, json_records, tfrecords

# The record b"abc" as TensorFlow's own writer has it: tf.io.TFRecordWriter.
ABC = bytes.fromhex("0300000000000000b099490e6162636e57f121")


def csv_rows(content, columns=("a", "b")):
    return [
        (record.line, list(record.values) or record.problem) for record in csv_records(io.BytesIO(content), columns)
    ]


def cut_file(path, *, chunk_rows, **options):
    files = open_inputs([path], None, unpack_into=path.parent, **options)
    return [chunk for chunk, _ in cut(files, chunk_rows=chunk_rows)]


def test_blank_lines_are_no_rows():
    records = list(json_records(io.BytesIO(b"\xef\xbb\xbf{}\n\n  \r\n[1]\r\n{")))

    assert [(record.line, record.content) for record in records] == [(1, b"{}"), (4, b"[1]"), (5, b"{")]


def test_a_csv_record_may_have_several_lines():
    assert csv_rows(b'1,"x\ny"\n\n"a ""b""",2') == [(1, ["1", "x\ny"]), (4, ['a "b"', "2"])]


def test_a_stray_quote_takes_no_other_line():
    rows = csv_rows(b'1,2\n3,"4\n5,6\n7,"8"\n9,10\n')

    assert [line for line, _ in rows] == [1, 2, 3, 4, 5]
    assert "well-formed CSV" in rows[1][1]
    assert [values for _, values in rows[2:]] == [["5", "6"], ["7", "8"], ["9", "10"]]


def test_a_quote_that_is_never_closed_takes_no_other_line():
    rows = csv_rows(b'1,"2\n3,4\n5,6')

    assert [values for _, values in rows[1:]] == [["3", "4"], ["5", "6"]]


def test_a_record_of_another_width_is_bad():
    assert csv_rows(b"1,2,3\n4,5")[0] == (1, "Must have 2 columns (a, b). Received: 3.")


def test_a_record_is_framed_as_tensorflow_does_it():
    assert framed(b"abc") == ABC


def test_a_tfrecord_with_damaged_bytes_is_bad_and_alone():
    damaged = bytearray(ABC)
    damaged[12] ^= 1

    records = list(tfrecords(io.BytesIO(ABC + damaged + ABC), "x"))

    assert [(record.line, bool(record.problem)) for record in records] == [(1, False), (2, True), (3, False)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ABC[:-1], "ends within record 1"),
        (ABC[:9], "ends within record 1"),
        (b"\1" + ABC[1:], "length of record 1 is damaged"),
    ],
    ids=["body", "head", "length"],
)
def test_a_damaged_tfrecord_file_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        list(tfrecords(io.BytesIO(content), "x"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", b'\n{"a": 1}\n\nnonsense\n{"a": 2}\n\n{"a": 3}'),
        ("rows.csv", b'\xef\xbb\xbfa,b\n\n1,"x\ny"\n2,"\n3,z,\n4,"5"\n6,7\n\n'),
        ("rows.tfrecord", ABC * 5),
    ],
    ids=["jsonl", "csv", "tfrecord"],
)
@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_a_chunk_read_alone_has_the_rows_of_the_file(tmp_path, name, content, chunk_rows):
    path = tmp_path / name
    path.write_bytes(content)
    files = open_inputs([path], None, unpack_into=tmp_path)

    for number, (chunk, records) in enumerate(cut(files, chunk_rows=chunk_rows)):
        assert (chunk.number, chunk.num_rows, chunk.records()) == (number, len(records), records)


def test_rows_are_numbered_over_all_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_bytes(b"x\n1\n2\n3\n")

    files = open_inputs(input_paths(tmp_path / "*.csv"), None, unpack_into=tmp_path)

    chunks = [chunk for chunk, _ in cut(files, chunk_rows=2)]
    assert [(chunk.first_row, chunk.num_rows, chunk.line) for chunk in chunks] == [
        (1, 2, 2),
        (3, 1, 4),
        (4, 2, 2),
        (6, 1, 4),
    ]


def test_a_packed_file_has_the_chunks_of_a_plain_one(tmp_path):
    content = b'{"a": 1}\n' * 3
    (tmp_path / "rows.jsonl").write_bytes(content)
    with gzip.open(tmp_path / "rows.jsonl.gz", "wb") as file:
        file.write(content)

    plain, packed = (cut_file(tmp_path / name, chunk_rows=2) for name in ("rows.jsonl", "rows.jsonl.gz"))

    assert [chunk.digest for chunk in plain] == [chunk.digest for chunk in packed]
    assert plain[1].records() == packed[1].records()


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path):
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])

    with pytest.raises(DataError, match="cannot be decompressed"):
        cut_file(tmp_path / "rows.jsonl.gz", chunk_rows=2)


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    first, second = cut_file(path, chunk_rows=1)
    path.write_bytes(b'{"a": 1}\n{"a": 3}\n')

    assert len(first.records()) == 1
    with pytest.raises(DataError, match="must not change while its rows are answered"):
        second.records()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "must begin with a header"), (b"a,a\n", "every column once"), (b"a,\xff\n", "must be UTF-8")],
    ids=["empty", "twice", "bytes"],
)
def test_a_csv_file_needs_a_header(tmp_path, content, message):
    (tmp_path / "rows.csv").write_bytes(content)

    with pytest.raises(DataError, match=message):
        cut_file(tmp_path / "rows.csv", chunk_rows=1)


def test_a_name_says_the_format():
    assert format_of(Path("x.csv.gz"), None, option="--x") == ("csv", True)


def test_another_name_needs_the_format(tmp_path):
    with pytest.raises(ConfigError, match="Name the format with `--input-format`: jsonl, csv, tfrecord"):
        format_of(tmp_path / "rows.txt", None, option="--input-format")


def test_inputs_must_be_there(tmp_path):
    with pytest.raises(DataError, match="No file fits the pattern"):
        input_paths(tmp_path / "*.csv")
    with pytest.raises(DataError, match="Received: the directory"):
        input_paths(tmp_path)
