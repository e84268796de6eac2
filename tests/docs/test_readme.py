"""README can be read in ten minutes, and its links lead somewhere."""

import re

import pytest
from page_blocks import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_is_short():
    lines = README.splitlines()

    assert len(lines) <= 100
    assert len(README.split()) <= 900
    assert max(map(len, lines)) <= 125


def test_files_that_readme_and_contributing_link_to_exist():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
        missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
        assert missing == [], name


@pytest.mark.parametrize(
    ("page", "link"),
    [("README.md", "docs/images/flow.svg"), ("docs/how_to/late_prompts.md", "../images/late_prompts.svg")],
)
def test_the_picture_is_described_for_those_who_do_not_see_it(page, link):
    path = ROOT / page
    picture = (path.parent / link).read_text(encoding="utf-8")

    assert re.search(rf"!\[[^\]]{{20,}}\]\({re.escape(link)}\)", path.read_text(encoding="utf-8"))
    assert "<desc" in picture
    assert "prefers-color-scheme: dark" in picture
