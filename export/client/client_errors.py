"""The errors of a prediction client: what went wrong, with which server and model."""

from dataclasses import asdict, dataclass

import grpc

from softprompt_tf.errors import DataError, ServingError
from softprompt_tf.export.client.client_retries import Attempts

_HINTS = {
    "UNAVAILABLE": " Hint: is a model server listening there, is this its gRPC port (not the REST one), and does it speak TLS"
    " where this client does?",
    "DEADLINE_EXCEEDED": " Hint: raise `timeout_s`, or send fewer rows.",
    "NOT_FOUND": " Hint: check the model's name (by default that of the directory that is served) and `version`; `status()` lists"
    " the model's versions.",
    "RESOURCE_EXHAUSTED": " Hint: lower `max_batch_size`.",
}
_LABEL_HINT = " Hint: the server's `--model-config-file` names labels; without one, leave `version_label` out."


@dataclass(frozen=True)
class Asked:
    """Who was asked, and for how long: the fields that every `ServingError` carries."""

    target: str
    model_name: str
    timeout_s: float


def request_failed(error: grpc.RpcError, asked: Asked, attempts: Attempts) -> ServingError:
    """Return the error of a request that was refused, or ran out of retries or time."""
    status = error.code().name
    tries = f" after {attempts.count} attempts" if attempts.count > 1 else ""
    budget = "" if attempts.has_budget else " The client's retry budget is used up."
    details = (error.details() or "no details").rstrip(".")
    hint = _LABEL_HINT if "version label" in details else _HINTS.get(status, "")
    return ServingError(
        f"Model `{asked.model_name}` on {asked.target} did not answer: {status}{tries} (timeout_s={asked.timeout_s:g})."
        f" Received: {details}.{budget}{hint}",
        status=status,
        **asdict(asked),
    )


def unreadable_answer(error: DataError, asked: Asked) -> ServingError:
    """Return the error of an answer that is none of this library's signatures'."""
    return ServingError(
        f"Model `{asked.model_name}` on {asked.target} gave an answer that this client cannot read: {error}"
        " Hint: is it a model that this library exported?",
        status="INTERNAL",
        **asdict(asked),
    )


def client_closed(asked: Asked) -> ServingError:
    """Return the error of a request on a closed client, or of one that was under way when it closed."""
    return ServingError("This client is closed.", status="CANCELLED", **asdict(asked))
