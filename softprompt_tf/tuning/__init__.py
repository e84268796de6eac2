"""Search for a good prompt of a task within a time."""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.tuning.start import TuneResult, tune

__all__ = ["TuneResult", "tune"]

_HOME = {"TuneResult": "start", "tune": "start"}

__getattr__ = lazy_names(__name__, _HOME)
