"""Messages that the documentation quotes are those of the code."""

import ast
import re

import pytest
from page_blocks import ROOT, blocks_of

STATUS_TEXTS = (
    "Unknown task id '",
    "`text` must be valid UTF-8.",
    "Markers of `text` must ask for at most ",
    "The target must be one of the task's labels.",
    "This task has no labels. Ask for `serving_default`.",
    "`prompt` must be finite. Received: NaN or infinity.",
    "The scores must be finite. Received: NaN or infinity. Check the values of the prompt.",
)


def texts_of_the_code():
    """Return every string of the package, with … where a value goes in."""
    found = []
    for folder in ("softprompt_tf", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


TEXTS = texts_of_the_code()
MESSAGES = [block.code.strip() for block in blocks_of(ROOT / "docs" / "troubleshooting.md") if block.language == "text"]


@pytest.mark.parametrize("message", MESSAGES, ids=[message[:40] for message in MESSAGES])
def test_a_quoted_message_is_in_the_code(message):
    assert any(message in text for text in TEXTS)


def test_troubleshooting_quotes_messages():
    assert len(MESSAGES) > 15


@pytest.mark.parametrize("status", STATUS_TEXTS)
def test_a_status_text_is_in_the_code_and_on_its_page(status):
    page = (ROOT / "docs" / "reference" / "signatures.md").read_text(encoding="utf-8")

    assert status in page
    assert any(form in text for text in TEXTS for form in (status, status.replace("`text`", "`…`")))


def test_links_to_symptoms_reach_a_heading():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line[4:].lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("### ")
    }

    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for anchor in re.findall(r"troubleshooting\.md#([\w-]+)", path.read_text(encoding="utf-8")):
            assert anchor in headings, path


def test_lines_that_tutorials_show_are_those_of_the_program():
    """Of lines such as "tickets: scoring 30 test rows": what stands before and between the values."""
    known = [text.split("…") for text in set(TEXTS) if len(text.replace("…", "")) >= 6]
    pages = (ROOT / "docs" / "tutorials").glob("*.md")
    shown = {
        line
        for page in pages
        for block in blocks_of(page)
        if block.language == "text"
        for line in block.code.splitlines()
    }

    ours = [line for line in shown if re.match(r"\w+: ", line)]

    assert len(ours) >= 5
    assert [line for line in ours if not any(is_made_of(parts, line) for parts in known)] == []


def is_made_of(parts, line):
    return all(part in line for part in parts) and re.fullmatch(".+".join(map(re.escape, parts)), line)
