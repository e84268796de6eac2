"""Fill .carried/ with all that a run needs on a machine without a network: wheels, and answers recorded under TensorFlow.

    python -m benchmarks.accelerator.prepare [--only wheels|reference]

It needs TensorFlow, the package index, and about 2 GB for models with drawn weights in a temporary folder.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accelerator.case_names import MODELS
from benchmarks.accelerator.places import CARRIED, REFERENCE, WHEELS
from benchmarks.speed.protocol import ROOT

MOST_WHEELS_MB = 20
PACKAGES = Path(__file__).with_name("carried.txt")
PYTHON = "3.12"  # of the machine; optree's wheel is for one version alone
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch, record, and print how large each part is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("wheels", "reference"))
    parsed = parser.parse_args(arguments)
    if parsed.only != "reference":
        fetch_wheels()
    if parsed.only != "wheels":
        record = [sys.executable, "-m", "benchmarks.accelerator.record", str(REFERENCE), *MODELS]
        subprocess.run(record, check=True, cwd=ROOT)
    for path in sorted(path for path in CARRIED.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size / 1e6:7.2f} MB  {path.relative_to(CARRIED)}")
    print(f"{size_mb(CARRIED):7.2f} MB  in all")


def fetch_wheels() -> None:
    """Download the wheels of `carried.txt`; those of an earlier call go.

    Raises:
      ValueError: if they are larger than what a machine takes.
    """
    WHEELS.mkdir(parents=True, exist_ok=True)
    for wheel in WHEELS.glob("*.whl"):
        wheel.unlink()
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    version = ["--python-version", PYTHON, "--implementation", "cp"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *version]
    subprocess.run([*command, *platforms, "--dest", str(WHEELS), "--requirement", str(PACKAGES)], check=True)
    if size_mb(WHEELS) > MOST_WHEELS_MB:
        raise ValueError(f"The wheels must be at most {MOST_WHEELS_MB} MB. Received: {size_mb(WHEELS):.1f} MB.")


def size_mb(directory: Path) -> float:
    """Return the size of all files below a directory, in MB."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
