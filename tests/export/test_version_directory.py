"""A version is staged where no server looks, leftovers of killed writers go, and a number is taken once."""

import os
import re
import stat
import time
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.export.versions.task_shards import link_or_copy
from softprompt_tf.export.versions.version_directory import publish, staged_version
from softprompt_tf.export.versions.version_numbers import check_version, find_versions, next_version


def age(directory, hours):
    then = time.time() - 3600 * hours
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (then, then))


def test_what_is_not_published_is_removed(tmp_path):
    with staged_version(tmp_path / "base") as staging:
        (staging / "file").write_text("half")
        assert staging.name.startswith(".writing-")

    assert list((tmp_path / "base").iterdir()) == []


def test_leftovers_older_than_an_hour_are_removed_and_younger_ones_stay(tmp_path):
    for name, hours in (("old", 2), ("young", 0.5)):
        (tmp_path / f".writing-{name}").mkdir()
        (tmp_path / f".writing-{name}" / "variables").write_text("half")
        age(tmp_path / f".writing-{name}", hours)
    (tmp_path / ".writing-busy").mkdir()
    age(tmp_path / ".writing-busy", 2)
    (tmp_path / ".writing-busy" / "variables").write_text("half")
    (tmp_path / "..writing-old.lock").write_text("process 1 on a machine")  # killed, so that nobody holds it

    with staged_version(tmp_path):
        pass

    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".writing-busy", ".writing-young"]


def test_locks_of_killed_writers_are_no_versions_and_stop_nobody(tmp_path):
    for name in (".publish.lock", "..writing-0.lock"):
        (tmp_path / name).touch()

    with staged_version(tmp_path) as staging:
        assert publish(staging, tmp_path / str(next_version(tmp_path)))

    assert list(find_versions(tmp_path)) == [1]


def test_a_disk_that_is_full_at_once_has_nothing_left_on_it(tmp_path, monkeypatch):
    def full(*parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ExportError, match="cannot be written: .*No space left"), staged_version(tmp_path):
        full()

    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_compared_for_hours_is_not_removed(tmp_path):
    with staged_version(tmp_path) as staging:
        (staging / "saved_model.pb").write_text("whole")
        age(staging, 2)
        with staged_version(tmp_path):
            pass

        assert publish(staging, tmp_path / "1")

    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_a_link_is_taken_over_as_the_file_that_it_leads_to(tmp_path):
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "blob").write_text("weights")
    (tmp_path / "store" / "deep" / "file").symlink_to("../../blob")
    (tmp_path / "other").mkdir()

    link_or_copy(tmp_path / "store" / "deep" / "file", tmp_path / "other" / "file")

    assert not (tmp_path / "other" / "file").is_symlink()
    assert (tmp_path / "other" / "file").samefile(tmp_path / "blob")


def test_a_number_is_taken_once(tmp_path):
    with staged_version(tmp_path) as first, staged_version(tmp_path) as second:
        for staging in (first, second):
            (staging / "saved_model.pb").write_text(staging.name)

        assert publish(first, tmp_path / "1")
        assert not publish(second, tmp_path / "1")

    assert (tmp_path / "1" / "saved_model.pb").read_text() == first.name


def test_a_writer_of_another_number_waits_for_the_move_and_no_longer_fits(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / ".publish.lock").write_text("process 1 on a machine")  # killed, so that nobody holds it

    def is_newest():
        return max(find_versions(tmp_path)) == 1

    with ThreadPoolExecutor() as pool, staged_version(tmp_path) as first, staged_version(tmp_path) as second:
        others = []

        def is_newest_until_the_other_comes():
            answer = is_newest()
            others.append(pool.submit(publish, second, tmp_path / "2", still_fits=is_newest))
            wait(others, timeout=0.2)
            return answer

        assert publish(first, tmp_path / "3", still_fits=is_newest_until_the_other_comes)
        assert not others[0].result()

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "3"]


def test_what_no_longer_fits_once_it_is_flushed_is_not_published(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    with staged_version(tmp_path) as staging:
        (staging / "file").write_text("of the version before")

        assert not publish(staging, tmp_path / "1", still_fits=lambda: not flushed)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("folder", "version"), [(0o775, 0o775), (0o700, 0o755)])
