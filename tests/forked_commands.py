"""`softprompt` commands in processes of their own that need not import TensorFlow again: one process has, and forks.

Each command has memory of its own from its first line on, and may be killed as any process.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

# Nothing of TensorFlow may have run where a process forks; it is imported, no more.
_SCRIPT = """
import json, os, sys
import softprompt_tf.cli.cli, softprompt_tf.pretraining.training_directory
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.exit(softprompt_tf.cli.cli.main(json.loads(line)))
    print(f"process {child}", flush=True)
    print(f"\\nended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)
"""


class ForkedCommands:
    """Runs one command at a time; use `forked_commands`."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def lines_of(self, arguments: list[str]) -> Iterator[tuple[int, str]]:
        """Start a command; yield its process's id with each line that it prints, at last "ended" and its exit status."""
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        child = 0
        for line in self._process.stdout:
            if line.startswith("process "):
                child = int(line.split()[1])
            else:
                yield child, line
            if line.startswith("ended "):
                return
        raise RuntimeError(f"The process that forks has ended itself: {self._process.wait()}")


@contextlib.contextmanager
def forked_commands(**environment: str) -> Iterator[tuple[ForkedCommands, tempfile._TemporaryFileWrapper]]:
    """Give the commands, and the file of what they write to stderr."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield ForkedCommands(process), errors
        process.stdin.close()  # ends the loop
