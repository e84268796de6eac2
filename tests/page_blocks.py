"""The code blocks of a documentation page: language, text, and what a comment above a block says to the tests.

`<!-- test: skip, REASON -->` leaves a block out, `<!-- test: background -->` starts its command and does not wait for it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<note>\w+)[^>]*-->\n)?^```(?P<language>\w+)(?P<rest>[^\n]*)\n(?P<code>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
# What a page may take minutes for takes seconds in a test; results are not compared.
_SHORTER = (
    (r"(training\.steps=|^\s*steps: |[{ ]steps: )\d+", r"\g<1>2"),
    (r"(training\.evaluate_every=|evaluate_every: )\d+", r"\g<1>1"),
    (r"(warmup_steps: )\d+", r"\g<1>0"),
    (r"(epochs=)\d+", r"\g<1>1"),
    (r"(layer=)\d+", r"\g<1>0"),  # the T5 of the tests has one layer
    (r"^(softprompt export) (?=--prompt|--add|--remove)", r"\g<1> --no-verify "),  # the check loads each version twice
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
      language: such as "python".
      code: its lines, indented as in the page.
      note: "skip", "background" or "".
      title: a file's name where the block is that file, else "".
    """

    language: str
    code: str
    note: str = ""
    title: str = ""


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page that stand at the margin, in order."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', match["rest"])
        found.append(Block(match["language"], match["code"], match["note"] or "", title[1] if title else ""))
    return found


def shortened(code: str) -> str:
    """Return code that trains for as few steps as it can."""
    for pattern, replacement in _SHORTER:
        code = re.sub(pattern, replacement, code, flags=re.MULTILINE)
    return code


def command_lines(code: str) -> list[str]:
    """Return the commands of a shell block, one a line, without comments and blank lines."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
