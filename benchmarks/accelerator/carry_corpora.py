"""Cut the corpora of `mini` to what may travel: `python -m benchmarks.accelerator.carry_corpora TEXTS OUTPUT`.

TEXTS holds gutenberg.txt.xz, wikipedia_en.txt.xz and us_presidential_speeches.txt.xz. Of the books only as many blocks are
taken as fit, every other one; the other two texts are taken complete.
"""

import argparse
import lzma
from pathlib import Path

MAX_BYTES = 40_000_000
TAKEN, OF = 1, 2
FILES = {"book": "gutenberg.txt.xz", "article": "wikipedia_en.txt.xz", "speech": "us_presidential_speeches.txt.xz"}


def carry(texts: Path, output: Path) -> int:
    """Write the carried corpora; return their bytes.

    Raises:
      ValueError: if they are larger than what may travel.
    """
    output.mkdir(parents=True, exist_ok=True)
    for kind, name in FILES.items():
        target = output / f"{kind}.txt.xz"
        if kind != "book":
            target.write_bytes((texts / name).read_bytes())
            continue
        with lzma.open(texts / name, "rt", encoding="utf-8") as lines:
            content = "".join(line for number, line in enumerate(lines) if number % OF < TAKEN)
        target.write_bytes(lzma.compress(content.encode("utf-8")))
    size = sum(path.stat().st_size for path in output.glob("*.xz"))
    if size > MAX_BYTES:
        raise ValueError(f"The carried corpora must be at most {MAX_BYTES} bytes. Received: {size}.")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path, help="the directory of the corpora")
    parser.add_argument("output", type=Path, help="the directory that travels")
    arguments = parser.parse_args()
    print(f"{carry(arguments.texts, arguments.output) / 1e6:.1f} MB of text in {arguments.output}")


if __name__ == "__main__":
    main()
