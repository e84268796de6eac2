"""Put tables between the comments of a page that name them."""

import re
from collections.abc import Mapping

_TABLE = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def written_page(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with each named table in its place.

    Raises:
      KeyError: if the page names a table that is not there.
    """
    return _TABLE.sub(lambda match: f"{match[1]}\n{tables[match['name']]}\n\n{match[3]}", text)
