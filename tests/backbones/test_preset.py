"""A preset is written completely or not at all: on a full disk, beside another process, after a kill between two moves."""

import os
import resource

import pytest

from softprompt_tf.backbones import write_preset
from softprompt_tf.errors import BackboneError
from softprompt_tf.files.directory_lock import locked


@pytest.fixture
def small_disk():
    """The system refuses files of more than 64 KiB, as a full disk does. HDF5 would end the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def preset(tmp_path):
    """A directory of the name, as an earlier preset left it."""
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5" / "config.json").write_text("theirs")
    return tmp_path / "t5"


def write(t5, directory):
    write_preset(t5.backbone, t5.tokenizer.proto, directory, dtype="float32")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes no room ahead")
@pytest.mark.parametrize("is_moved_aside", [False, True], ids=["whole", "killed between two moves"])
def test_a_full_disk_is_told_with_the_bytes_and_what_stood_there_stays(
    one_layer_t5, preset, small_disk, is_moved_aside
):
    if is_moved_aside:
        preset.rename(preset.with_name(".t5.replaced"))

    with pytest.raises(
        BackboneError, match=r"Received: .*/t5 \(\[Errno 27\] File too large; it takes up to [0-9,]+ bytes"
    ):
        write(one_layer_t5, preset)

    assert [path.name for path in preset.parent.rglob("*")] == ["t5", "config.json"]
    assert (preset / "config.json").read_text() == "theirs"


def test_two_processes_do_not_write_one_preset(one_layer_t5, preset):
    with (
        locked(preset.parent, error_type=BackboneError, name=".t5.lock"),
        pytest.raises(BackboneError, match=r"one process at a time. Received: .*/t5, which process [0-9]+ on"),
    ):
        write(one_layer_t5, preset)


def test_a_file_is_not_moved_away(one_layer_t5, tmp_path):
    (tmp_path / "file").write_text("mine")

    with pytest.raises(BackboneError, match="must be a directory. Received: .*/file, which is a file"):
        write(one_layer_t5, tmp_path / "file")

    assert (tmp_path / "file").read_text() == "mine"
