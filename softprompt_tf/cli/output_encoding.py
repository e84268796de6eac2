"""Print what the standard output's encoding does not have as JSON escapes, such as \\u00e9, where Python would end the command.

So a command prints all of its lines in a terminal that is not UTF-8, and a JSON line stays one.
"""

import codecs
import contextlib
import io
import sys
from collections.abc import Iterator

_HANDLER = "softprompt_tf.json_escapes"


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Escape within a `with` block what the standard output cannot encode."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):  # None, or another program's stand-in
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors=_HANDLER)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):  # it was closed, or nobody reads it
            stream.reconfigure(errors=errors)


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k : k + 2].hex()}" for k in range(0, len(units), 2)), error.end


codecs.register_error(_HANDLER, _json_escapes)
