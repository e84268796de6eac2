"""Make HTML with every text escaped. No other module makes tags from results."""

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML that is ready: `text` escapes every other string."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as HTML text, escaped for elements and for quoted attributes alike."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return one element; `class_` stands for `class`, and an attribute that is None is left out."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{pairs}>{''.join(map(text, children))}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(map(text, parts)))


def table(caption: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table whose first cell of each row is the row's header, in a box that scrolls where it is too wide."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    body = tag(
        "tbody",
        *(tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows),
    )
    content = tag("table", tag("caption", caption), head, body)
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: str, *children: object) -> Markup:
    """Return a part that is folded until it is asked for."""
    return tag("details", tag("summary", summary), *children)
