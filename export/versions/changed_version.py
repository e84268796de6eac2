"""Make the next version of an export from the newest one, with tasks added or removed.

What the versions have in common is one file on the disk, hard-linked; the rest is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.export.versions.export_files import link_files, open_as, write_fingerprint
from softprompt_tf.export.versions.task_shards import StoredTasks
from softprompt_tf.export.versions.verify_change import verify_change
from softprompt_tf.export.versions.version_directory import publish, staged_version
from softprompt_tf.export.versions.version_numbers import check_version, find_versions, next_version
from softprompt_tf.files.local_paths import local_source

_MAX_ATTEMPTS = 20
_WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_OLDER_WARMUP_REQUESTS = (
    8  # of earlier versions of this library; half of them have 16 rows, more than some servers take
)


@dataclass(frozen=True)
class NewestVersion:
    """The newest version of an export: its base directory, number, record and tasks."""

    base: Path
    number: int
    record: ExportRecord
    tasks: StoredTasks

    @property
    def names(self) -> list[str]:
        return [task.task_id for task in self.tasks.rows]


@dataclass(frozen=True)
class TaskChange:
    """What a change leaves as it was, and what it brings.

    Args:
      kept: the names of the tasks that stay as they are.
      added: the tasks that are new or replaced.
      write: writes the variables of the new version into a directory.
    """

    kept: tuple[str, ...]
    added: tuple[ServedTask, ...]
    write: Callable[[Path], None]


def write_changed(
    base: Path,
    change: Callable[[NewestVersion], TaskChange],
    *,
    version: int | None,
    verify: bool,
    then: Callable[[Path, ExportRecord], None] = lambda staging, record: None,
) -> Path:
    """Stage, check and publish a change of the newest version, and begin again where that is no longer the newest."""
    for _ in range(_MAX_ATTEMPTS):
        export = newest_version(base)
        target = base / str(version if version is not None else next_version(base))
        check_version(base, version)
        changed = change(export)
        source = export.tasks.directory
        with staged_version(base) as staging:
            changed.write(staging)
            write_fingerprint(staging, source)
            _take_over(staging, source, export, changed)
            open_as(staging, source)
            if verify:
                verify_change(source, staging, kept=changed.kept, added=changed.added)
                then(staging, export.record)
            if publish(staging, target, still_fits=partial(_is_newest, base, export.number)):
                return target
    raise ExportError(f"The newest version must hold still for a change. Received: {base}, written to all the time.")


def _is_newest(base: Path, number: int) -> bool:
    return max(find_versions(base), default=None) == number


def _take_over(staging: Path, source: Path, export: NewestVersion, changed: TaskChange) -> None:
    """Link the files that do not depend on the tasks, and the warm-up requests where all tasks that they name are left."""
    is_older = _count_records(source / _WARMUP_FILE) == _OLDER_WARMUP_REQUESTS
    if set(changed.kept) >= set(export.names) and not is_older:
        link_files(staging, source)
        return
    from softprompt_tf.export.versions.warmup import write_warmup_requests

    link_files(staging, source, but={_WARMUP_FILE})
    names = [*changed.kept, *(task.task_id for task in changed.added)]
    write_warmup_requests(staging, names, hidden_dim=int(export.record.backbone["hidden_dim"]))


def _count_records(path: Path) -> int:
    """Return the records of a TFRecord file, 0 where there is none: each is its length, a checksum, the bytes, a checksum."""
    content = path.read_bytes() if path.is_file() else b""
    count = start = 0
    while start < len(content):
        start += 8 + 4 + int.from_bytes(content[start : start + 8], "little") + 4
        count += 1
    return count


def newest_version(base: str | Path) -> NewestVersion:
    base = local_source(base, error_type=ExportError)
    versions = find_versions(base)
    if not versions:
        is_version = (base / "saved_model.pb").is_file()
        write = "Write one with `softprompt export --prompt ID=FILE --output DIR`, in Python `write_saved_model`."
        hint = f"Pass the base directory, {base.parent}." if is_version else write
        raise ExportError(f"The directory must be an export. Received: {base}, with no version. {hint}")
    number = max(versions)
    record = ExportRecord.read(versions[number])
    return NewestVersion(base, number, record, StoredTasks.read(versions[number]))
