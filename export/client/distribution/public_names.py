"""Ask a model server of softprompt-tf over gRPC, without TensorFlow: texts and a task id in, labels or texts out.

    from softprompt_client import PredictionClient

    with PredictionClient("localhost:8500", model_name="t5") as client:
        client.classify(["a charming film"], task_id="sst2")

Where softprompt-tf of the same version is installed too, these names are its own classes: an error that one package raises is
caught by the name of the other.
"""

from typing import TYPE_CHECKING

from softprompt_client.version import __version__


def _is_in_softprompt_tf() -> bool:
    try:
        from softprompt_tf import version
        from softprompt_tf.export import client  # not there in a clone that is not installed
    except ImportError:
        return False
    return bool(client) and version.__version__ == __version__


if TYPE_CHECKING or not _is_in_softprompt_tf():
    from softprompt_client.async_client import AsyncPredictionClient
    from softprompt_client.client import PredictionClient
    from softprompt_client.client_options import tls_credentials
    from softprompt_client.errors import ConfigError, DataError, RowError, ServingError, SoftPromptError
    from softprompt_client.row_answers import Classification, Generation
    from softprompt_client.task_info import TaskInfo
else:
    from softprompt_tf.errors import ConfigError, DataError, RowError, ServingError, SoftPromptError
    from softprompt_tf.export.client.async_client import AsyncPredictionClient
    from softprompt_tf.export.client.client import PredictionClient
    from softprompt_tf.export.client.client_options import tls_credentials
    from softprompt_tf.export.client.task_info import TaskInfo
    from softprompt_tf.inference.answers import Classification, Generation

__all__ = [
    "AsyncPredictionClient",
    "Classification",
    "ConfigError",
    "DataError",
    "Generation",
    "PredictionClient",
    "RowError",
    "ServingError",
    "SoftPromptError",
    "TaskInfo",
    "__version__",
    "tls_credentials",
]
