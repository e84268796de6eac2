"""A run directory is for one process at a time, and the system gives it back when that process dies."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.directory_lock import locked

HOLD = (
    "import sys, time; from softprompt_tf.files.directory_lock import locked; from softprompt_tf.errors import TrainingError\n"
    "with locked(sys.argv[1], error_type=TrainingError):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path):
    message = f"one process at a time. Received: .*, which process {holder.pid} on"
    with pytest.raises(TrainingError, match=message), locked(tmp_path, error_type=TrainingError):
        pass


def test_the_lock_goes_with_its_process(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with locked(tmp_path, error_type=TrainingError):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_is_waited_for(holder, tmp_path):
    killing = threading.Timer(0.1, holder.kill)
    killing.start()

    with locked(tmp_path, error_type=TrainingError, patience_s=60):
        assert holder.wait() == -signal.SIGKILL


def test_the_lock_of_another_user_that_was_killed_is_taken(tmp_path, monkeypatch):
    (tmp_path / ".lock").write_text("process 1 on a machine")
    of_the_system = os.open

    def only_to_read(path, flags, *mode, **named):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return of_the_system(path, flags, *mode, **named)

    monkeypatch.setattr(os, "open", only_to_read)
    with locked(tmp_path, error_type=TrainingError):
        pass

    assert list(tmp_path.iterdir()) == []


def test_two_runs_of_one_process_are_kept_apart(tmp_path):
    with locked(tmp_path, error_type=TrainingError):
        with (
            pytest.raises(TrainingError, match=f"which process {os.getpid()} on"),
            locked(tmp_path, error_type=TrainingError),
        ):
            pass
        assert (tmp_path / ".lock").exists()


def test_nothing_is_left_behind_and_the_directory_can_be_locked_again(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / "new", error_type=TrainingError):
            raise KeyError

    assert list((tmp_path / "new").iterdir()) == []


def test_a_lock_is_held_on_a_full_disk_and_leaves_nothing_there(tmp_path, monkeypatch):
    def full(descriptor, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with (
        locked(tmp_path, error_type=TrainingError),
        pytest.raises(TrainingError, match="which another process is using"),
        locked(tmp_path, error_type=TrainingError),
    ):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")

    with (
        pytest.raises(TrainingError, match="run cannot be made or written"),
        locked(tmp_path / "run", error_type=TrainingError),
    ):
        pass
