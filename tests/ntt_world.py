"""A PostgreSQL database as ntt leaves one, in a schema of its own: in each of the forms that its tables have had."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from tallystick.database.engine import database_url, make_engine
from tallystick.settings import Settings

_MEDIUM = """
CREATE TABLE medium (medium_hash text PRIMARY KEY, medium_human text, message text, image_path text, health text,
  problems jsonb, enum_done timestamptz, copy_done timestamptz, added_at timestamptz DEFAULT now())
"""
_INODE = """
(medium_hash text NOT NULL, dev bigint NOT NULL, ino bigint NOT NULL, nlink int, size bigint, mtime bigint,
  fs_type char(1), blobid text, copied boolean DEFAULT false, claimed_by text, errors text[] DEFAULT '{}',
  status text, error_type text, PRIMARY KEY (medium_hash, ino))
"""
_PATH = """
(medium_hash text NOT NULL, dev bigint NOT NULL, ino bigint NOT NULL, path bytea NOT NULL, exclude_reason text,
  PRIMARY KEY (medium_hash, path))
"""
_PATHS = """
(medium_hash text NOT NULL, dev bigint NOT NULL, ino bigint NOT NULL, path bytea NOT NULL, mtime bigint, size bigint,
  fs_type char(1), nlink int, blobid text, copied boolean DEFAULT false, exclude_reason text)
"""
FORMS = ("partitioned", "partitions", "flat")
_INODE_COLUMNS = ("medium_hash", "dev", "ino", "nlink", "size", "mtime", "fs_type", "blobid")
_MORE_COLUMNS = ("claimed_by", "status", "error_type")
Values = Mapping[str, Any]


class Ntt:
    """The database. `form` is one of FORMS: partitions below `inode` and `path`, partitions alone, or one `paths`."""

    def __init__(self, engine: sa.Engine, url: str, form: str) -> None:
        self.engine, self.url, self.form = engine, url, form
        self._partitions: set[str] = set()
        self.run(_MEDIUM)
        if form == "flat":
            self.run(f"CREATE TABLE paths {_PATHS}")
        elif form == "partitioned":
            self.run(f"CREATE TABLE inode {_INODE} PARTITION BY LIST (medium_hash)")
            self.run(f"CREATE TABLE path {_PATH} PARTITION BY LIST (medium_hash)")

    def run(self, statement: str, values: Values | Sequence[Values] | None = None) -> None:
        """Run a statement as ntt would."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def add_medium(self, medium_hash: str, **columns: Any) -> None:
        """Add a medium, with the tables that are its own."""
        row = {"medium_hash": medium_hash, **columns}
        self.run(f"INSERT INTO medium ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", row)
        if self.form == "flat":
            return
        name = medium_hash[:8]
        if self.form == "partitions" and name not in self._partitions:
            for table, columns_of in (("inode", _INODE), ("path", _PATH)):
                self.run(f'CREATE TABLE "{table}_p_{name}" {columns_of}')
        elif self.form == "partitioned":
            # Two media whose hashes begin alike can't both have a partition of that name: ntt failed there.
            name += "_2" if name in self._partitions else ""
            for table in ("inode", "path"):
                self.run(f"""CREATE TABLE "{table}_p_{name}" PARTITION OF {table} FOR VALUES IN ('{medium_hash}')""")
        self._partitions.add(name)

    def add_file(self, medium_hash: str, ino: int, *paths: bytes, **columns: Any) -> None:
        """Add an inode with its paths."""
        row: dict[str, Any] = {
            "medium_hash": medium_hash,
            "dev": 7,
            "ino": ino,
            "nlink": len(paths),
            "size": 0,
            "mtime": 1_000_000_000,
            "fs_type": "f",
            "blobid": None,
            **columns,
        }
        excluded = row.pop("exclude_reason", None)
        of_path = [
            {"medium_hash": medium_hash, "dev": row["dev"], "ino": ino, "path": path, "exclude_reason": excluded}
            for path in paths
        ]
        if self.form == "flat":
            kept = {name: row[name] for name in _INODE_COLUMNS}
            for path in of_path:
                self._insert("paths", kept | path)
            return
        suffix = f"_p_{medium_hash[:8]}" if self.form == "partitions" else ""
        self._insert(f"inode{suffix}", {name: row.get(name) for name in (*_INODE_COLUMNS, *_MORE_COLUMNS)})
        for path in of_path:
            self._insert(f"path{suffix}", path)

    def _insert(self, table: str, row: Values) -> None:
        self.run(f'INSERT INTO "{table}" ({", ".join(row)}) VALUES ({", ".join(f":{name}" for name in row)})', row)


@contextmanager
def ntt(settings: Settings, form: str) -> Iterator[Ntt]:
    """Give an empty database of ntt; in the end it is dropped."""
    schema = f"{settings.database.schema_name}_ntt"
    mine = settings.model_copy(update={"database": settings.database.model_copy(update={"schema_name": schema})})
    engine = make_engine(mine)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    address = database_url(settings).set(drivername="postgresql").render_as_string(hide_password=False)
    joint = "&" if "?" in address else "?"
    try:
        yield Ntt(engine, f"{address}{joint}options={quote(f'-csearch_path={schema}')}", form)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        engine.dispose()
