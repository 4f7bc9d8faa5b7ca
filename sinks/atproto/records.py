"""What both sinks that write records have in common."""

from sinks.atproto import rows
from sinks.atproto.marks import Marks
from sinks.sink import Record
from sinks.writers.base import Row
from tallystick.errors import ContractError

_REVISION = rows.RECORDS.columns.index("revision")


def require_key(record: Record, did: str) -> None:
    """Raise ContractError where a record's key is not `did`: the order of a repository's events would be lost."""
    if record.key != did.encode():
        raise ContractError(f"the record's key is {record.key[:80]!r}, its account {did[:80]!r}")


def is_overtaken(row: Row, marks: Marks) -> bool:
    """Return whether a row of `RECORDS` is older than the newest snapshot that would have to have it."""
    revision: int = row[_REVISION]
    return revision < marks.of_row(row).revision


def settled(row: Row, marks: Marks) -> Row:
    """Return what a commit's row of `RECORDS` comes to: itself, or nothing where a snapshot has its commit in it."""
    mark = marks.of_row(row)
    return rows.gone(row, mark) if row[_REVISION] <= mark.revision else row
