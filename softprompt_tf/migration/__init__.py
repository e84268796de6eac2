"""Move tasks to another backbone: distil those of an export from unlabelled text, or recycle a prompt without training.

Names are loaded at first use, so that the command line starts without TensorFlow.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.migration.agreement import TaskAgreement as TaskAgreement
    from softprompt_tf.migration.lines import read_lines as read_lines
    from softprompt_tf.migration.migration import Migration as Migration
    from softprompt_tf.migration.migration import migrate as migrate
    from softprompt_tf.migration.recycle import recycled_task as recycled_task
    from softprompt_tf.migration.settings import MigrationSettings as MigrationSettings

_HOME = {
    "Migration": "migration",
    "MigrationSettings": "settings",
    "TaskAgreement": "agreement",
    "migrate": "migration",
    "read_lines": "lines",
    "recycled_task": "recycle",
}

__all__ = sorted(_HOME)

__getattr__ = lazy_names(__name__, _HOME)
