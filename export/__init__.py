"""Writing, checking, serving and asking one SavedModel that answers every task.

Names are loaded at first use: `PredictionClient` needs grpcio, protobuf and NumPy, and neither TensorFlow nor Keras.
"""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.export.async_client import AsyncPredictionClient as AsyncPredictionClient
    from softprompt_tf.export.client import PredictionClient as PredictionClient
    from softprompt_tf.export.client_options import tls_credentials as tls_credentials
    from softprompt_tf.export.saved_model import write_saved_model as write_saved_model
    from softprompt_tf.export.server import ModelServer as ModelServer
    from softprompt_tf.export.server import serve as serve
    from softprompt_tf.export.task_changes import add_tasks as add_tasks
    from softprompt_tf.export.task_changes import list_tasks as list_tasks
    from softprompt_tf.export.task_changes import remove_tasks as remove_tasks
    from softprompt_tf.export.verify import verify_saved_model as verify_saved_model

_MODULE_OF = {
    "AsyncPredictionClient": "async_client",
    "ModelServer": "server",
    "PredictionClient": "client",
    "add_tasks": "task_changes",
    "list_tasks": "task_changes",
    "remove_tasks": "task_changes",
    "serve": "server",
    "tls_credentials": "client_options",
    "verify_saved_model": "verify",
    "write_saved_model": "saved_model",
}

__all__ = sorted(_MODULE_OF)


__getattr__ = lazy_names(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
