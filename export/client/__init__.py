"""Asking a model server over gRPC: the sync and the asyncio client. Needs neither TensorFlow nor Keras nor NumPy."""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.export.client.async_client import AsyncPredictionClient as AsyncPredictionClient
    from softprompt_tf.export.client.client import PredictionClient as PredictionClient
    from softprompt_tf.export.client.client_options import tls_credentials as tls_credentials

_MODULE_OF = {
    "AsyncPredictionClient": "async_client",
    "PredictionClient": "client",
    "tls_credentials": "client_options",
}

__all__ = sorted(_MODULE_OF)

__getattr__ = lazy_names(__name__, _MODULE_OF)
