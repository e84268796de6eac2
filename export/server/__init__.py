"""The local model server, over gRPC and REST."""

from typing import TYPE_CHECKING

from softprompt_tf.lazy_names import lazy_names

if TYPE_CHECKING:
    from softprompt_tf.export.server.serve_until_stopped import serve as serve
    from softprompt_tf.export.server.server import ModelServer as ModelServer

_MODULE_OF = {"ModelServer": "server", "serve": "serve_until_stopped"}

__all__ = sorted(_MODULE_OF)

__getattr__ = lazy_names(__name__, _MODULE_OF)
