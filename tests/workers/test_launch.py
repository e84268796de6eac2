"""The launcher of workers on one machine, with small programs in the place of trainings."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from softprompt_tf.cli import launch_workers
from softprompt_tf.cli.cli import main
from softprompt_tf.cli.launch_workers import launch
from softprompt_tf.errors import ConfigError

WHO = "import json, os, sys, time, signal; rank = json.loads(os.environ['TF_CONFIG'])['task']['index']; "


def launched(code, count=2):
    return launch([], count, program=[sys.executable, "-c", WHO + code])


def launcher_of(code, *, interrupts="default_int_handler"):
    """Start a process that launches two workers; SIG_IGN is what a shell gives to what it starts in the background.

    It says so itself: a `preexec_fn` runs in a copy of this process, which gRPC's threads may end.
    """
    parent = (
        f"import signal, sys; signal.signal(signal.SIGINT, signal.{interrupts}); "
        "from softprompt_tf.cli.launch_workers import launch; "
        f"launch([], 2, program=[sys.executable, '-c', {WHO + code!r}])"
    )
    return subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL)


def wait_until(is_done, process):
    """Wait for what a process does, as long as it runs."""
    while not is_done():
        assert process.poll() is None, f"it has ended with {process.returncode}"
        time.sleep(0.05)


def test_each_worker_has_its_place_among_the_same_addresses(tmp_path):
    code = f"open(f'{tmp_path}/{{rank}}', 'w').write(os.environ['TF_CONFIG'])"

    assert launched(code, 3) == 0
    configs = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert len(set(configs[0]["cluster"]["worker"])) == 3
    assert all(config["cluster"] == configs[0]["cluster"] for config in configs)


def test_a_worker_that_is_killed_is_told_in_one_line_and_ends_the_others(capfd):
    begun = time.monotonic()

    status = launched("os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)")

    assert status == 128 + signal.SIGKILL
    assert time.monotonic() - begun < launch_workers.STOP_WITHIN_S
    assert capfd.readouterr().err == (
        "softprompt: worker 1 was ended by SIGKILL. All workers were ended; the same command goes on from the last checkpoint.\n"
    )


def test_the_worker_that_failed_first_is_told_with_its_last_words(capfd):
    status = launched("time.sleep(0.3 * (rank != 2)); sys.exit(75 if rank != 2 else 'softprompt: no space')", 3)

    assert status == 1
    assert "worker 2 ended with status 1. All workers were ended" in capfd.readouterr().err


def test_a_mistake_that_the_chief_has_told_is_told_once(capfd):
    assert launched("print('softprompt: wrong', file=sys.stderr); sys.exit(2)") == 2
    assert capfd.readouterr().err == "softprompt: wrong\n"


def test_a_worker_that_hangs_is_told_where_the_others_have_lost_it(capfd):
    assert launched("time.sleep(60) if rank == 1 else sys.exit(75)") == 75
    assert "worker 1 does not take part any more" in capfd.readouterr().err


@pytest.mark.parametrize(("interrupts", "sent"), [("default_int_handler", signal.SIGINT), ("SIG_IGN", signal.SIGTERM)])
def test_an_interrupt_goes_to_the_chief_which_saves_and_then_all_end(interrupts, sent, tmp_path):
    code = (
        "from softprompt_tf.cli.launch_workers import end_with_launcher; end_with_launcher()\n"
        f"from pathlib import Path; Path(f'{tmp_path}/{{rank}}').touch()\n"
        "try: time.sleep(60)\n"
        f"except KeyboardInterrupt: Path(f'{tmp_path}/saved_by_{{rank}}').touch(); sys.exit(130)"
    )
    with launcher_of(code, interrupts=interrupts) as process:
        wait_until(lambda: all((tmp_path / str(rank)).exists() for rank in range(2)), process)
        process.send_signal(sent)

        assert process.wait(15) != 0
    assert (tmp_path / "saved_by_0").exists()


def test_workers_end_when_their_launcher_is_killed(tmp_path):
    code = (
        "from softprompt_tf.cli.launch_workers import end_with_launcher; end_with_launcher()\n"
        f"open(f'{tmp_path}/{{rank}}', 'w').write(str(os.getpid()) + ' ')\n"
        "time.sleep(60)"
    )
    with launcher_of(code) as process:
        files = [tmp_path / str(rank) for rank in range(2)]
        wait_until(lambda: all(file.exists() and file.read_text().endswith(" ") for file in files), process)
        process.kill()

    end = time.monotonic() + 10
    while any(_runs(int(file.read_text())) for file in files) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_runs(int(file.read_text())) for file in files)


def _runs(process_id):
    try:
        return "Z" not in open(f"/proc/{process_id}/stat").read().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.parametrize("count", [0, -2])
def test_a_number_of_workers_is_above_0(count):
    with pytest.raises(ConfigError, match=f"`--workers` must be a whole number above 0. Received: {count}"):
        launch([], count)


def test_each_worker_gets_a_gpu_and_its_share_of_the_cores(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)

    environments = [launch_workers._environment(rank, ["a:1", "b:1", "c:1"]) for rank in range(3)]

    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == ["3", "5", "3"]
    assert environments[0]["TF_NUM_INTRAOP_THREADS"] == "2"


@pytest.mark.parametrize("arguments", [["--workers", "2", "seed=4"], ["seed=4", "--workers", "2"]])
def test_settings_may_stand_on_both_sides_of_an_option(arguments, monkeypatch):
    given = []
    monkeypatch.setattr(launch_workers, "launch", lambda *received: given.append(received) or 0)

    assert main(["train", "sentiment", *arguments]) == 0
    assert given == [(["train", "sentiment", "seed=4", "training.strategy=multi_worker"], 2)]


@pytest.mark.parametrize("command", [["train", "sentiment", "--steps", "3"], ["configs", "runs", "seed=4"]])
def test_other_arguments_are_refused(command, capsys):
    with pytest.raises(SystemExit):
        main(command)

    said = capsys.readouterr().err
    assert "unrecognized arguments" in said
    assert ("settings are written key=value, such as training.steps=50" in said) == (command[0] == "train")
