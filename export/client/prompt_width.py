"""The width H of the prompts that a served model takes: read once from its signatures, so that no other is sent.

A model server that merges requests fails every request of a batch because of one prompt of another width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from softprompt_tf.errors import DataError, ServingError
from softprompt_tf.export.client import wire

if TYPE_CHECKING:
    import numpy as np

GET_METADATA = (
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    wire.GetModelMetadataRequest,
    wire.GetModelMetadataResponse,
)
_SIGNATURES = "signature_def"
# The request for the answer itself would fail with these too.
_SERIOUS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "NOT_FOUND")


def metadata_request(spec: Any) -> Any:
    """Return the request for the signatures of the model that `spec` names."""
    return wire.GetModelMetadataRequest(model_spec=spec, metadata_field=[_SIGNATURES])


class PromptWidth:
    """What a client knows of H; a server or a model that does not say it is not asked again, and gets what comes."""

    def __init__(self) -> None:
        self._width: int | None = None
        self._is_unknowable = False

    def must_be_asked(self, prompt: "np.ndarray | None") -> bool:
        """Say whether a prompt [B, P, H] needs the server's word: at the first one, and before one is refused.

        The newest version may take another width than the one that was asked.
        """
        is_sent = prompt is not None and len(prompt) > 0
        return is_sent and not self._is_unknowable and self._width != prompt.shape[-1]  # type: ignore[union-attr]

    def note(self, response: Any) -> None:
        """Keep what the answer to `metadata_request` says."""
        width = _read_width(response)
        self._width, self._is_unknowable = width, width is None

    def check(self, prompt: "np.ndarray | None") -> None:
        """Refuse a prompt of another width.

        Raises:
          DataError: with both widths.
        """
        width = self._width  # read once: another thread may forget it meanwhile
        if width is None or prompt is None or width == prompt.shape[-1]:
            return
        raise DataError(
            f"`prompt` must be as wide as the served T5, H={width}. Received: H={prompt.shape[-1]}, shape "
            f"{prompt.shape}. Send a prompt that was trained for that T5."
        )

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Go on without a width where the server does not tell its signatures, such as behind a proxy.

        Raises:
          ServingError: where it would not answer either.
        """
        try:
            yield
        except ServingError as error:
            if error.status in _SERIOUS:
                raise
            self._is_unknowable = True

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Forget the width where the server refuses a prompt: another version may have come."""
        try:
            yield
        except ServingError as error:
            if error.status == "INVALID_ARGUMENT":
                self._width = None
            raise


def _read_width(response: Any) -> int | None:
    """Return H of the input `prompt`, whose shape is [B, P, H]; None where the model has none."""
    if _SIGNATURES not in response.metadata:
        return None
    signatures = wire.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value).signature_def
    if "generate_with_prompt" not in signatures or "prompt" not in signatures["generate_with_prompt"].inputs:
        return None
    dims = signatures["generate_with_prompt"].inputs["prompt"].tensor_shape.dim
    return int(dims[-1].size) if len(dims) == 3 and dims[-1].size > 0 else None
