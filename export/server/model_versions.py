"""The versions of one model: load those that its policy wants.

The directory is looked at again and again. A new version is loaded and warmed up beside the old one, then takes over;
requests that still run on the old one finish there, and its memory is freed after the last. A version that does not
load is reported and tried again later, and what was served before stays.

Source: tensorflow/serving sources/storage_path/file_system_storage_path_source.cc (what is wanted),
core/availability_preserving_policy.cc (order of loading and unloading), util/retrier.cc (tries).
"""

import logging
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.export.server.batching import BatchScheduler
from softprompt_tf.export.server.freed_memory import return_freed_memory
from softprompt_tf.export.server.loaded_version import (
    error_code,
    load_version,
    run_warmup,
    stamp_files,
)
from softprompt_tf.export.server.model_config import LATEST, VersionPolicy
from softprompt_tf.export.server.model_reports import VersionState
from softprompt_tf.export.server.predict_contract import LoadedModel
from softprompt_tf.export.versions.version_numbers import find_versions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadRetries:
    """How often a version that does not load is tried again, and how many seconds apart; TF Serving's defaults.

    Besides, it is tried once more as soon as its files have changed and then stayed the same between two looks, which
    TF Serving does not do: whoever repairs an export need not wait.
    """

    count: int = 5
    interval_s: float = 60.0


DEFAULT_RETRIES = LoadRetries()


class ModelVersions:
    """Hold the loaded versions of one model and the state of every version seen; readable from many threads.

    Args:
      base_path: directory whose integer-named sub-directories are the versions.
      model_name: the name that requests use.
      policy: which versions to serve. Default the newest.
      retries: when a version that does not load is tried again.
      scheduler: merges requests; None runs each on its own.
    """

    def __init__(
        self,
        base_path: Path,
        *,
        model_name: str,
        policy: VersionPolicy = LATEST,
        retries: LoadRetries = DEFAULT_RETRIES,
        scheduler: BatchScheduler | None = None,
    ):
        self.base_path, self.model_name, self.policy = base_path, model_name, policy
        self._retries, self._scheduler = retries, scheduler
        self._available: dict[int, LoadedModel] = {}  # replaced as a whole, so that readers need no lock
        self._states: dict[int, VersionState] = {}  # set one by one, without a lock: a finalizer may run anywhere
        self._failures: dict[int, _Failure] = {}
        self._complaint = ""
        self._has_garbage = False  # set by a finalizer: the last request may end long after a version was let go

    @property
    def available(self) -> Mapping[int, LoadedModel]:
        """The versions that can be asked."""
        return self._available

    def states(self) -> dict[int, VersionState]:
        """Return the state of every version seen since the start."""
        return dict(self._states)

    def failures(self) -> dict[int, str]:
        """Return why versions that are wanted do not load."""
        return {version: failure.message for version, failure in self._failures.items()}

    def poll(self) -> None:
        """Look at the directory once; load what is wanted and let go of the rest. Call from one thread at a time."""
        try:
            found = find_versions(self.base_path) if self.base_path.is_dir() else None
        except OSError as error:  # it may not be read, or vanishes while it is read
            self._complain(f"Could not read base path {self.base_path} for servable {self.model_name}: {error}")
            return
        if found is None:
            self._complain(f"Could not find base path {self.base_path} for servable {self.model_name}")
            return  # it may be back soon: what is loaded stays
        wanted = self.policy.choose(found)
        missing = "" if wanted else f"No versions of servable {self.model_name} found under base path {self.base_path}"
        self._complain(missing)
        self._give_up({version for version in self._failures if version not in wanted})
        for version in sorted(wanted, reverse=True):
            if version not in self._available and self._is_due(version, found[version]):
                self._load(version, found[version])
            self._retire(wanted)
        self._retire(wanted)
        self.return_memory()

    def return_memory(self) -> None:
        """Give back what versions took whose last request has ended since the last call."""
        if self._has_garbage:
            self._has_garbage = False
            return_freed_memory()

    def close(self) -> None:
        """Let go of every version."""
        self._give_up(set(self._failures))
        self._retire(set())

    def _is_due(self, version: int, directory: Path) -> bool:
        failure = self._failures.get(version)
        if failure is None:
            return True
        stamp, seen = stamp_files(directory), failure.last_seen
        failure.last_seen = stamp
        if stamp == seen != failure.stamp:
            failure.tries = 0
            return True
        return failure.tries <= self._retries.count and time.monotonic() >= failure.next_try_s

    def _load(self, version: int, directory: Path) -> None:
        self._set_state(version, VersionState("LOADING"))
        failure = self._failures.pop(version, None) or _Failure()
        failure.last_seen = failure.stamp = stamp_files(directory)
        try:
            model = load_version(directory, model_name=self.model_name, version=version, scheduler=self._scheduler)
            run_warmup(model, directory)
        except Exception as error:  # whatever a broken export raises, the version that is served must stay
            failure.message = (getattr(error, "reason", "") or str(error))[:1024]
            failure.tries += 1
            failure.next_try_s = time.monotonic() + self._retries.interval_s
            self._failures[version] = failure
            reason = " ".join(failure.message.split())
            logger.warning("Version %d of model %s does not load: %s", version, self.model_name, reason)
            if failure.tries > self._retries.count:
                self._set_state(version, VersionState("END", error_code(error), failure.message))
            return
        # The state changes when the last request lets go of the model. At exit nobody is left to be told.
        weakref.finalize(model, self._finish_unloading, version).atexit = False
        self._set_state(version, VersionState("AVAILABLE"))
        self._available = {**self._available, version: model}
        logger.info("Version %d of model %s is loaded", version, self.model_name)

    def _retire(self, wanted: set[int]) -> None:
        """Let go of versions that are not wanted, but keep the newest of them while no wanted one is loaded."""
        stale = sorted(version for version in self._available if version not in wanted)
        if wanted and not any(version in self._available for version in wanted):
            stale = stale[:-1]
        if not stale:
            return
        for version in stale:
            self._set_state(version, VersionState("UNLOADING"))
        self._available = {version: model for version, model in self._available.items() if version not in stale}
        logger.info("Versions %s of model %s are let go", stale, self.model_name)

    def _give_up(self, versions: set[int]) -> None:
        for version in versions:
            failure = self._failures.pop(version)
            if self._states[version].state == "LOADING":
                self._set_state(version, VersionState("END", error_code(ValueError()), failure.message))

    def _finish_unloading(self, version: int) -> None:
        self._has_garbage = True
        if self._states[version].state == "UNLOADING":
            self._states[version] = VersionState("END")

    def _set_state(self, version: int, state: VersionState) -> None:
        self._states[version] = state

    def _complain(self, message: str) -> None:
        """Log what is wrong with the directory once, not at every look."""
        if message and message != self._complaint:
            logger.warning(message)
        self._complaint = message


@dataclass
class _Failure:
    """A version that does not load: how often it was tried, when it is next, and its files then and at the last look."""

    tries: int = 0
    next_try_s: float = 0.0
    message: str = ""
    stamp: tuple[int, int, int] = (0, 0, 0)
    last_seen: tuple[int, int, int] = (0, 0, 0)
