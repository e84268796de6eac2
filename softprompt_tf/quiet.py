"""Keep the lines of TensorFlow, absl, XLA and Keras out of what a command says.

Their native code speaks before Python can ask it not to. So its log level is set in the environment, and what it still writes
while TensorFlow is imported is held back (`held_errors`).
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from softprompt_tf.held_errors import held_errors
from softprompt_tf.import_hook import ImportHook

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ALONE = "3"  # an error of TensorFlow's native code also comes as a Python exception
_ASKED = ("0", "1")  # the levels of somebody who wants to read information or warnings
_LOGGERS = ("tensorflow", "absl", "jax")
_OWN = (Path(__file__).parent, Path(__file__).parents[1] / "export")  # the second one in an editable install

_is_level_ours = False


@contextlib.contextmanager
def quiet(*, is_verbose: bool = False) -> Iterator[None]:
    """Keep other libraries' information and warnings away, unless `is_verbose` or TF_CPP_MIN_LOG_LEVEL asks for them.

    Errors stay, and so do this library's own warnings, each in one line.
    """
    wants_all = is_verbose or os.environ.get(LEVEL) in _ASKED
    _set_level("0" if is_verbose else _FATAL_ALONE)
    libraries = contextlib.nullcontext() if wants_all else _quiet_libraries()
    with _own_warnings(others_too=wants_all or bool(sys.warnoptions)), libraries:
        yield


def environment_of_user() -> dict[str, str]:
    """Return the environment without what `quiet` has set, for a program that this process becomes."""
    return {name: value for name, value in os.environ.items() if not (_is_level_ours and name == LEVEL)}


def open_closed_streams() -> None:
    """Open the null device where a standard stream is closed; else the next file would have its number and get its lines."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # has the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115  until the end


def _set_level(level: str) -> None:
    global _is_level_ours
    if LEVEL not in os.environ:
        os.environ[LEVEL], _is_level_ours = level, True


# === Warnings of Python ===


@contextlib.contextmanager
def _own_warnings(*, others_too: bool) -> Iterator[None]:
    show, form = warnings.showwarning, warnings.formatwarning
    is_own = False

    def show_own(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        nonlocal is_own
        is_own = _is_warned_by_us(sys._getframe(1))
        if is_own or others_too:
            with _between_bars():
                show(message, category, *place, **more)

    def one_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if is_own and issubclass(category, UserWarning):
            return f"softprompt: warning: {message}\n"
        return f"{filename}:{lineno}: {category.__name__}: {message}\n"

    warnings.showwarning, warnings.formatwarning = show_own, one_line
    try:
        yield
    finally:
        warnings.showwarning, warnings.formatwarning = show, form


def _is_warned_by_us(frame: FrameType | None) -> bool:
    """Return whether the code that warns is ours, wherever its `stacklevel` points."""
    while frame is not None and frame.f_code.co_filename == warnings.__file__:
        frame = frame.f_back
    return frame is not None and any(Path(frame.f_code.co_filename).is_relative_to(directory) for directory in _OWN)


def _between_bars() -> contextlib.AbstractContextManager[Any]:
    import tqdm  # here, as most commands never warn

    return tqdm.tqdm.external_write_mode(file=sys.stderr)


# === Other libraries ===


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Show errors alone of other libraries' loggers; hold back what native code says while TensorFlow is imported."""
    before: dict[str, int] = {}

    def raise_levels() -> None:
        for name in _LOGGERS:
            if name in logging.Logger.manager.loggerDict:  # absl makes its own, of a class of its own
                before.setdefault(name, logging.getLogger(name).level)
                logging.getLogger(name).setLevel(logging.ERROR)

    @contextlib.contextmanager
    def importing(hold: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
        with hold():
            yield
        raise_levels()

    raise_levels()
    hook = ImportHook(
        {
            "tensorflow": lambda: importing(held_errors),
            "absl.logging": lambda: importing(contextlib.nullcontext),
            "jax": lambda: importing(contextlib.nullcontext),
        }
    )
    sys.meta_path.insert(0, hook)
    try:
        yield
    finally:
        sys.meta_path.remove(hook)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
