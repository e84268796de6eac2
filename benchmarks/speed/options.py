"""What a run of the suite is told, and where its models and files lie."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.cases import DTYPES
from benchmarks.speed.protocol import ROOT


@dataclass(frozen=True)
class Options:
    """A run of the suite.

    Args:
      output: its directory: models, rows, results and plots.
      peer_python: the Python of the environment with torch, transformers and PEFT.
      data: the directory of public data sets (glue/sst2, superglue/boolq).
      rounds: interleaved rounds of a comparison.
      is_quick: whether it has to be over in about five minutes.
      only: of the comparisons, those whose name holds this.
      dtypes: of the comparisons, those that compute in these.
    """

    output: Path
    peer_python: str
    data: Path
    rounds: int = 12
    is_quick: bool = False
    only: str = ""
    dtypes: Sequence[str] = DTYPES

    def model(self, shape: str = "small") -> Path:
        """Return the directory of a model with random weights, written at the first call."""
        directory = self.output.resolve() / f"t5_1_1_{shape}"
        inputs.write_model(directory, inputs.SHAPES[shape])
        return directory


def default_data() -> Path:
    """Return where the tests look for data sets too."""
    return Path(os.environ.get("SOFTPROMPT_SHARED_DATA", ROOT.parent / "shared/data"))
