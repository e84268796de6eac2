"""Notice at once that another worker has ended: TensorFlow alone waits for it until a sum's time is over.

A connection to each worker's server is kept. The system closes it when that process ends, in whatever way.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence

_LOOK_EVERY_S = 0.5
_GRACE_S = 2.0  # in which an address has to answer again; a server closes connections that ask nothing, too
_TRY_EVERY_S = 0.25
_READ = 4_096


def answers(address: str) -> bool:
    """Return whether somebody listens at an address, HOST:PORT."""
    connection = _connected(address)
    if connection is not None:
        connection.close()
    return connection is not None


class Watch(threading.Thread):
    """Looks after some addresses, until one of them does not answer any more or it is stopped.

    Args:
      addresses: all of which answer.
      on_loss: is called with the first address that does not; in this thread.
    """

    def __init__(self, addresses: Sequence[str], on_loss: Callable[[str], None]):
        super().__init__(name="watch of workers", daemon=True)
        self._addresses = addresses
        self._on_loss = on_loss
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """Look no more; a loss is not told from here on."""
        self._is_stopped.set()

    def run(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            lost = next((each for each in self._addresses if not self._follow(each, selector, stack)), None)
            while lost is None and not self._is_stopped.is_set():
                lost = self._first_lost(selector, stack)
        if lost is not None and not self._is_stopped.is_set():
            self._on_loss(lost)

    def _first_lost(self, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> str | None:
        for key, _ in selector.select(_LOOK_EVERY_S):
            if not _is_closed(key.fileobj):  # type: ignore[arg-type]
                continue
            selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
            if not self._follow(key.data, selector, stack):
                return str(key.data)
        return None

    def _follow(self, address: str, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> bool:
        """Keep a connection to an address; return False where it does not answer in time."""
        end = time.monotonic() + _GRACE_S
        while (connection := _connected(address)) is None:
            if time.monotonic() > end or self._is_stopped.is_set():
                return self._is_stopped.is_set()
            time.sleep(_TRY_EVERY_S)
        stack.callback(connection.close)
        selector.register(connection, selectors.EVENT_READ, address)
        return True


def _connected(address: str) -> socket.socket | None:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), timeout=2.0)
    except OSError:
        return None


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(_READ)
    except OSError:
        return True
