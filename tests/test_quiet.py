"""A command's own words only: what other libraries say is kept away, and nothing that a user needs is."""

import os
import signal
import subprocess
import sys

import pytest

from softprompt_tf.quiet import quiet

IN_QUIET = "from softprompt_tf.quiet import quiet\nwith quiet(is_verbose={verbose}):\n"

# What TensorFlow, absl and Keras say, and what this library's users are told, one after the other.
TALK = """
    import logging, os, sys, warnings
    import tensorflow as tf
    import absl.logging, keras
    for number in range(12):
        tf.function(lambda x: x + number)(tf.constant(1))
    @tf.function
    def traced(x):
        return x
    for number in range(12):
        traced(number)
    absl.logging.warning("absl warns")
    tf.get_logger().warning("tensorflow warns")
    keras.layers.Dense(1)(keras.Input([2]))
    exec(compile("import warnings; warnings.warn('another library warns')", "/usr/lib/other.py", "exec"))
    absl.logging.error("absl has an error")
    logging.getLogger("softprompt_tf.export.server").warning("the server warns")
    from softprompt_tf.tasks.cut_texts import tell_cut_texts
    tell_cut_texts(["a b c"], ["d"], lambda texts: [t.split() for t in texts], max_input_tokens=2, max_target_tokens=9)
"""


def run(code, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONWARNINGS")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**kept, **environment}
    )


def held(code):
    return run(f"import os, sys\nfrom softprompt_tf.held_errors import held_errors\nwith held_errors():\n{code}\n")


# === Other libraries ===


@pytest.mark.thorough
def test_only_errors_and_own_words_are_seen():
    done = run(IN_QUIET.format(verbose=False) + TALK)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    assert lines[0].endswith("absl has an error")
    assert lines[1].endswith("the server warns")
    assert lines[2].startswith("Texts: 1 row; cut: 1 of 1")
    assert lines[3].startswith("softprompt: warning: Texts: ")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("verbose", "environment"),
    [
        pytest.param(True, {}, id="verbose", marks=pytest.mark.slow),
        pytest.param(False, {"TF_CPP_MIN_LOG_LEVEL": "0"}, id="level 0"),
    ],
)
def test_all_is_seen_by_those_who_ask(verbose, environment):
    done = run(IN_QUIET.format(verbose=verbose) + TALK, **environment)

    assert done.returncode == 0, done.stderr
    for words in ("absl warns", "tensorflow warns", "retracing", "another library warns", "softprompt: warning"):
        assert words in done.stderr


def test_loggers_and_warnings_are_as_before_afterwards():
    import logging
    import warnings

    logger = logging.getLogger("jax")
    level, show = logger.level, warnings.showwarning

    with quiet():
        assert logger.level == logging.ERROR

    assert (logger.level, warnings.showwarning) == (level, show)


def test_a_program_that_the_process_becomes_gets_the_environment_of_the_user():
    code = "from softprompt_tf.quiet import quiet, environment_of_user as of_user\nimport os\nwith quiet():\n"
    told = "    print('TF_CPP_MIN_LOG_LEVEL' in of_user(), os.environ['TF_CPP_MIN_LOG_LEVEL'])"

    assert run(code + told).stdout == "False 3\n"
    assert run(code + told, TF_CPP_MIN_LOG_LEVEL="1").stdout == "True 1\n"


# === What is written while TensorFlow is imported ===


def test_lines_of_native_code_are_forgotten_where_all_goes_well():
    done = held("    os.write(2, b'noise')\n    print('more', file=sys.stderr)")

    assert (done.returncode, done.stderr) == (0, "")


def test_they_are_written_where_an_error_leaves():
    done = held("    os.write(2, b'no such library\\n')\n    raise ImportError('broken')")

    assert done.stderr.startswith("no such library\n")
    assert done.stderr.endswith("ImportError: broken\n")


@pytest.mark.parametrize(
    ("death", "status"),
    [
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("os.kill(os.getpid(), 11)", -signal.SIGSEGV),
    ],
    ids=["abort", "kill", "segmentation fault"],
)
def test_they_are_written_where_the_process_dies(death, status):
    done = held(f"    os.write(2, b'this CPU lacks AVX\\n')\n    {death}")

    assert done.returncode == status
    assert done.stderr == "this CPU lacks AVX\n"


def test_an_interrupt_says_nothing_of_them():
    done = held("    os.write(2, b'noise')\n    raise KeyboardInterrupt")

    assert "noise" not in done.stderr
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_what_comes_afterwards_is_seen():
    done = held("    os.write(2, b'noise')\nos.write(2, b'words')")

    assert done.stderr == "words"


# === Closed streams ===


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "2>&- >&- <&-"], ids=["stderr", "stdout", "stdin", "all"])
def test_a_command_works_with_closed_streams(closed, tmp_path):
    command = f'"{sys.executable}" -m softprompt_tf.cli.command configs runs {closed}'

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("runs/") or ">&- " in f"{closed} ".replace("2>&- ", "")


def test_a_file_does_not_get_the_number_of_a_closed_stream(tmp_path):
    code = (
        "from softprompt_tf.quiet import open_closed_streams; open_closed_streams(); "
        f"import os; file = open({str(tmp_path / 'data')!r}, 'w'); os.write(2, b'noise'); assert file.fileno() > 2"
    )

    subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{code}" 2>&-'], check=True, timeout=60)

    assert (tmp_path / "data").read_text() == ""
