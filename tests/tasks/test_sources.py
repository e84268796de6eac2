"""Sources: each form of data becomes rows with a place, and damaged data is named by file and line."""

import gzip
import json
import lzma

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Row, read_rows, sources


def values(rows):
    return [dict(row.values) for row in rows]


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# === Files ===


def test_tsv_keeps_quotes_and_spaces_as_they_are(tmp_path):
    path = written(tmp_path / "train.tsv", 'sentence\tlabel\n"quoted \t0\n a "b\t1\n')

    rows = read_rows(path)

    assert values(rows) == [{"sentence": '"quoted ', "label": "0"}, {"sentence": ' a "b', "label": "1"}]
    assert [row.location for row in rows] == [f"{path}:2", f"{path}:3"]


def test_csv_fields_may_hold_commas_quotes_and_line_ends(tmp_path):
    path = written(tmp_path / "a.csv", 'text,label\r\n"a, ""b""\nc",0\r\n\r\nd,1\r\n')

    rows = read_rows(path)

    assert values(rows) == [{"text": 'a, "b"\nc', "label": "0"}, {"text": "d", "label": "1"}]
    assert [row.location for row in rows] == [f"{path}:2", f"{path}:5"]


def test_columns_name_the_fields_of_a_file_without_header(tmp_path):
    path = written(tmp_path / "a.csv", '"3","title","text"\n')

    assert values(read_rows(path, columns=["label", "title", "text"])) == [
        {"label": "3", "title": "title", "text": "text"}
    ]


def test_csv_field_may_be_longer_than_the_module_allows(tmp_path):
    path = written(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n")

    assert len(read_rows(path)[0].values["text"]) == 200_000


@pytest.mark.parametrize("suffix", [".jsonl", ".json-lines"])
def test_json_lines_keep_their_types_and_skip_blank_lines(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}", '{"text": "é\\u0000", "label": true}\n\n{"text": 1.5, "label": null}\n')

    rows = read_rows(path)

    assert values(rows) == [{"text": "é\0", "label": True}, {"text": 1.5, "label": None}]
    assert rows[1].location == f"{path}:3"


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files_read_like_plain_ones(tmp_path, suffix, compress):
    path = written(tmp_path / f"a.tsv{suffix}", compress(b"x\ty\n1\t2\n"))

    assert values(read_rows(path)) == [{"x": "1", "y": "2"}]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = written(tmp_path / "a.tsv", b"\xef\xbb\xbfx\ty\n1\t2\n")

    assert values(read_rows(path)) == [{"x": "1", "y": "2"}]


def test_limit_stops_before_damaged_lines(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"x": 1}\n{"x": 2}\nbroken\n')

    assert values(read_rows(path, limit=2)) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(("part", "numbers"), [("[:2]", [0, 1]), ("[3:]", [3, 4]), ("[1:3]", [1, 2])])
def test_slice_behind_a_file_name_takes_a_part_of_its_rows(tmp_path, part, numbers):
    path = written(tmp_path / "a.jsonl", "".join(json.dumps({"x": number}) + "\n" for number in range(5)))

    assert [row.values["x"] for row in read_rows(f"{path}{part}")] == numbers


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"x": 1}\n{"x": \n', r"a.jsonl:2: must be one JSON object. Received: '{\"x\":' \("),
        ("a.jsonl", "[" * 100_000, r"a.jsonl:1: must be one JSON object. Received: '\[\[.*maximum recursion"),
        ("a.jsonl", "[1]\n", r"a.jsonl:1: must be one JSON object. Received: '\[1\]'"),
        ("a.tsv", "x\ty\n1\t2\n1\n", r"a.tsv:3: must have 2 columns \(x, y\). Received: 1."),
        ("a.csv", "x,y\n1,2,3\n", r"a.csv:2: must have 2 columns \(x, y\). Received: 3. Put a text with a comma in"),
        (
            "a.csv",
            "x;y\n1;2, 3\n",
            r"a.csv:2: must have 1 column \(x;y\). Received: 2. The columns .* separated by `;`",
        ),
        ("a.csv", 'x\n1\n"open\nends never\n', r"a.csv:3: malformed CSV record \(unexpected end of data\)"),
        ("a.csv", "x\rgut\r", "a.csv:1: a line must end as on Linux or Windows. Received: a carriage return alone"),
        ("a.tsv", "x\tx\n1\t2\n", "a.tsv:1: the header must name every column once. Received: `x` twice"),
        ("a.tsv", b"x\n\xff\n", r"a.tsv:2: must be UTF-8 text \(invalid start byte at byte 0\)"),
        ("a.csv", b"x\nok\nb\xff\n", "a.csv:3: must be UTF-8 text .*Save the file as UTF-8"),
        ("a.tsv", "", "a.tsv: holds no rows"),
        ("a.tsv", "x\ty\n", "a.tsv: holds no rows"),
        ("a.tsv.gz", "not compressed", "a.tsv.gz: cannot be decompressed"),
        ("a.tsv.xz", lzma.compress(b"x\n" * 1000)[:-20], "a.tsv.xz: cannot be decompressed"),
        ("a.tsv.gz", gzip.compress(b"x\n" * 1000)[:-9], "a.tsv.gz: cannot be decompressed"),
        ("a.xlsx", "x", r"a.xlsx: a file must be one of .jsonl, .json-lines, .json, .csv, .tsv, .txt, .parquet, also"),
        ("a.parquet.gz", "x", "a.parquet.gz: a file must be one of .*.parquet without"),
        ("a.parquet", "x", "a.parquet: must be a whole Parquet file. Received: Parquet file size is 1 bytes"),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,
)
def test_damaged_files_name_file_and_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_rows(written(tmp_path / name, content))


