"""Every exception that this library raises on purpose, in one tree.

    SoftPromptError
    |-- ConfigError             a config file, a key or a value is wrong
    |-- DataError               a row, a file or a template does not fit
    |-- BackboneError           a T5 cannot be found, read or used
    |-- BackendError            the Keras backend cannot do what was asked
    |-- PromptError             a prompt has the wrong shape, dtype or settings
    |   |-- PromptFileError     a prompt file is missing, damaged or not one of ours
    |   `-- BackboneMismatchError  a prompt was made for another backbone
    |-- TrainingError           a run cannot start, go on or resume
    |   |-- NonFiniteLossError  the loss became NaN or infinite
    |   `-- WorkerLostError     another worker of the training has ended, or never came
    |-- ExportError             a SavedModel cannot be written
    |   `-- VerificationError   a written SavedModel does not answer as Keras does
    `-- ServingError            a request to a model server failed
        `-- RowError            the server answered, but some rows are bad

Each one is a builtin too (`ValueError` or `RuntimeError`), so code that knows nothing of this library can catch it.
"""

import re

_OPERATION = re.compile(r"\{\{function_node [^}]*\}\} ?| ?\[Op:\w+\](?: name: ?)?")


class SoftPromptError(Exception):
    """The base of every error that this library raises on purpose."""


class ConfigError(SoftPromptError, ValueError):
    """A config file, one of its keys or one of its values is wrong."""


class DataError(SoftPromptError, ValueError):
    """A row, a file or a template does not fit; the message names file, line and field where they are known."""


class BackboneError(SoftPromptError, ValueError):
    """A T5 cannot be found, read or used."""


class BackendError(SoftPromptError, RuntimeError):
    """The Keras backend that runs cannot do what was asked."""


class PromptError(SoftPromptError, ValueError):
    """A prompt has the wrong shape, dtype or settings."""


class PromptFileError(PromptError):
    """A prompt file is missing, damaged or not one of ours."""


class BackboneMismatchError(PromptError):
    """A prompt was made for another backbone or another tokenizer."""


class TrainingError(SoftPromptError, RuntimeError):
    """A training run cannot start, go on or resume."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite; the message says at which step and learning rate."""


class WorkerLostError(TrainingError):
    """Another worker of the training has ended, does not answer, or never came; the run can be started again."""


class ExportError(SoftPromptError, RuntimeError):
    """A SavedModel cannot be written; the target directory is as it was before."""


class VerificationError(ExportError):
    """A written SavedModel does not load, or does not answer as the Keras model does.

    Attributes:
      status: the name of TensorFlow's status, such as "DATA_LOSS"; empty where TensorFlow did not refuse.
      reason: TensorFlow's own message.
    """

    def __init__(self, message: str, *, status: str = "", reason: str = ""):
        super().__init__(message)
        self.status = status
        self.reason = reason


class ServingError(SoftPromptError, RuntimeError):
    """A request to a model server failed.

    Attributes:
      status: the gRPC status' name, such as "NOT_FOUND".
      target: "host:port" of the server.
      model_name: the model that was asked.
      timeout_s: the deadline of the call, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        status: str = "UNKNOWN",
        target: str = "",
        model_name: str = "",
        timeout_s: float | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.target = target
        self.model_name = model_name
        self.timeout_s = timeout_s


class RowError(ServingError):
    """The server answered, but some rows of the request are bad.

    Attributes:
      row_status: the status of each row, "" for a good one.
      answers: what the server answered for every row, in the client's own result type; a bad row's answer is None.
    """

    def __init__(self, message: str, *, row_status: list[str], answers: object = None, **context: object):
        super().__init__(message, status="INVALID_ARGUMENT", **context)  # type: ignore[arg-type]
        self.row_status = row_status
        self.answers = answers


def first_line(error: BaseException, *, longest: int = 200) -> str:
    """Return the first line of another library's message, its first characters, or the error's name where it has none.

    What TensorFlow says of its own operation, such as `{{function_node ...}}` and `[Op:SaveV2]`, is left out.
    """
    text = _OPERATION.sub("", str(error)).strip()
    return (text.splitlines() or [type(error).__name__])[0][:longest]
