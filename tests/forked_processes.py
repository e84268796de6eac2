"""Python programs in processes of their own that need not import TensorFlow again: one process has, and forks.

Each has memory of its own from its first line on, and may be killed as any process.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

AS_TRACED = "GRAPHS_AS_TRACED"
"""A variable of the environment: the processes run graphs as they were traced, as those of thorough tests do (conftest.py)."""
# Nothing of TensorFlow may have run where a process forks; it is imported, no more.
_FORKS = """
import importlib, json, os, runpy, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    program, arguments, search = json.loads(line)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.read(told, 1)  # its id is told before anything that it prints
        if "GRAPHS_AS_TRACED" in os.environ:
            sys.modules["tensorflow"].config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        sys.argv, sys.path = [program, *arguments], search
        if os.path.isfile(program):
            runpy.run_path(program, run_name="__main__")
        else:
            exec(program, {"__name__": "__main__"})
        sys.exit()
    print(f"process {child}", flush=True)
    os.write(tell, b"!")
    os.close(tell), os.close(told)
    print(f"\\nended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)
"""
COMMAND = "import sys; from softprompt_tf.cli.cli import main; sys.exit(main(sys.argv[1:]))"


class ForkedProcesses:
    """Runs one program at a time; use `forked_processes`."""

    def __init__(self, process: subprocess.Popen[str], errors: Path):
        self._process = process
        self._errors = errors

    def run(self, program: str | os.PathLike[str], *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a program, a file or code, to its end, as `subprocess.run` does."""
        before = len(self.errors())
        *lines, end = (line for _, line in self.lines_of(program, *arguments))
        return subprocess.CompletedProcess(
            [program, *arguments], int(end.split()[1]), "".join(lines), self.errors()[before:]
        )

    def errors(self) -> str:
        """Return what all processes have written to stderr."""
        return self._errors.read_text(errors="replace")

    def lines_of(self, program: str | os.PathLike[str], *arguments: object) -> Iterator[tuple[int, str]]:
        """Start a program; yield its process's id with each line that it prints, at last "ended" and its exit status."""
        search = [*([os.path.dirname(program)] if os.path.isfile(program) else []), *sys.path]
        request = [os.fspath(program), [str(argument) for argument in arguments], search]
        print(json.dumps(request), file=self._process.stdin, flush=True)
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
def forked_processes(*modules: str) -> Iterator[ForkedProcesses]:
    """Give processes that have these modules imported at their first line. They see no GPU."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    with (
        tempfile.NamedTemporaryFile("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-c", _FORKS, *modules],
            env={**os.environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield ForkedProcesses(process, Path(errors.name))
        process.stdin.close()  # ends the loop
