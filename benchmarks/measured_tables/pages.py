"""Put tables between the comments of a page that name them."""

import re
from collections.abc import Mapping

_TABLE = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def written_page(text: str, tables: Mapping[str, str | None]) -> str:
    """Return a page with each named table in its place; a table that is None leaves what the page has there.

    Raises:
      KeyError: if the page names a table that is not there.
    """

    def written(match: re.Match[str]) -> str:
        table = tables[match["name"]]
        return match[0] if table is None else f"{match[1]}\n{table}\n\n{match[3]}"

    return _TABLE.sub(written, text)
