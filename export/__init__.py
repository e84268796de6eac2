"""Writing, checking, serving and asking one SavedModel that answers every task.

The directory `export/` of the repository installs as `softprompt_tf.export`: `package_dir` in setup.cfg says so, and the
modules in it import each other by that name.

Names are loaded at first use: `PredictionClient` needs grpcio and protobuf, and neither TensorFlow nor Keras.
`export/client/distribution/` builds the client alone, as softprompt-client.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.export.bulk.answer_files import FileAnswers as FileAnswers
    from softprompt_tf.export.bulk.answer_files import answer_files as answer_files
    from softprompt_tf.export.bulk.settings import AnswerSettings as AnswerSettings
    from softprompt_tf.export.client.async_client import AsyncPredictionClient as AsyncPredictionClient
    from softprompt_tf.export.client.client import PredictionClient as PredictionClient
    from softprompt_tf.export.client.client_options import tls_credentials as tls_credentials
    from softprompt_tf.export.client.task_info import TaskInfo as TaskInfo
    from softprompt_tf.export.server.serve_until_stopped import serve as serve
    from softprompt_tf.export.server.server import ModelServer as ModelServer
    from softprompt_tf.export.versions.saved_model import write_saved_model as write_saved_model
    from softprompt_tf.export.versions.task_changes import add_tasks as add_tasks
    from softprompt_tf.export.versions.task_changes import list_tasks as list_tasks
    from softprompt_tf.export.versions.task_changes import remove_tasks as remove_tasks
    from softprompt_tf.export.versions.verify import verify_saved_model as verify_saved_model

_MODULE_OF = {
    "AnswerSettings": "bulk.settings",
    "AsyncPredictionClient": "client.async_client",
    "FileAnswers": "bulk.answer_files",
    "ModelServer": "server.server",
    "PredictionClient": "client.client",
    "TaskInfo": "client.task_info",
    "add_tasks": "versions.task_changes",
    "answer_files": "bulk.answer_files",
    "list_tasks": "versions.task_changes",
    "remove_tasks": "versions.task_changes",
    "serve": "server.serve_until_stopped",
    "tls_credentials": "client.client_options",
    "verify_saved_model": "versions.verify",
    "write_saved_model": "versions.saved_model",
}

__all__ = sorted(_MODULE_OF)


__getattr__ = lazy_names(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
