"""What `mkdocs build` does besides: adds the generated pages and the repository's own files, and lays the package out.

MkDocs calls `on_config`, `on_files`, `on_page_markdown`, `on_page_content` and `on_post_build` by their names.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from command_page import command_page
from config_page import config_page
from metric_page import metric_page
from notebook_page import NOTEBOOKS, notebook_page, with_notebook_link
from repository_links import SHOWN, with_site_links
from wrapped_output import with_wrapped_output

from softprompt_tf.cli.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
_PACKAGE = tempfile.TemporaryDirectory(prefix="softprompt_docs_")


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings the package as it is installed: `export` and `configs` lie beside it in the repository."""
    package = Path(_PACKAGE.name) / "softprompt_tf"
    package.mkdir(exist_ok=True)
    folders = {path.name: path for path in (ROOT / "softprompt_tf").iterdir()}
    for name, path in {**folders, "export": ROOT / "export", "configs": ROOT / "configs"}.items():
        if not (package / name).exists():
            (package / name).symlink_to(path)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_PACKAGE.name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the files of the repository that the site shows."""
    for place, content in {
        "reference/cli.md": command_page(build_parser()),
        "reference/config.md": config_page(),
        "reference/metrics.md": metric_page(),
    }.items():
        files.append(File.generated(config, place, content=content))
    for page in NOTEBOOKS:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        files.append(File.generated(config, page.removesuffix(".md") + ".ipynb", content=notebook_page(text)))
    for file, place in SHOWN.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links to files of the repository; add the link to the notebook."""
    return with_notebook_link(with_site_links(markdown, page.file.src_uri), page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Let the lines of messages wrap."""
    return with_wrapped_output(html)


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """Remove the package's layout."""
    _PACKAGE.cleanup()