def test_missing_file_names_the_nearest_one(tmp_path):
    written(tmp_path / "train.tsv", "x\n1\n")

    with pytest.raises(DataError, match=r"No such file: .*trian.tsv. Did you mean `train.tsv`\?"):
        read_rows(tmp_path / "trian.tsv")


def test_missing_directory_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="Its directory does not exist either"):
        read_rows(tmp_path / "data" / "train.tsv")


def test_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="must be a file. Received: a directory"):
        read_rows(tmp_path)


# === Memory ===


def test_mappings_become_rows_numbered_from_one():
    rows = read_rows([{"x": 1}, {"x": 2}])

    assert values(rows) == [{"x": 1}, {"x": 2}]
    assert [row.location for row in rows] == ["row 1", "row 2"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([{"x": 1}, "text"], "row 2: must be a mapping of fields. Received: str"),
        ([], "The source in memory: holds no rows"),
        (3, "Received: int"),
    ],
)
def test_wrong_memory_sources_are_refused(source, message):
    with pytest.raises(DataError, match=message):
        read_rows(source)


def test_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="`limit` must be a whole number above 0. Received: 0"):
        read_rows([{"x": 1}], limit=0)


# === Files of public data sets ===


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "columns", "count", "fields"),
    [
        ("glue/sst2/train.tsv", None, 67_349, ["sentence", "label"]),
        ("glue/rte/validation.tsv", None, 277, ["index", "sentence1", "sentence2", "label"]),
        ("topic/ag_news/test_original.csv", ["label", "title", "text"], 7_600, ["label", "title", "text"]),
        ("topic/trec/test.jsonl", None, 500, ["text", "label-coarse", "label-fine"]),
        ("superglue/boolq/validation.jsonl", None, 3_270, ["question", "passage", "idx", "label"]),
    ],
)
def test_public_files_have_the_rows_that_their_authors_state(shared_data, name, columns, count, fields):
    rows = read_rows(shared_data / name, columns=columns)

    assert len(rows) == count
    assert list(rows[0].values) == fields


# === JSON documents ===


@pytest.mark.parametrize("document", ['[{"a": 1}, {"a": 2}]', '{"version": "1.1", "data": [{"a": 1}, {"a": 2}]}'])
def test_a_json_document_is_a_list_of_rows_or_has_one_under_data(tmp_path, document):
    path = written(tmp_path / "dev.json", f"\n{document}\n")

    rows = read_rows(path)

    assert values(rows) == [{"a": 1}, {"a": 2}]
    assert [row.location for row in rows] == [f"{path}, object 1", f"{path}, object 2"]
    assert values(read_rows(f"{path}[1:]")) == [{"a": 2}]


