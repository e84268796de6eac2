"""Whole files or nothing: what a reader may find, and which error says that a file could not be written."""

import os

import pytest

from softprompt_tf.errors import PromptFileError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically, write_together
from softprompt_tf.files.new_directory import new_directory

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


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127], ids=["bytes", "characters of two bytes"])
def test_a_name_may_be_as_long_as_the_file_system_takes(name, tmp_path):
    assert write_atomically(tmp_path / name, b"new", error_type=TrainingError).read_bytes() == b"new"
    with new_directory(tmp_path / "below" / name, error_type=TrainingError) as staging:
        (staging / "file").touch()

    assert [item.name for item in (tmp_path / "below" / name).iterdir()] == ["file"]


def test_the_file_that_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "file.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("store/file.bin")

    write_atomically(tmp_path / "link.bin", b"new", error_type=TrainingError)

    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "store" / "file.bin").read_bytes() == b"new"


def test_a_path_with_a_nul_character_is_the_callers_error(tmp_path):
    with pytest.raises(TrainingError, match="must have no NUL character. Received: '.*a.x00b'"):
        write_atomically(tmp_path / "a\0b", b"new", error_type=TrainingError)


@pytest.mark.parametrize("number", [0, 1])
def test_of_files_that_belong_together_all_are_written_or_none(number, tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("weights", "config")]
    write_together(dict.fromkeys(paths, b"old"), error_type=TrainingError)
    synced = []

    def fail(descriptor):
        synced.append(descriptor)
        if len(synced) > number:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="No space left.* is kept"):
        patch.setattr(os, "fsync", fail)
        write_together(dict.fromkeys(paths, b"new"), error_type=TrainingError)

    assert [path.read_bytes() for path in paths] == [b"old", b"old"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
