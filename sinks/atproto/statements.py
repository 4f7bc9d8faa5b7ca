"""The statements that write `atproto_records`, from rows that are staged. They are the same for every database."""

from sinks.atproto.rows import RECORDS
from sinks.writers.target import listed

_NAME, _STAGE, _COLUMNS = RECORDS.name, RECORDS.stage, listed(RECORDS.columns)
_FETCHED = ("fetched_revision", "fetched_attempt", "fetched_cid")
_TOLD = tuple(name for name in RECORDS.columns if name not in (*RECORDS.key, *_FETCHED))
"""What a commit tells of a record, or a snapshot in its place."""
_SINCE = f"excluded.revision >= {_NAME}.revision"
_NEWER_SNAPSHOT = (
    "(excluded.fetched_revision, excluded.fetched_attempt)"
    f" >= (coalesce({_NAME}.fetched_revision, -1), coalesce({_NAME}.fetched_attempt, -1))"
)
_INSERT = (
    f"INSERT INTO {_NAME} ({_COLUMNS}) SELECT {_COLUMNS} FROM {_STAGE} WHERE true"  # noqa: S608
    f" ON CONFLICT ({listed(RECORDS.key)}) DO UPDATE SET updated_at = excluded.updated_at, "
)


def _chosen(names: tuple[str, ...], condition: str) -> str:
    return ", ".join(f"{name} = CASE WHEN {condition} THEN excluded.{name} ELSE {_NAME}.{name} END" for name in names)


TAKE_COMMITTED = (
    _INSERT + ", ".join(f"{name} = excluded.{name}" for name in _TOLD) + f" WHERE excluded.revision > {_NAME}.revision"
)
"""Insert what commits tell; rows that are there move forward, and keep what the last snapshot told of them."""

TAKE_FETCHED = (
    f"{_INSERT}{_chosen(_TOLD, _SINCE)}, {_chosen(_FETCHED, _NEWER_SNAPSHOT)} WHERE {_SINCE} OR {_NEWER_SNAPSHOT}"
)
"""Insert what snapshots tell; rows that a later commit has changed are only said to have been in the snapshot."""
