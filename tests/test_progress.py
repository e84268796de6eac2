"""Progress: a bar on a terminal, a line now and then in a log, nothing where nobody can read it."""

import io
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from softprompt_tf import progress as progress_module
from softprompt_tf.progress import Progress, counted, say, time_left


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, as a list of one number."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_with_rate_time_left_and_values(clock):
    stream = io.StringIO()

    with Progress(40, unit="text", what="Encoding", stream=stream, line_every_s=30) as progress:
        for _ in range(40):
            clock[0] += 2
            progress.advance(loss=0.123456)

    assert stream.getvalue().splitlines() == [
        "Encoding: 15/40 texts, 0.5 texts/s, 00:50 left, loss 0.1235",
        "Encoding: 30/40 texts, 0.5 texts/s, 00:20 left, loss 0.1235",
    ]


def test_what_was_done_before_counts_but_not_for_the_rate(clock):
    stream = io.StringIO()

    with Progress(1_200, unit="step", first=1_000, stream=stream, line_every_s=10) as progress:
        clock[0] += 20
        progress.advance(100)

    assert stream.getvalue() == "1,100/1,200 steps, 5 steps/s, 00:20 left\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_no_rate_is_told_of_parts_that_take_different_times(clock, stream):
    with Progress(2, unit="part", what="Writing", stream=stream, line_every_s=10, has_rate=False) as progress:
        clock[0] += 20
        progress.advance(2)

    assert "part/s" not in stream.getvalue()
    assert "2/2" in stream.getvalue()


def test_a_job_that_is_soon_done_writes_no_line_in_a_log():
    stream = io.StringIO()

    with Progress(3, unit="text", stream=stream) as progress:
        progress.advance(3)

    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_with_the_values():
    stream = Terminal()

    with Progress(4, unit="run", what="Sweep", stream=stream) as progress:
        progress.advance(2, score=0.5)
        progress.stage("Report")
        progress.advance(2)

    shown = stream.getvalue()
    assert "\r" in shown
    assert re.search(r"Report: 100%.* 4/4 .*score=0.5", shown)


def test_a_terminal_that_does_not_know_its_size_gets_a_bar_too():
    reading, writing = pty.openpty()  # of 0 columns

    with open(writing, "w") as stream, Progress(2, unit="run", stream=stream) as progress:
        progress.advance(2)
        progress.close()
        shown = ""
        while "2/2" not in shown and select.select([reading], [], [], 5.0)[0]:  # a terminal hands on a part at a time
            shown += os.read(reading, 10_000).decode(errors="replace")

    os.close(reading)
    assert "2/2" in shown


def test_a_line_that_is_said_while_a_bar_is_shown_has_a_line_of_its_own(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)

    with Progress(4, unit="run") as progress:
        progress.advance()
        say("half of it")

    assert re.search(r"\rhalf of it\n", stream.getvalue())


def test_nothing_is_written_where_there_is_no_standard_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)

    with Progress(2, unit="step", line_every_s=0) as progress:
        progress.advance()
        say("a line")

    assert capsys.readouterr() == ("", "")


def test_a_line_comes_after_what_was_printed_before_it_to_the_same_file(tmp_path):
    program = "from softprompt_tf.progress import say; print('first'); say('second'); print('third'); say('fourth')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, stderr=log, env=environment, check=True)

    assert (tmp_path / "log").read_text(encoding="utf-8").split() == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "none"])
def test_a_line_is_said_where_there_is_no_standard_output(is_closed, monkeypatch, capsys):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdout", closed if is_closed else None)

    say("a line")

    assert capsys.readouterr().err == "a line\n"


def test_counted_items_are_the_items():
    assert list(counted(["a", "b"], unit="text", what="Reading")) == ["a", "b"]


@pytest.mark.parametrize(
    ("done", "total", "first", "seconds", "expected"),
    [(1, 3, 0, 40.0, "01:20"), (10, 10, 5, 9.0, "00:00"), (5, 10, 5, 3.0, "?"), (5, None, 0, 3.0, "?")],
    ids=["two of three left", "done", "no step yet", "no end known"],
)
def test_the_time_left_is_that_of_the_steps_so_far(done, total, first, seconds, expected):
    assert time_left(done, total, first=first, seconds=seconds) == expected
