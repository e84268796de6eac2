"""Find and fetch a TFDS data set; whatever goes wrong inside TFDS becomes one DataError."""

import contextlib
import os
import socket
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlparse

from softprompt_tf.errors import DataError, first_line

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_HOSTS_TO_TRY = 2


def tfds_builder(name: str) -> Any:
    """Return the builder of a TFDS data set.

    Raises:
      DataError: if TFDS cannot be imported, or knows no such data set.
    """
    try:
        import tensorflow_datasets as tfds  # slow to import, and needed for these sources alone

        return tfds.builder(name)
    except ImportError as error:
        raise DataError(
            f"TFDS needs a package that is not installed: {first_line(error)}. Received: the TFDS name {name!r}. "
            "Install this library again, which names what TFDS needs, or install that package."
        ) from error
    except (
        Exception
    ) as error:  # ValueError, AssertionError, TypeError, its HTTP library's own: TFDS raises what it meets
        raise DataError(
            f"There is neither a file nor a TFDS data set of this name. Received: {name!r}. "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def fetch(builder: Any, name: str) -> None:
    """Download and prepare a data set, unless it is there.

    Raises:
      DataError: if it cannot be fetched.
    """
    missing = _missing_host(builder)
    try:
        with _one_try_alone() if missing else contextlib.nullcontext():
            builder.download_and_prepare()
    except Exception as error:  # of the network, the disk, a checksum, an archive, a missing package
        network = f" No network: the host {missing} cannot be found." if missing else ""
        raise DataError(
            f"The TFDS data set cannot be fetched. Received: {name}.{network} {type(error).__name__}: {first_line(error)}"
        ) from error


def _missing_host(builder: Any) -> str | None:
    """Return a host of the data set's files, if this machine finds none of the first few; None also behind a proxy."""
    hosts = dict.fromkeys(urlparse(str(url)).hostname for url in getattr(builder, "url_infos", None) or ())
    first = list(islice(filter(None, hosts), _HOSTS_TO_TRY))
    if not first or any(map(os.environ.get, _PROXIES)) or any(map(_is_known, first)):
        return None
    return first[0]


@contextlib.contextmanager
def _one_try_alone() -> Iterator[None]:
    """Let TFDS fail at once where there is no network. Its own 10 tries take 4 minutes, and it has no option for them."""
    from tensorflow_datasets.core.download import downloader

    tries = getattr(downloader, "MAX_RETRIES", None)
    downloader.MAX_RETRIES = 0
    try:
        yield
    finally:
        downloader.MAX_RETRIES = tries


def _is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
