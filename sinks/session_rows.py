"""From the state of a session to its rows. Pure; the order of each tuple is that of the columns beside it."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from sinks import schema
from sinks.writers.target import Target
from tallystick.contracts.cowrie import First, SessionState

_SESSION = ("sensor", "session_id")
_MAX_INT = (1 << 31) - 1
_MAX_CACHED_CHARS = 1_024
_to_json = msgspec.json.Encoder(order="deterministic").encode

SUMMARIES = Target(
    table=schema.session_summaries,
    columns=(
        *_SESSION,
        "revision",
        "source_ip",
        "source_port",
        "dest_ip",
        "dest_port",
        "protocol",
        "client_version",
        "hassh",
        "arch",
        "first_event_at",
        "last_event_at",
        "closed_at",
        "duration_ms",
        "event_count",
        "command_count",
        "commands_failed",
        "login_attempts",
        "logins_failed",
        "logins_succeeded",
        "file_downloads",
        "downloads",
        "downloads_failed",
        "uploads",
        "tunnels",
        "ssh_key_injections",
        "unique_ssh_keys",
        "ssh_key_fingerprint",
        "password_hash",
        "command_signature",
        "source_files",
        "kinds",
        "cut",
        "complete",
        "risk_score",
    ),
    key=_SESSION,
)
COMMANDS = Target(
    table=schema.command_stats,
    columns=(*_SESSION, "ordinal", "command_normalized", "occurrences", "first_seen", "last_seen", "high_risk"),
    key=(*_SESSION, "ordinal"),
    parent=_SESSION,
)
LOGINS = Target(
    table=schema.login_attempts,
    columns=(*_SESSION, "ordinal", "username", "password", "succeeded", "occurrences", "first_seen", "last_seen"),
    key=(*_SESSION, "ordinal"),
    parent=_SESSION,
)
FILES = Target(
    table=schema.files,
    columns=(
        *_SESSION,
        "file_key",
        "how",
        "shasum",
        "filename",
        "file_size",
        "download_url",
        "occurrences",
        "first_seen",
        "last_updated",
    ),
    key=(*_SESSION, "file_key"),
    parent=_SESSION,
)
SESSION_SOURCES = Target(
    table=schema.session_sources, columns=("source_id", *_SESSION), key=("source_id", *_SESSION), parent=_SESSION
)
Row = tuple[Any, ...]


def summary(state: SessionState) -> Row:
    """Return the row of `SUMMARIES`."""
    fingerprints = [key.fingerprint for key in state.keys] + [key.fingerprint for key in state.injected]
    return (
        state.sensor,
        state.session,
        state.revision,
        _text(state.src_ip),
        _number(state.src_port, _MAX_INT),
        _text(state.dst_ip),
        _number(state.dst_port, _MAX_INT),
        _text(state.protocol),
        _text(state.client_version),
        _text(state.hassh),
        _text(state.arch),
        state.first_event_at or None,
        state.last_event_at or None,
        state.closed_at or None,
        _number(state.duration_ms, (1 << 63) - 1),
        state.event_count,
        state.command_count,
        state.command_failed,
        state.login_attempts,
        state.login_failed,
        state.login_succeeded,
        state.downloads + state.downloads_failed + state.uploads,
        state.downloads,
        state.downloads_failed,
        state.uploads,
        state.tunnel_count,
        sum([command.occurrences for command in state.commands if "authorized_keys" in command.normalized]),
        len(set(fingerprints)),
        fingerprints[0] if fingerprints else None,
        _password_hash(state),
        _command_signature(state),
        _to_json(sorted(state.sources)).decode(),
        _to_json(state.kinds).decode(),
        _to_json(state.cut).decode() if state.cut else "{}",
        state.digests_complete,
        state.risk,
    )


def commands(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `COMMANDS`."""
    for place, seen in enumerate(state.commands):
        yield (
            state.sensor,
            state.session,
            place,
            seen.normalized,
            seen.occurrences,
            seen.first or None,
            seen.last or None,
            seen.high_risk,
        )


def logins(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `LOGINS`."""
    for place, seen in enumerate(state.logins):
        yield (
            state.sensor,
            state.session,
            place,
            seen.username,
            seen.password,
            seen.succeeded,
            seen.occurrences,
            seen.first or None,
            seen.last or None,
        )


def files(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `FILES`."""
    for seen in state.files:
        yield (
            state.sensor,
            state.session,
            hashlib.blake2b(_to_json((seen.how, seen.shasum, seen.url, seen.filename)), digest_size=16).hexdigest(),
            seen.how,
            seen.shasum,
            seen.filename,
            seen.size,
            seen.url,
            seen.occurrences,
            seen.first or None,
            seen.last or None,
        )


def session_sources(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `SESSION_SOURCES`."""
    for source in state.sources:
        yield source, state.sensor, state.session


def _text(first: First | None) -> str | None:
    return None if first is None else str(first.value)


def _number(first: First | None, most: int) -> int | None:
    """Return a number that its column can hold; what a log says there may be anything."""
    value = first.value if first is not None else None
    return value if isinstance(value, int) and 0 <= value <= most else None


def _password_hash(state: SessionState) -> str | None:
    tried = [login for login in state.logins if login.succeeded] or state.logins
    return _hash(tried[0].password) if tried else None


def _command_signature(state: SessionState) -> str | None:
    if not state.commands:
        return None
    return _hash("\n".join([command.normalized for command in state.commands]))


def _hash(text: str) -> str:
    """Return the SHA-256 of `text`. Passwords and series of commands repeat, so that most answers are remembered."""
    return _remembered_hash(text) if len(text) <= _MAX_CACHED_CHARS else _hash_anew(text)


def _hash_anew(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_remembered_hash = lru_cache(maxsize=4_096)(_hash_anew)
