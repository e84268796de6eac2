"""The options of a prediction client, and its TLS credentials.

Both clients take the same options, by keyword; `ClientOptions` says what each means and what it may be.
"""

import numbers
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import grpc

from softprompt_tf.errors import ConfigError

MAX_MESSAGE_BYTES = 64 * 2**20
_MAX_VERSION = 2**63 - 1
_PEM_MARK = b"-----BEGIN "


@dataclass(frozen=True)
class ClientOptions:
    """How a client sends its requests.

    Args:
      timeout_s: seconds that one request may take, with all its retries and waits. Default 30.
      max_batch_size: rows of one request; a longer input becomes several requests. Default 64.
      max_concurrent_requests: requests that an `AsyncPredictionClient` has under way at once, over all its calls; the
        blocking client sends the requests of a call one after the other. Default 4.
      max_retries: how often a request is sent again after UNAVAILABLE; no other status is retried. Default 3.
      attempt_timeout_s: seconds that one attempt of a request may take. Where given, an attempt that ends in
        DEADLINE_EXCEEDED is sent again too, as often as `max_retries` says. Default: all that is left of `timeout_s`.
      initial_backoff_s: wait before the first retry; doubles each time, times a random factor in [0.5, 1.5]. Default 0.1.
      max_backoff_s: where the doubling ends, before the random factor. Default 5.
      retry_budget: retries that the client may send in all beyond a tenth of the requests that were answered, so that a
        server in trouble is not asked a multiple of the questions; at least 1. Default 20.
      seed: seed of the random factor of the waits.
      version: ask this version; default the newest.
      version_label: ask the version with this label, such as "stable". Not together with `version`.

    Raises:
      ConfigError: if a setting is of another type or out of range.
    """

    timeout_s: float = 30.0
    max_batch_size: int = 64
    max_concurrent_requests: int = 4
    max_retries: int = 3
    attempt_timeout_s: float | None = None
    initial_backoff_s: float = 0.1
    max_backoff_s: float = 5.0
    retry_budget: int = 20
    seed: int | None = None
    version: int | None = None
    version_label: str | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "initial_backoff_s"):
            check_above(name, getattr(self, name), 0)
        _check_number("retry_budget", self.retry_budget, is_whole=False)
        if not self.retry_budget >= 1:  # a retry takes 1
            raise ConfigError(
                f"`retry_budget` must be at least 1. Received: retry_budget={self.retry_budget!r}. For no retries give "
                "max_retries=0."
            )
        for name in ("max_batch_size", "max_concurrent_requests"):
            check_above(name, getattr(self, name), 0, is_whole=True)
        check_above("max_retries", self.max_retries, -1, is_whole=True)
        if self.attempt_timeout_s is not None:
            check_above("attempt_timeout_s", self.attempt_timeout_s, 0)
        check_above("max_backoff_s", self.max_backoff_s, 0)
        if self.max_backoff_s < self.initial_backoff_s:
            raise ConfigError(
                f"`max_backoff_s` must be at least `initial_backoff_s`. Received: {self.max_backoff_s!r},"
                f" {self.initial_backoff_s!r}."
            )
        if self.seed is not None:
            _check_number("seed", self.seed, is_whole=True)
            object.__setattr__(self, "seed", int(self.seed))  # `random` takes no integer of NumPy
        self._check_version()

    def _check_version(self) -> None:
        if self.version is not None:
            check_above("version", self.version, -1, is_whole=True)
            if self.version > _MAX_VERSION:
                raise ConfigError(f"`version` must be at most {_MAX_VERSION}. Received: version={self.version}.")
        if self.version_label is not None:
            check_name("version_label", self.version_label)
        if self.version is not None and self.version_label is not None:
            raise ConfigError(
                f"Give `version` or `version_label`, not both. Received: {self.version}, {self.version_label!r}."
            )


