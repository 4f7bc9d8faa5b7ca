"""From the state of a session to its share in what is known across sessions. Pure; tuples are in the columns' order."""

import base64
import hashlib
from collections.abc import Iterator
from itertools import combinations

from sinks import schema
from sinks.writers.base import Row
from sinks.writers.target import Target
from tallystick.contracts.cowrie import First, InjectedSeen, LoginSeen, SessionState

_SESSION = ("sensor", "session_id")

MAX_PAIRED_KEYS = 16
"""Of a session that injects more keys, only so many are paired, by their ids: pairs grow with the square."""
NO_PORT = -1

SESSIONS = Target(
    table=schema.session_inventory,
    columns=(*_SESSION, "revision", "source_ip", "client_version", "hassh", "first_seen", "last_seen"),
    key=_SESSION,
    parent=_SESSION,
)
PASSWORDS = Target(
    table=schema.password_session_usage,
    columns=(
        *_SESSION,
        "password_hash",
        "password_id",
        "username",
        "success",
        "attempts",
        "timestamp",
        "last_seen",
        "date",
    ),
    key=(*_SESSION, "password_hash"),
    parent=_SESSION,
)
KEYS = Target(
    table=schema.session_ssh_keys,
    columns=(
        *_SESSION,
        "key_hash",
        "ssh_key_id",
        "key_comment",
        "injection_method",
        "target_path",
        "occurrences",
        "timestamp",
        "last_seen",
        "source_ip",
    ),
    key=(*_SESSION, "key_hash"),
    parent=_SESSION,
)
PAIRS = Target(
    table=schema.session_ssh_key_pairs,
    columns=(*_SESSION, "key_id_1", "key_id_2", "first_seen", "last_seen", "source_ip"),
    key=(*_SESSION, "key_id_1", "key_id_2"),
    parent=_SESSION,
)
TUNNELS = Target(
    table=schema.session_tunnels,
    columns=(*_SESSION, "dst_ip", "dst_port", "requests", "first_seen", "last_seen"),
    key=(*_SESSION, "dst_ip", "dst_port"),
    parent=_SESSION,
)


def session(state: SessionState) -> Iterator[Row]:
    """Yield the row of `SESSIONS`."""
    yield (
        state.sensor,
        state.session,
        state.revision,
        _text(state.src_ip),
        _text(state.client_version),
        _text(state.hassh),
        state.first_event_at or None,
        state.last_event_at or None,
    )


def passwords(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `PASSWORDS`. Logins are in the order of their first times."""
    by_password: dict[str, list[LoginSeen]] = {}
    for login in state.logins:
        if login.password or not login.fingerprint:
            by_password.setdefault(login.password, []).append(login)
    for password, logins in by_password.items():
        digest = password_hash(password)
        first = logins[0].first
        yield (
            state.sensor,
            state.session,
            digest,
            short_id(digest),
            logins[0].username,
            any(login.succeeded for login in logins),
            sum(login.occurrences for login in logins),
            first or None,
            max(login.last for login in logins) or None,
            first[:10] or None,
        )


def password_texts(state: SessionState) -> Iterator[tuple[Row, Row]]:
    """Yield, for each password, its key in `password_tracking` and what else its row says of it."""
    for password in {login.password for login in state.logins}:
        digest = password_hash(password)
        yield (short_id(digest), digest), (password,)


def keys(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `KEYS`."""
    for digest, seen in _by_key(state).items():
        yield (
            state.sensor,
            state.session,
            digest,
            short_id(digest),
            min((each.comment for each in seen if each.comment), default=None),
            min(each.method for each in seen),
            min(each.path for each in seen),
            sum(each.occurrences for each in seen),
            seen[0].first or None,
            max(each.last for each in seen) or None,
            _text(state.src_ip),
        )


def key_texts(state: SessionState) -> Iterator[tuple[Row, Row]]:
    """Yield, for each injected key, its key in `ssh_key_intelligence` and what else its row says of it."""
    for digest, [seen, *_] in _by_key(state).items():
        md5 = hashlib.md5(base64.b64decode(seen.blob), usedforsecurity=False).digest().hex(":")
        kind, blob = seen.type, seen.blob
        yield (
            (short_id(digest), digest),
            (kind, blob, f"{kind} {blob}", seen.fingerprint, md5, seen.bits, seen.complete),
        )


def pairs(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `PAIRS`."""
    if len(state.injected) < 2:
        return
    held = sorted((short_id(digest), seen) for digest, seen in _by_key(state).items())
    for (one, of_one), (other, of_other) in combinations(held[:MAX_PAIRED_KEYS], 2):
        both = (*of_one, *of_other)
        yield (
            state.sensor,
            state.session,
            one,
            other,
            max(of_one[0].first, of_other[0].first) or None,
            max(each.last for each in both) or None,
            _text(state.src_ip),
        )


def tunnels(state: SessionState) -> Iterator[Row]:
    """Yield the rows of `TUNNELS`."""
    for seen in state.tunnels:
        yield (
            state.sensor,
            state.session,
            seen.dst_ip,
            NO_PORT if seen.dst_port is None else seen.dst_port,
            seen.occurrences,
            seen.first or None,
            seen.last or None,
        )


def password_hash(password: str) -> str:
    """Return the SHA-256 of a password, in hex."""
    return hashlib.sha256(password.encode()).hexdigest()


def short_id(digest: str) -> int:
    """Return the first 63 bits of a digest in hex: a number by which tables can be joined."""
    return int(digest[:16], 16) >> 1


def _by_key(state: SessionState) -> dict[str, list[InjectedSeen]]:
    """Return what was seen of each injected key, by the SHA-256 of its content, in the order of the first times."""
    found: dict[str, list[InjectedSeen]] = {}
    for seen in state.injected:
        digest = base64.b64decode(seen.fingerprint.removeprefix("SHA256:") + "=").hex()
        found.setdefault(digest, []).append(seen)
    return found


def _text(first: First | None) -> str | None:
    return None if first is None else str(first.value)
