"""The options of a model server: parsed, or as TF Serving's own flags."""

import numbers
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batching_parameters import BatchingParameters, read_batching_parameters
from softprompt_tf.export.server.model_versions import LoadRetries


@dataclass(frozen=True)
class ServingOptions:
    """What a server does beyond serving one directory; names, meanings and defaults are those of TF Serving's flags.

    Attributes:
      model_config_file: the models to serve, their version policies and labels.
      model_config_file_poll_wait_seconds: seconds between two looks at that file; 0 means that it is read once.
      enable_batching: merge concurrent requests into one run.
      batching_parameters_file: how they are merged; default TF Serving's defaults.
      allow_version_labels_for_unavailable_models: let a new label point to a version that is not loaded. Labels in
        the config that a server starts with need it: no version is loaded then.
      max_num_load_retries: how often a version that does not load is tried again.
      load_retry_interval_micros: time between two tries, in us.
      rest_api_enable_cors_support: let web pages of other origins ask over REST, in a browser.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if a wait is negative or no number.
    """

    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: int = 0
    enable_batching: bool = False
    batching_parameters_file: Path | None = None
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    rest_api_enable_cors_support: bool = False

    def __post_init__(self) -> None:
        check_interval("model_config_file_poll_wait_seconds", self.model_config_file_poll_wait_seconds)

    def batching_parameters(self) -> BatchingParameters | None:
        """Return how requests are merged, or None where they are not.

        Raises:
          ServingError: if the file is wrong, or there is one although requests are not to be merged.
        """
        if self.batching_parameters_file is None:
            return BatchingParameters() if self.enable_batching else None
        if not self.enable_batching:
            raise ServingError(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
                status="INVALID_ARGUMENT",
            )
        return read_batching_parameters(self.batching_parameters_file)

    def load_retries(self) -> LoadRetries:
        return LoadRetries(self.max_num_load_retries, self.load_retry_interval_micros / 1e6)

    def flags(self) -> list[str]:
        """Return the flags for `tensorflow_model_server`, without those that have its default value."""
        chosen = {name: value for name, value in vars(self).items() if value != getattr(DEFAULT_OPTIONS, name)}
        return [f"--{name}={str(value).lower() if value is True else value}" for name, value in chosen.items()]


def check_interval(name: str, seconds: float) -> None:
    """Refuse seconds between two looks that are no number from 0 up, where 0 means that there is one look.

    Raises:
      ServingError: with status INVALID_ARGUMENT.
    """
    if not isinstance(seconds, numbers.Real) or isinstance(seconds, bool) or not seconds >= 0:
        raise ServingError(
            f"`{name}` must be a number of seconds from 0 up. Received: {seconds!r}.", status="INVALID_ARGUMENT"
        )


DEFAULT_OPTIONS = ServingOptions()