class OptionArguments(TypedDict, total=False):
    """The fields of `ClientOptions` as keyword arguments."""

    timeout_s: float
    max_batch_size: int
    max_concurrent_requests: int
    max_retries: int
    attempt_timeout_s: float | None
    initial_backoff_s: float
    max_backoff_s: float
    retry_budget: int
    seed: int | None
    version: int | None
    version_label: str | None


def tls_credentials(
    *,
    root_certificates: str | Path | None = None,
    client_key: str | Path | None = None,
    client_certificate: str | Path | None = None,
) -> grpc.ChannelCredentials:
    """Return a client's credentials for a TLS server, from PEM files.

    Args:
      root_certificates: the authorities that may have signed the server's certificate; default those of gRPC.
      client_key: this client's private key, where the server asks for one (mutual TLS).
      client_certificate: its certificate, with those that signed it after it. Together with `client_key`.

    Raises:
      ConfigError: if a file cannot be read or is not PEM, or only one of key and certificate is given.

    Examples:
      >>> from softprompt_tf.export import PredictionClient, tls_credentials
      >>> credentials = tls_credentials(root_certificates="ca.crt")
      >>> client = PredictionClient("models.example:8500", model_name="t5", credentials=credentials)
      >>> client.close()
    """
    if (client_key is None) != (client_certificate is None):
        raise ConfigError(
            "Give `client_key` and `client_certificate` together. Received:"
            f" client_key={client_key!r:.80}, client_certificate={client_certificate!r:.80}."
        )
    return grpc.ssl_channel_credentials(
        root_certificates=_read_pem("root_certificates", root_certificates),
        private_key=_read_pem("client_key", client_key),
        certificate_chain=_read_pem("client_certificate", client_certificate),
    )


def channel_options(options: ClientOptions) -> list[tuple[str, int | str]]:
    """Return gRPC's channel arguments: size of messages, choice among servers, wait before a lost connection is rebuilt."""
    # A lost connection is rebuilt after a wait of gRPC's own, a second at first: a retry before that would always fail.
    reconnect_ms = max(100, int(options.initial_backoff_s * 1000))
    return [
        ("grpc.lb_policy_name", "round_robin"),  # one request to each address that a name stands for; else all to one
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", reconnect_ms),
        ("grpc.max_reconnect_backoff_ms", 10 * reconnect_ms),
    ]


def check_server(target: Any, model_name: Any, credentials: Any) -> None:
    """Refuse an address, a model's name or credentials that gRPC could not take.

    Raises:
      ConfigError: naming the argument.
    """
    check_name("target", target)
    check_name("model_name", model_name)
    if credentials is not None and not isinstance(credentials, grpc.ChannelCredentials):
        raise ConfigError(
            f"`credentials` must be what `tls_credentials` returns, or None. Received: {type(credentials).__name__}."
        )


def check_above(name: str, value: float, bound: float, *, is_whole: bool = False) -> None:
    """Raise ConfigError unless `value` is a number, or a whole one, and greater than `bound`."""
    _check_number(name, value, is_whole=is_whole)
    if not value > bound:
        raise ConfigError(f"`{name}` must be greater than {bound}. Received: {name}={value!r}.")


def check_name(name: str, value: Any) -> None:
    """Raise ConfigError unless `value` is a string that is not empty and that UTF-8 can express."""
    try:
        is_name = isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise ConfigError(f"`{name}` must be a string of valid Unicode, and not empty. Received: {name}={value!r:.80}.")


def _check_number(name: str, value: Any, *, is_whole: bool) -> None:
    kind = numbers.Integral if is_whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"`{name}` must be a {'whole ' if is_whole else ''}number. Received: {name}={value!r:.80}.")


def _read_pem(name: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as error:  # the last two of what is no path, and of a NUL in one
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"`{name}` must be a readable PEM file. Received: {path!s:.200}: {reason}.") from error
    if _PEM_MARK not in content:  # gRPC would say no more than that no connection could be made
        raise ConfigError(f"`{name}` must be a PEM file. Received: {path}, which has no line `-----BEGIN ...`.")
    return content
