"""Make a notebook of a tutorial: its Python blocks are code cells, all else is text.

tests/docs/test_code_blocks.py runs the same blocks, so that the notebook's code is tested too.
"""

import json
import re
from typing import Any

# Tutorials that are Python from top to bottom.
NOTEBOOKS = ("get_started.md", "tutorials/keras.md")
_CODE = re.compile(r"^```python\n(.*?)^```$\n?", flags=re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!-- .*? -->\n", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")


def notebook_page(markdown: str) -> str:
    """Return the notebook of a page, as JSON of nbformat 4.5."""
    cells = []
    for number, part in enumerate(_CODE.split(markdown)):
        is_code = number % 2 == 1
        text = part.strip("\n") if is_code else _text(part)
        if text:
            cells.append(_cell(f"cell-{number}", text, is_code=is_code))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}, indent=1) + "\n"


def with_notebook_link(markdown: str, page: str) -> str:
    """Return a page with a link to its notebook below the title, where it has one."""
    if page not in NOTEBOOKS:
        return markdown
    title, _, rest = markdown.partition("\n")
    name = page.rpartition("/")[2].removesuffix(".md")
    return f"{title}\n\n[Download this page as a notebook]({name}.ipynb){{ download }}\n{rest}"


def _text(part: str) -> str:
    """Return text without comments, and without links to other pages, which a notebook is far from."""
    return _LINK.sub(r"\1", _COMMENT.sub("", part)).strip()


def _cell(name: str, text: str, *, is_code: bool) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
    if is_code:
        return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}
    return {"cell_type": "markdown", **cell}
