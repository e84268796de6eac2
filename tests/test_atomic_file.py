"""Whole files or nothing: what a reader may find, and which error says that a file could not be written."""

import os

import pytest

from softprompt_tf.errors import PromptFileError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically

ERROR_TYPES = (PromptFileError, TrainingError)


def test_missing_directories_are_made_and_the_path_is_returned(tmp_path):
    path = write_atomically(tmp_path / "new" / "folder" / "file.bin", b"\x00whole", error_type=TrainingError)

    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == b"\x00whole"
    assert [item.name for item in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_a_failed_write_is_the_callers_error_and_keeps_the_old_file(error_type, tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file.bin", b"old", error_type=error_type)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(
            error_type, match=r"^File .*file\.bin cannot be written\. Received: .*No space left"
        ) as info:
            write_atomically(path, b"new", error_type=error_type)

    assert isinstance(info.value.__cause__, OSError)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file.bin"]


def test_a_path_below_a_file_is_the_callers_error(tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")

    with pytest.raises(TrainingError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below.bin", b"new", error_type=TrainingError)


def test_the_temporary_name_is_hidden_and_told_by_the_files_own(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(os, "replace", lambda source, target: names.append(source.name))

    write_atomically(tmp_path / "file.bin", b"new", error_type=TrainingError)

    assert names[0].startswith(".file.bin.")
    assert names[0].endswith(".tmp")
