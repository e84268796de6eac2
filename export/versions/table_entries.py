"""Tell which entries of a version's index are tables of tasks, and of which tensor."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tensorflow.core.protobuf import tensor_bundle_pb2

from softprompt_tf.export.graph.task_columns import MEMBERS, columns_of
from softprompt_tf.export.graph.task_tables import table_name
from softprompt_tf.methods.task_tensors import PROMPT, TENSORS

_KEY = "tables/{}/.ATTRIBUTES/VARIABLE_VALUE"
TABLE_KEYS = {name: _KEY.format(table_name(name)).encode() for name in TENSORS}  # tensor's name -> its table's key
_SLICE = b"\0"  # the keys of slices begin so, and no name does


class GraphTables(NamedTuple):
    """What a version's graph reads: columns by name, tables with W, the values of a row, and how these are stored."""

    columns: Sequence[str]
    tables: Mapping[str, int]
    table_dtype: str

    @classmethod
    def of(cls, entries: Mapping[bytes, bytes], table_dtype: str, *, hidden_dim: int) -> "GraphTables":
        """Read it from a version's index; the table of prompts, of width H, is always one of its tables."""
        found = {name: _width(entries[key]) for name, key in TABLE_KEYS.items() if key in entries}
        tables = {PROMPT: hidden_dim, **found}
        has_ensembles = column_key(MEMBERS).encode() in entries
        columns = [name for name in columns_of(list(tables)) if name != MEMBERS or has_ensembles]
        return cls(columns, tables, table_dtype)


def column_key(name: str) -> str:
    """Return the key of a column."""
    return _KEY.format(f"columns/{name}")


def is_column(key: bytes) -> bool:
    """Say whether an entry is one of the columns: of the tables, and not a large one."""
    return key.startswith(_KEY.partition("{")[0].encode()) and key not in TABLE_KEYS.values()


def is_of_table(key: bytes) -> bool:
    """Say whether an entry is of a tensor's table, or of some of its rows."""
    return key in TABLE_KEYS.values() or key.startswith(_SLICE)


def is_empty_table(key: bytes, entry: bytes) -> bool:
    """Say whether this is a table of row 0 alone, which is no part but the whole: it is written again with the next rows."""
    return key in TABLE_KEYS.values() and not tensor_bundle_pb2.BundleEntryProto.FromString(entry).slices


def _width(entry: bytes) -> int:
    return int(tensor_bundle_pb2.BundleEntryProto.FromString(entry).shape.dim[1].size)
