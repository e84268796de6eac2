"""The HTTP server of the REST form: read requests, answer them in threads.

uvicorn and h11 do the protocol: kept connections, chunked bodies, `Expect: 100-continue`. This module adds what TF
Serving's own HTTP server does: gzip, the codes for methods and paths that no handler takes, its pages, and a limit.

Source: tensorflow/serving util/net_http/server/internal/evhttp_server.cc and evhttp_request.cc; libevent http.c
(`evhttp_send_error`); model_servers/http_rest_api_util.cc (`AddCORSHeaders`).
"""

import asyncio
import http
import logging
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import uvicorn

from softprompt_tf.export.server.rest_paths import is_api_path, split_target

Answer = Callable[[str, str, bytes], tuple[int, bytes]]  # method, path, body -> code, body

_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_WORKERS = 64  # requests under way at the same time; with batching most of them wait
_KEEP_ALIVE_S = 60  # an idle connection is kept
_BACKLOG = 128
_MAX_UNPACKED_BYTES = 100 * 1024 * 1024  # of a gzip body
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)
_DRAINED_BYTES = 2**20  # of a body that is too large: read and dropped, so that the answer arrives

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: dict[bytes, bytes]


@dataclass(frozen=True)
class _Response:
    code: int
    body: bytes = b""
    content_type: str = "application/json"
    closes: bool = False
    is_page: bool = False  # of what no handler takes


class RestServer:
    """Answer HTTP requests on a port from `start` to `close`.

    Args:
      answer: method, path and body to the code and the body of an answer; called from many threads.
      host: address to listen on.
      port: port to listen on, 0 for any free one.
      max_body_bytes: a larger body is refused with 413.
      enable_cors: let pages of other origins ask, in a browser. Default no.

    Attributes:
      port: the port in use.

    Raises:
      OSError: if the port is taken.
    """

    def __init__(self, answer: Answer, *, host: str, port: int, max_body_bytes: int, enable_cors: bool = False):
        self._answer, self._max_body_bytes, self._enable_cors = answer, max_body_bytes, enable_cors
        self._socket = socket.create_server((host, port), backlog=_BACKLOG)
        # Connections inherit it: else a kept one waits 40 ms for an acknowledgement between headers and body.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._workers = futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="rest")
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._serve,
                interface="asgi3",
                proxy_headers=False,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, grace_s: float = 5.0) -> None:
        """Refuse new requests, let those under way finish for up to `grace_s` seconds, and free the port."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: the ASGI application."""
        request = _read_head(scope)
        body = await self._read_body(request, receive)
        response = _page(413) if body is None else await self._respond(request, body)
        headers = [(b"content-type", response.content_type.encode()), (b"content-length", b"%d" % len(response.body))]
        if response.closes:
            headers.append((b"connection", b"close"))
        if self._enable_cors and not response.is_page:
            headers += _CORS
        await send({"type": "http.response.start", "status": response.code, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})

    async def _read_body(self, request: _Request, receive: Any) -> bytes | None:
        """Return the body; None where it is too large, which is seen before it is in memory."""
        parts, size = [], 0
        declared = int(request.headers.get(b"content-length", b"0"))
        if declared > self._max_body_bytes and (b"expect" in request.headers or declared > _DRAINED_BYTES):
            return None
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if size <= self._max_body_bytes:
                parts.append(message.get("body", b""))
            if not message.get("more_body") or size > self._max_body_bytes + _DRAINED_BYTES:
                return b"".join(parts) if size <= self._max_body_bytes else None

    async def _respond(self, request: _Request, body: bytes) -> _Response:
        if request.method not in _METHODS:
            return _page(501)
        path = split_target(request.target)
        if path is None:
            return _page(400)
        if not is_api_path(path):
            return _page(404)
        if request.method == "OPTIONS":  # a browser asks with `Origin` whether it may send the real request
            code = 200 if b"origin" in request.headers else 400
            return _Response(code, content_type="text/html; charset=ISO-8859-1")
        if b"gzip" in request.headers.get(b"content-encoding", b""):
            body = _unpack(body, max_bytes=min(self._max_body_bytes, _MAX_UNPACKED_BYTES))
        loop = asyncio.get_running_loop()
        return _Response(*await loop.run_in_executor(self._workers, self._answer, request.method, path, body))


def _read_head(scope: Any) -> _Request:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return _Request(scope["method"], target.decode("latin-1"), dict(scope["headers"]))


def _unpack(body: bytes, *, max_bytes: int) -> bytes:
    """Return the content of a gzip body; nothing where it is none, is cut, or is too large, as TF Serving does."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = unpacker.decompress(body, max_bytes)
    except zlib.error as error:
        logger.warning("A gzip body cannot be unpacked: %s", error)
        return b""
    return content if unpacker.eof else b""


def _page(code: int) -> _Response:
    """Return the page with which TF Serving refuses what no handler takes; the connection ends with it."""
    reason = http.HTTPStatus(code).phrase
    page = f"<HTML><HEAD>\n<TITLE>{code} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return _Response(code, page.encode(), "text/html", closes=True, is_page=True)
