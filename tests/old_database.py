"""A database as cowrieprocessor leaves it: the tables and columns of its models, and payloads rewritten as it does."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

_NOW = sa.func.now()
_MOMENT = sa.DateTime(timezone=True)
metadata = sa.MetaData()

schema_state = sa.Table(
    "schema_state",
    metadata,
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("value", sa.String(256), nullable=False),
)
raw_events = sa.Table(
    "raw_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ingest_id", sa.String(64)),
    sa.Column("ingest_at", _MOMENT, nullable=False, server_default=_NOW),
    sa.Column("source", sa.String(512), nullable=False),
    sa.Column("source_offset", sa.BigInteger),
    sa.Column("source_inode", sa.String(128)),
    sa.Column("source_generation", sa.Integer, nullable=False, server_default="0"),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("payload_hash", sa.String(64)),
    sa.Column("risk_score", sa.Integer),
    sa.Column("quarantined", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("session_id", sa.String(64), index=True),
    sa.Column("event_type", sa.String(128), index=True),
    sa.Column("event_timestamp", _MOMENT, index=True),
    sa.UniqueConstraint("source", "source_inode", "source_generation", "source_offset"),
)
session_summaries = sa.Table(
    "session_summaries",
    metadata,
    sa.Column("session_id", sa.String(64), primary_key=True),
    sa.Column("source_ip", sa.String(45)),
    sa.Column("event_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("risk_score", sa.Integer),
)
command_stats = sa.Table(
    "command_stats",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("session_id", sa.String(64), nullable=False),
    sa.Column("command_normalized", sa.Text, nullable=False),
)
dead_letter_events = sa.Table(
    "dead_letter_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ingest_id", sa.String(64)),
    sa.Column("source", sa.String(512)),
    sa.Column("source_offset", sa.Integer),
    sa.Column("reason", sa.String(128), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("metadata_json", sa.JSON),
    sa.Column("created_at", _MOMENT, nullable=False, server_default=_NOW),
    sa.Column("resolved", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("resolved_at", _MOMENT),
)
ingest_cursors = sa.Table(
    "ingest_cursors",
    metadata,
    sa.Column("source", sa.String(512), primary_key=True),
    sa.Column("inode", sa.String(128)),
    sa.Column("last_offset", sa.Integer, nullable=False, server_default="-1"),
    sa.Column("last_ingest_at", _MOMENT, nullable=False, server_default=_NOW),
    sa.Column("last_ingest_id", sa.String(64)),
    sa.Column("metadata_json", sa.JSON),
)


def make(engine: sa.Engine, events: Iterable[bytes] = (), *, refused: Iterable[str] = ()) -> None:
    """Make the tables, and fill them with `events` of a log and with what the old tool `refused`."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(schema_state.insert().values(key="schema_version", value="17"))
        add(connection, events)
        for number, text in enumerate(refused):
            payload = {"malformed_content": text, "parsing_timestamp": "2025-01-01T00:00:00", "original_offset": number}
            connection.execute(
                dead_letter_events.insert().values(
                    source="/logs/bad.json", source_offset=number, reason="json_parsing_failed", payload=payload
                )
            )


def add(connection: sa.Connection, events: Iterable[bytes], *, source: str = "/logs/cowrie.json") -> None:
    """Add events of a log, as the old tool's loader does."""
    rows = [
        {
            "ingest_id": "bulk-1",
            "source": source,
            "source_offset": number,
            "source_inode": "4711",
            "payload": payload,
            "payload_hash": hashlib.blake2b(json.dumps(payload).encode(), digest_size=32).hexdigest(),
            "session_id": payload.get("session"),
            "event_type": payload.get("eventid"),
        }
        for number, payload in enumerate(map(rewritten, events))
    ]
    if rows:
        connection.execute(raw_events.insert(), rows)


def rewritten(line: bytes) -> dict[str, Any]:
    """Return an event as the old tool stores it: a command is made harmless, and fields about it are added."""
    event: dict[str, Any] = json.loads(line)
    command = event.get("input")
    if not isinstance(command, str) or not command:
        return event
    event["command_analysis"] = {"risk_level": "safe", "needs_defanging": False}
    if command.partition(" ")[0] in {"ls", "pwd", "whoami", "id", "uptime"}:
        return event | {"input_safe": command, "command_safe": command}
    harmless = "[defang:moderate] " + command.replace("http", "hxxp").replace(";", "[SC]").replace("|", "[PIPE]")
    digest = hashlib.blake2b(command.encode(), digest_size=32).hexdigest()
    event |= {"input_safe": harmless, "command_safe": harmless, "input_hash": digest}
    return event | {"input_original": command, "command_original": command, "input": harmless, "command": harmless}
