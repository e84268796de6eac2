"""The generated pages of the site, and the links that it rewrites."""

import argparse
import json

import pytest
from command_page import command_page
from config_page import commented_values, config_page, documented_arguments
from metric_page import metric_page
from notebook_page import NOTEBOOKS, notebook_page, with_notebook_link
from page_blocks import ROOT, blocks_of
from repository_links import SHOWN, with_site_links
from wrapped_output import with_wrapped_output

from softprompt_tf.cli.cli import build_parser
from softprompt_tf.config import RunConfig, TaskConfig, TrainingConfig
from softprompt_tf.methods.registry import METHODS


def small_parser():
    parser = argparse.ArgumentParser(prog="tool")
    commands = parser.add_subparsers()
    cut = commands.add_parser("cut", help="cut a | text")
    cut.add_argument("file", help="a file")
    cut.add_argument("--count", type=int, default=5, help="pieces, %(default)s where it is left out")
    cut.add_argument("--kind", choices=("a", "b"), required=True)
    cut.add_argument("--quiet", action="store_true", help="say nothing")
    return parser


def test_a_command_has_its_arguments_with_defaults_and_choices():
    page = command_page(small_parser())

    assert "## softprompt cut" in page
    assert "| [`cut`](#softprompt-cut) | cut a \\| text |" in page
    assert "| `file` |  | a file |" in page
    assert "| `--count COUNT` | `5` | pieces, 5 where it is left out |" in page
    assert "| `--kind KIND` | required | one of `a`, `b` |" in page
    assert "| `--quiet` |  | say nothing |" in page


def test_every_command_of_the_program_has_a_section():
    page = command_page(build_parser())

    for name in (
        "train",
        "evaluate",
        "predict",
        "export",
        "serve",
        "query",
        "convert",
        "inspect",
        "sweep",
        "pretrain",
        "demo",
    ):
        assert f"\n## softprompt {name}\n" in page


def test_every_key_of_a_config_has_a_row():
    page = config_page()
    sections = [RunConfig, TaskConfig, TrainingConfig, *(row.config for row in METHODS.values())]

    for section in sections:
        for key in section.model_fields:
            assert f"\n| `{key}` | " in page


def test_keys_have_their_defaults():
    page = config_page()

    assert "| `steps` | `30000` |" in page
    assert "| `taskless` | `false` |" in page
    assert "| `labels` | null |" in page
    assert "| `inputs` | required |" in page
    assert "| `metrics` | `[accuracy]` |" in page
    assert "| `warmup_steps` | `0` |" in page


def test_a_key_says_its_form_once():
    page = config_page()

    assert "| `batch_size` | `32` | a whole number above 0: rows per step; the paper's runs |" in page
    assert (
        "| `strategy` | `default` | default, mirrored, tpu or multi_worker (the processes that TF_CONFIG names) |"
        in page
    )
    assert "| `encoder` | `true` | true or false (whether the encoder's layers are changed) |" in page  # of LoRA


def test_a_metric_says_what_its_value_is():
    page = metric_page()

    assert "| `accuracy` | The share of predictions that equal their target" in page
    assert "Raises" not in page


def test_arguments_of_a_docstring_are_read_with_their_further_lines(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('class A:\n    """Do.\n\n    Args:\n      x: one\n        and two.\n      y, z: both.\n    """\n')

    assert documented_arguments(path, "A") == {"x": "one and two.", "y": "both.", "z": "both."}


def test_comments_of_yaml_values_are_read_with_their_further_lines():
    text = "# head\na:\n  b: 1   # one\n         # and more\n  c: 2\n  d: 3  # three\n"

    assert commented_values(text) == {"b": "one and more", "d": "three"}


def test_a_link_to_a_page_stays():
    assert with_site_links("[x](../a/b.md#c)", "how_to/d.md", {}) == "[x](../a/b.md#c)"


def test_a_link_to_a_shown_file_leads_to_its_place():
    shown = {"bench/speed.svg": "images/speed.svg", "NOTES.md": "notes.md"}

    assert with_site_links("![x](../../bench/speed.svg)", "how_to/d.md", shown) == "![x](../images/speed.svg)"
    assert with_site_links("[x](docs/how_to/d.md#e)", "notes.md", shown) == "[x](how_to/d.md#e)"
    assert with_site_links("[x](https://a.b/c) [y](other.txt)", "d.md", shown) == "[x](https://a.b/c) [y](other.txt)"


def test_shown_files_exist():
    assert [file for file in SHOWN if not (ROOT / file).exists()] == []


def test_a_notebook_has_python_as_code_and_all_else_as_text():
    page = "# A\n\nSee [b](../b.md).\n\n<!-- test: skip, c -->\n```bash\nls\n```\n\n```python\nx = 1\n\ny = 2\n```\n\nEnd.\n"

    made = json.loads(notebook_page(page))

    assert [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]] == [
        ("markdown", "# A\n\nSee b.\n\n```bash\nls\n```"),
        ("code", "x = 1\n\ny = 2"),
        ("markdown", "End."),
    ]


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_a_notebook_has_the_code_that_is_tested(page):
    path = ROOT / "docs" / page
    made = json.loads(notebook_page(path.read_text(encoding="utf-8")))

    code = ["".join(cell["source"]) + "\n" for cell in made["cells"] if cell["cell_type"] == "code"]

    assert code == [block.code for block in blocks_of(path) if block.language == "python" and block.note != "skip"]


def test_a_page_with_a_notebook_has_its_link():
    assert with_notebook_link("# A\nb\n", "tutorials/keras.md").splitlines()[2].startswith("[Download this page as a")
    assert with_notebook_link("# A\nb\n", "glossary.md") == "# A\nb\n"


def test_messages_wrap_and_columns_do_not():
    message = '<div class="language-text highlight"><pre><code>`steps` must be above 0.</code></pre></div>'
    columns = '<div class="language-text highlight"><pre><code>task   dev\nfilm   0.9</code></pre></div>'

    html = with_wrapped_output(message + columns)

    assert html == message.replace("highlight", "highlight wraps") + columns
