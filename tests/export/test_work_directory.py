"""The answers of a job are put together whole, at the place that was named, or stay in its work directory."""

import os

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.export import answer_files
from softprompt_tf.export.bulk.work_directory import WorkDirectory, put
from softprompt_tf.export.bulk.worker_signals import WorkerSignals


@pytest.fixture
def work(tmp_path):
    work = WorkDirectory(tmp_path / "out.work")
    work.write_part(0, rows=b"first\n", bad=b"")
    work.write_part(1, rows=b"second\n", bad=b"bad\n")
    return work


def full(*arguments):
    raise OSError(28, "No space left on device")


def test_on_a_full_disk_the_answers_stay(work, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(
        DataError, match=r"out.work must fit .* second time.* Received: No space left on device\. .*Make room"
    ):
        work.assemble(2, header=b"", is_packed=False)

    assert work.finished() == {0, 1}
    assert not (work.path / "assembled").exists()


def test_an_output_that_cannot_be_put_there_is_told(work, tmp_path, monkeypatch):
    rows, _, _ = work.assemble(2, header=b"", is_packed=False)
    monkeypatch.setattr(os, "replace", full)

    with pytest.raises(DataError, match=r"out.work cannot be put at .*/out: No space left on device\.$"):
        put(rows, tmp_path / "out", replace=False)


@pytest.mark.parametrize("is_there", [False, True])
def test_an_output_that_is_a_link_stays_one(work, tmp_path, is_there):
    rows, _, num_bad = work.assemble(2, header=b"top\n", is_packed=False)
    (tmp_path / "out").symlink_to("store/answers")
    if is_there:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "answers").write_bytes(b"old")

    put(rows, tmp_path / "out", replace=True)

    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "store" / "answers").read_bytes() == b"top\nfirst\nsecond\n"
    assert num_bad == 1


def test_an_error_that_cannot_be_kept_is_raised_itself(tmp_path):
    signals = WorkerSignals(str(tmp_path / "file" / "below"), "run")
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(DataError, match="the part"), signals.failures_told():
        raise DataError("the part")


@pytest.mark.parametrize(("length", "behind"), [(251, ".work"), (247, ".bad.jsonl")])
def test_a_name_that_is_too_long_for_the_files_beside_it_is_told_at_once(tmp_path, length, behind):
    output = tmp_path / ("n" * length)

    with pytest.raises(ConfigError, match=rf"nn{behind}: File name too long"):
        answer_files(tmp_path / "export", tmp_path / "rows.jsonl", output)
