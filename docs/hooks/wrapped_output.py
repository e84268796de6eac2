"""Mark blocks of output whose lines may wrap: messages, but no columns, which line breaks would tear apart."""

import re

_OUTPUT = re.compile(r'<div class="language-text highlight">(.*?)</pre>', re.DOTALL)
_COLUMNS = re.compile(r"\S {2,}\S")


def with_wrapped_output(html: str) -> str:
    """Give the class `wraps` to blocks of plain text without columns, so that long messages can be read on a phone."""
    return _OUTPUT.sub(_marked, html)


def _marked(block: re.Match[str]) -> str:
    if _COLUMNS.search(block[1]):
        return block[0]
    return block[0].replace('class="language-text highlight"', 'class="language-text highlight wraps"', 1)
