"""A CloudQuery destination (and state backend) that keeps its tables in memory, for tests with the real CLI.

    python mem_destination.py serve --address 127.0.0.1:7779

It is the Python SDK's `memdb` with what a real destination has and memdb lacks:

- tables outlive the CLI's Close, so several syncs into one server can be compared;
- a row with the primary key of an earlier one replaces it;
- delete-stale removes the rows of older syncs of the same source;
- a migrate that changes or drops a column of a known table is refused, and so is an insert into an unknown table or
  with other columns than the last migrate announced: real databases fail on these, a silent test would hide them.

Rows are read back with the Read rpc, one record batch a row, in no particular order. Nothing is written to disk.
"""

import sys
import threading
from collections.abc import Generator, Hashable

import pyarrow as pa
from cloudquery.sdk import message, serve
from cloudquery.sdk.internal.memdb.memdb import MemDB
from cloudquery.sdk.schema import Table

TABLE_NAME = b"cq:table_name"
PRIMARY_KEY = b"cq:extension:primary_key"


class MemoryTable:
    """One table: the columns that the last migrate announced, and its rows by primary key."""

    def __init__(self) -> None:
        self.columns: dict[str, pa.DataType] = {}
        self.rows: dict[Hashable, pa.RecordBatch] = {}

    def migrate(self, name: str, columns: dict[str, pa.DataType]) -> None:
        """Takes new columns; refuses to lose or change one, as a database in `migrate_mode: safe` does."""
        for column, data_type in self.columns.items():
            announced = columns.get(column)
            if announced != data_type:
                raise ValueError(f"table {name}: column {column} was {data_type}, the migrate says {announced}")
        self.columns = columns

    def insert(self, name: str, batch: pa.RecordBatch) -> None:
        """Adds the rows of a batch; equal primary keys replace, without a primary key every row is new."""
        columns = columns_of(batch.schema)
        if columns != self.columns:
            raise ValueError(f"table {name}: the insert has columns {columns}, the migrate had {self.columns}")
        keys = [field.name for field in batch.schema if (field.metadata or {}).get(PRIMARY_KEY) == b"true"]
        key_columns = [batch.column(key).to_pylist() for key in keys]
        for row in range(batch.num_rows):
            key = tuple(repr(column[row]) for column in key_columns) if keys else object()
            self.rows[key] = batch.slice(row, 1)

    def delete_stale(self, stale: message.WriteDeleteStale) -> None:
        """Removes the rows that this source wrote in earlier syncs."""

        def is_stale(row: pa.RecordBatch) -> bool:
            source = row.column("_cq_source_name")[0].as_py()
            written = row.column("_cq_sync_time")[0].as_py().replace(tzinfo=None)
            return source == stale.source_name and written < stale.sync_time

        self.rows = {key: row for key, row in self.rows.items() if not is_stale(row)}


def columns_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Column names and types of a schema, without metadata."""
    return {field.name: field.type for field in schema}


class MemoryDestination(MemDB):
    """The plugin: memdb's rpcs on tables of the class above."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: dict[str, MemoryTable] = {}
        # Write and Read run on the server's threads: one table is changed or listed by one of them at a time.
        self._lock = threading.Lock()

    def init(self, spec: bytes, no_connection: bool = False) -> None:
        """Accepts any spec: there is nothing to set."""

    def close(self) -> None:
        """Keeps the tables: the CLI closes its destinations after every sync."""

    def write(self, writer: Generator[message.WriteMessage, None, None]) -> None:
        """Applies the messages of one Write stream, in order."""
        for item in writer:
            with self._lock:
                if isinstance(item, message.WriteMigrateTableMessage):
                    table = self._memory.setdefault(item.table.name, MemoryTable())
                    table.migrate(item.table.name, columns_of(item.table.to_arrow_schema()))
                elif isinstance(item, message.WriteInsertMessage):
                    name = item.record.schema.metadata[TABLE_NAME].decode()
                    if name not in self._memory:
                        raise ValueError(f"table {name}: an insert came before its migrate")
                    self._memory[name].insert(name, item.record)
                elif isinstance(item, message.WriteDeleteStale):
                    if item.table_name in self._memory:
                        self._memory[item.table_name].delete_stale(item)
                else:
                    raise NotImplementedError(f"write message of type {type(item).__name__}")

    def read(self, table: Table) -> Generator[message.ReadMessage, None, None]:
        """Yields a table's rows; none for an unknown table."""
        with self._lock:
            known = self._memory.get(table.name)
            rows = list(known.rows.values()) if known else []
        yield from (message.ReadMessage(row) for row in rows)


if __name__ == "__main__":
    serve.PluginCommand(MemoryDestination()).run(sys.argv[1:])