def test_a_json_document_may_be_compressed(tmp_path):
    path = written(tmp_path / "dev.json.gz", gzip.compress(b'[{"a": "\xc3\xa9"}]'))

    assert values(read_rows(path)) == [{"a": "é"}]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            '{"data": 3}',
            "dev.json: must be a list of objects, or an object with one under `data`. Received: '{\"data\": 3}'",
        ),
        ('[{"a": 1}, 2]', "must be a list of objects"),
        ("[" * 100_000, r"dev.json: must be one JSON document. Received: .*maximum recursion"),
        ('{"a": 1}\n{"a": 2}', r"dev.json: must be one JSON document. Received: .* \(Extra data: line 2"),
        ("[]", "dev.json: holds no rows"),
    ],
)
def test_other_json_documents_are_refused(tmp_path, document, message):
    with pytest.raises(DataError, match=message):
        read_rows(written(tmp_path / "dev.json", document))


# === Lines of text, Parquet, and what is neither a file nor a TFDS name ===


def test_each_line_of_a_text_file_is_a_row(tmp_path):
    path = written(tmp_path / "a.txt", 'one line\n\n  and, "another"\t\r\n \nlast')

    rows = read_rows(path)

    assert values(rows) == [{"text": "one line"}, {"text": '  and, "another"\t'}, {"text": "last"}]
    assert [row.location for row in rows] == [f"{path}:1", f"{path}:3", f"{path}:5"]
    assert values(read_rows(f"{path}[1:2]", columns=["sentence"])) == [{"sentence": '  and, "another"\t'}]


def test_a_packed_text_file_is_read(tmp_path):
    path = written(tmp_path / "a.txt.gz", gzip.compress("é\n".encode()))

    assert values(read_rows(path)) == [{"text": "é"}]


def test_a_text_file_has_one_column(tmp_path):
    with pytest.raises(DataError, match="a .txt file has one column. Received: columns a, b"):
        read_rows(written(tmp_path / "a.txt", "x"), columns=["a", "b"])


def test_parquet_rows_are_plain_python_values(tmp_path):
    import pyarrow
    import pyarrow.parquet

    columns = {
        "text": ["a", "é"],
        "label": [0, None],
        "raw": [b"b", None],
        "answers": [["x", "y"], []],
        "at": [{"n": 1.5}] * 2,
    }
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)

    rows = read_rows(path)

    first = {"text": "a", "label": 0, "raw": "b", "answers": ["x", "y"], "at": {"n": 1.5}}
    assert values(rows) == [first, {"text": "é", "label": None, "raw": None, "answers": [], "at": {"n": 1.5}}]
    assert rows[1].location == f"{path}, row 2"
    assert values(read_rows(f"{path}[1:]"))[0]["text"] == "é"


def test_a_binary_value_of_a_parquet_file_must_be_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"raw": [b"a", b"\xff"]}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match="a.parquet, row 2: field `raw` must be UTF-8 text"):
        read_rows(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows.txt", "No such file: rows.txt."),
        ("data/rows.parquet", "No such file: data/rows.parquet. Its directory does not exist"),
        ("rows.xlsx", "rows.xlsx: a file must be one of"),
        ("data/rows.arrow", "data/rows.arrow: a file must be one of"),
        ("data/of/rows", "data/of/rows: a file must be one of"),
        (
            "s3://bucket/train.tsv",
            "must be a local file or a TFDS name. Received: s3://bucket/train.tsv. Fetch it first.",
        ),
        ("https://host/rows.jsonl", "must be a local file or a TFDS name. Received: https://host/rows.jsonl"),
    ],
)
def test_a_name_that_can_only_be_a_file_is_not_called_a_tfds_name(name, message, monkeypatch):
    monkeypatch.setattr(sources, "tfds_rows", lambda *arguments, **keywords: pytest.fail("it asks TFDS"))

    with pytest.raises(DataError, match=message):
        read_rows(name, split="train")


@pytest.mark.parametrize(
    "name",
    ["super_glue/boolq", "wikipedia/20230601.en", "c4/en:3.0.1", "glue:2.0.0", "ag_news_subset@train[:9%]", "imdb"],
)
def test_a_name_of_tfds_is_asked_of_tfds(name, monkeypatch):
    monkeypatch.setattr(sources, "tfds_rows", lambda asked, *, split: iter([Row({"name": asked}, "row 1")]))

    assert values(read_rows(name)) == [{"name": name}]