def test_a_version_is_open_to_all_and_to_a_group_that_may_write_in_it(folder, version, tmp_path):
    with staged_version(tmp_path) as staging:
        (staging / "variables").mkdir()
        (staging / "variables").chmod(folder)
        publish(staging, tmp_path / "1")

    assert (tmp_path / "1").stat().st_mode & 0o777 == version


def test_a_number_that_is_taken_in_the_last_moment_is_not_overwritten(tmp_path, monkeypatch):
    from softprompt_tf.export.versions import version_directory

    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("theirs")
    monkeypatch.setattr(version_directory.Path, "exists", lambda path: False)
    monkeypatch.setattr(version_directory.Path, "is_dir", lambda path: True)

    with staged_version(tmp_path) as staging:
        (staging / "saved_model.pb").write_text("ours")
        assert not publish(staging, tmp_path / "1")

    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


def test_versions_are_numbers(tmp_path):
    for name in ("10", "9", "notes", ".writing-1", "-1", "9" * 20):
        (tmp_path / name).mkdir()

    assert sorted(find_versions(tmp_path)) == [9, 10]
    assert next_version(tmp_path) == 11
    assert next_version(tmp_path / "nothing") == 1


@pytest.mark.parametrize("name", ["+12", "012", "12"])
def test_the_next_version_is_higher_than_any_that_a_server_sees(tmp_path, name):
    (tmp_path / "3").mkdir()
    (tmp_path / name).write_text("not even a directory")

    assert next_version(tmp_path) == 13
    with pytest.raises(ExportError, match=f"never overwritten. Received: .*{re.escape(name)}. Leave `version` out."):
        check_version(tmp_path, 12)


def test_of_two_names_for_a_number_the_last_one_counts_as_in_tf_serving(tmp_path):
    for name in ("7", "007", "+7"):
        (tmp_path / name).mkdir()

    assert find_versions(tmp_path) == {7: tmp_path / "7"}


def test_no_version_comes_after_the_highest(tmp_path):
    (tmp_path / str(2**63 - 1)).mkdir()

    with pytest.raises(
        ExportError, match="No server looks at versions above 9223372036854775807. Received: .*Rename or"
    ):
        next_version(tmp_path)


@pytest.mark.parametrize("version", ["3", 2.0, True, -1, 2**63])
def test_a_version_that_is_no_number_of_a_server_is_refused(tmp_path, version):
    with pytest.raises(ExportError, match=f"from 0 to 9223372036854775807. Received: version={version!r}."):
        check_version(tmp_path, version)


_OF_TENSORFLOW = (
    "{{function_node __wrapped__SaveV2_dtypes_1_device_/job:localhost/replica:0/task:0/device:CPU:0}} /x/new.index; "
    "No space left on device [Op:SaveV2]"
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), r"\[Errno 28\] No space left on device"),
        (tf.errors.ResourceExhaustedError(None, None, _OF_TENSORFLOW), "/x/new.index; No space left on device"),
    ],
    ids=["Python", "TensorFlow"],
)
def test_a_full_disk_is_told_in_one_line(tmp_path, error, reason):
    with (
        pytest.raises(ExportError, match=rf"^The export to .* cannot be written: {reason}\.$"),
        staged_version(tmp_path),
    ):
        raise error


def test_a_file_system_that_syncs_no_directories_has_versions_too(tmp_path, monkeypatch):
    sync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with staged_version(tmp_path) as staging:
        (staging / "file").write_text("whole")
        assert publish(staging, tmp_path / "1")

    assert [path.name for path in tmp_path.rglob("*")] == ["1", "file"]


@pytest.mark.parametrize("version", [0, 8, np.int64(11)])
def test_a_version_below_the_newest_is_refused(tmp_path, version):
    for name in ("7", "12"):
        (tmp_path / name).mkdir()

    message = f"than the newest, 12 in {tmp_path}: .* Received: version={version}. Leave .* a number above 12."
    with pytest.raises(ExportError, match=message):
        check_version(tmp_path, version)

    check_version(tmp_path, 13)
    check_version(tmp_path / "none", 0)
