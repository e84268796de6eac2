"""The local model server, over gRPC and REST."""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.export.server.server import ModelServer as ModelServer
    from softprompt_tf.export.server.server import serve as serve

_MODULE_OF = {"ModelServer": "server", "serve": "server"}

__all__ = sorted(_MODULE_OF)

__getattr__ = lazy_names(__name__, _MODULE_OF)
