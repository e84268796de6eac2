"""The code of README, the tutorials and the guides, run in order as a reader runs it, in one directory and with few steps.

`mini` has one layer here: no answer is looked at, and tests/demo/ runs the bundled one.
"""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess

import pytest
from forked_processes import COMMAND, forked_processes
from page_blocks import ROOT, blocks_of, command_lines, shortened
from small_mini import PUT_IN_PLACE, put_in_place, write_small_mini

pytestmark = pytest.mark.thorough

PAGES = (
    "README.md",
    "docs/get_started.md",
    "docs/tutorials/csv_task.md",
    "docs/tutorials/serve.md",  # goes on with the files of the page before, and so does the next
    "docs/tutorials/many_tasks.md",
    "docs/tutorials/keras.md",
    "docs/tutorials/your_t5.md",
    "docs/tutorials/compare_methods.md",
    "docs/tutorials/tune.md",
)
GUIDES = (
    "docs/how_to/several_tasks_in_one_model.md",
    "docs/how_to/late_prompts.md",
    "docs/how_to/cached_states.md",
    "docs/how_to/plan.md",
    "docs/how_to/save_memory.md",
    "docs/how_to/prompt_in_words.md",
    "docs/how_to/own_method.md",
)
NOT_RUN = ("pip ", "softprompt demo")  # an install, and what tests/demo runs


class Reader:
    """Does what a page says, in one directory.

    Args:
      directory: where the commands run.
      processes: runs `softprompt` commands.
      backbones: the directory of bundled T5s.
    """

    def __init__(self, directory, processes, backbones):
        self.directory, self._processes = directory, processes
        self._program = PUT_IN_PLACE.format(str(backbones)) + COMMAND
        self._ports = {"8500": _free_port(), "8501": _free_port()}
        self._servers = contextlib.ExitStack()

    def follow(self, page):
        """Run the blocks of a page."""
        names = {"__name__": "__main__"}
        for block in blocks_of(page):
            if block.note == "skip":
                continue
            code = self._with_ports(shortened(block.code))
            if block.title:
                (self.directory / block.title).write_text(code, encoding="utf-8")
            elif block.language == "python":
                exec(compile(code, str(page), "exec"), names)
            elif block.language == "bash":
                for line in command_lines(code):
                    self._run(line, in_background=block.note == "background" or line.startswith("softprompt serve"))

    def stop(self):
        """End the servers that were started."""
        self._servers.close()

    def _with_ports(self, code):
        for port, free in self._ports.items():
            code = code.replace(port, str(free))
        return code

    def _run(self, line, *, in_background):
        words = shlex.split(line, comments=True)
        if line.startswith(NOT_RUN):
            return
        if in_background:
            self._serve(words[1:])
        elif words[0] == "softprompt":
            self._command(words[1:])
        else:
            result = subprocess.run(["sh", "-c", line], cwd=self.directory, capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, result.stderr

    def _command(self, arguments):
        result = self._processes.run(self._program, *arguments)
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"

    def _serve(self, arguments):
        """Serve an export as `softprompt serve DIRECTORY` does, in this process, which has imported TensorFlow already."""
        from softprompt_tf.export import ModelServer

        ports = {"grpc_port": self._ports["8500"], "rest_port": self._ports["8501"]}
        server = ModelServer(self.directory / arguments[1], **ports)
        self._servers.enter_context(server)


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader with the tutorials' data."""
    directory = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "docs" / "examples" / "tickets", directory / "data")
    backbones = tmp_path_factory.mktemp("backbones")
    write_small_mini(backbones)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(directory),
        forked_processes("softprompt_tf.cli.cli", "softprompt_tf.pretraining.training_directory") as processes,
    ):
        put_in_place(backbones, patch)
        reader = Reader(directory, processes, backbones)
        yield reader
        reader.stop()


@pytest.mark.parametrize("page", [*PAGES, *(pytest.param(page, marks=pytest.mark.slow) for page in GUIDES)])
def test_code_of_the_page_runs(reader, page):
    if page == "README.md":
        _make_topic_prompt(reader.directory / "topic.safetensors")
    if page.endswith("keras.md"):
        reader.stop()  # the server of the tutorials before

    reader.follow(ROOT / page)

    if page == "README.md":
        reader.stop()


def _make_topic_prompt(path):
    import softprompt_tf as sp

    model = sp.PromptedT5(sp.load_t5("mini"), sp.prompt_tuning(length=20), labels=["sport", "business"])
    model.save_prompt(path, task_id="topic")


def test_every_page_with_python_is_run_or_says_why_not():
    pages = [path for path in (ROOT / "docs").rglob("*.md") if any(_is_python(block) for block in blocks_of(path))]

    left_out = {path.relative_to(ROOT).as_posix() for path in pages} - {*PAGES, *GUIDES}

    assert left_out <= {
        "docs/how_to/convert_prompts.md",
        "docs/how_to/load_checkpoints.md",
        "docs/reference/methods.md",
        "docs/reference/api/model.md",
        "docs/reference/api/export.md",
    }


def _is_python(block):
    return block.language == "python" and block.note != "skip"


def test_the_environment_is_that_of_a_reader():
    assert "KERAS_BACKEND" not in os.environ or os.environ["KERAS_BACKEND"] == "tensorflow"
