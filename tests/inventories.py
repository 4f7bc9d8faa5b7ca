"""What the tests of the inventories share: states at random, and what the tables must hold of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import combinations
from random import Random
from typing import Any

import sqlalchemy as sa

from sinks import schema
from sinks.counting import INSERTED
from sinks.inventories import SHARES, Inventories
from sinks.inventory_rows import password_hash
from sinks.writers import make_writer
from tallystick.contracts.cowrie import First, InjectedSeen, LoginSeen, SessionState, TunnelSeen
from tallystick.contracts.timestamps import render
from tallystick.database.engine import snapshot

KEYS = {
    "ssh-ed25519": "AAAAC3NzaC1lZDI1NTE5AAAAIFqJSYvl4SuNYzpE/7N+gDUjY1uGF8UlXQIEIABAPAox",
    "ssh-rsa": "AAAAB3NzaC1yc2EAAAADAQABAAABgQ==",
    "ssh-dss": "AAAAB3NzaC1kc3M=",
}
FINGERPRINTS = {
    "ssh-ed25519": "SHA256:I8wrUj4pSHn3jvRTY73Biz5m/ZCTf5HyN5iz0+L73Y0",
    "ssh-rsa": "SHA256:897j8rPqFikpu8ymFa6VK4yf+o1jtSuUI+J5o3wr8MU",
    "ssh-dss": "SHA256:CHr4h+K6QN5JMQs8T+Ba7/mYGAj8ihYnmHsQE/dUa2k",
}
VOLATILE = {"created_at", "updated_at"}
TOTALS = [total.target.table for shares in SHARES for total in shares.totals]
TABLES = [*(shares.target.table for shares in SHARES), *TOTALS]


def moment(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000Z"


def random_state(random: Random, session: str, revision: int) -> SessionState:
    """Return a state that may tell less than one of a lower revision, as a bounded list can."""

    def first(*values: str) -> First | None:
        value = random.choice([*values, ""])
        return First(moment(0), value) if value else None

    def times() -> tuple[int, str, str, int]:
        start = random.randrange(30)
        return random.randint(1, 3), moment(start), moment(start + random.randrange(30)), random.randrange(3)

    def some(values: Iterable[Any]) -> list[Any]:
        return [value for value in values if random.random() < 0.5]

    logins = [
        LoginSeen(*times(), username=user, password=password, succeeded=random.random() < 0.3)
        for user, password in some([("root", "root"), ("root", ""), ("pi", "root"), ("pi", "päss\n")])
    ]
    injected = [
        InjectedSeen(
            *times(),
            type=kind,
            blob=KEYS[kind],
            fingerprint=FINGERPRINTS[kind],
            comment=comment,
            method=method,
            path="a",
        )
        for kind, comment, method in some(
            [
                ("ssh-rsa", "b", "printf"),
                ("ssh-rsa", "", "direct_echo"),
                ("ssh-ed25519", "c", "heredoc"),
                ("ssh-dss", "", "script"),
            ]
        )
    ]
    targets = some([("a", 1), ("a", None), ("b", 1)])
    start = random.randrange(30)
    return SessionState(
        "vm",
        session,
        revision=revision,
        first_event_at=moment(start),
        last_event_at=moment(start + random.randrange(30)),
        src_ip=first("192.0.2.1", "2001:db8::1"),
        client_version=first("SSH-2.0-Go", "SSH-2.0-libssh"),
        hassh=first("aa", "bb"),
        logins=sorted(logins, key=lambda seen: (seen.first, seen.position)),
        injected=sorted(injected, key=lambda seen: (seen.first, seen.position)),
        tunnels=[TunnelSeen(*times(), dst_ip=ip, dst_port=port) for ip, port in targets],
    )


def rows(engine: sa.Engine, table: sa.Table) -> list[tuple[Any, ...]]:
    """Return the rows of a table, sorted, without what tells when they were written."""
    columns = [column for column in table.c if column.name not in VOLATILE]
    with snapshot(engine) as connection:
        return sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)


def query(engine: sa.Engine, table: sa.Table, *names: str) -> list[tuple[Any, ...]]:
    """Return columns of a table, with times as text."""
    with snapshot(engine) as connection:
        found = connection.execute(sa.select(*(table.c[name] for name in names)))
        return [tuple(render(value) if isinstance(value, datetime) else value for value in row) for row in found]


def counts(engine: sa.Engine, table: sa.Table, *names: str) -> dict[Any, tuple[Any, ...]]:
    """Return columns of a table by the first of them."""
    return {key: tuple(values) for key, *values in query(engine, table, *names)}


def newest(states: Sequence[SessionState]) -> list[SessionState]:
    """Return the state of the highest revision of each session."""
    found: dict[str, SessionState] = {}
    for state in sorted(states, key=lambda state: state.revision):
        found[state.session] = state
    return list(found.values())


def naive_addresses(states: Sequence[SessionState]) -> dict[Any, tuple[Any, ...]]:
    """Return `session_count`, `first_seen` and `last_seen` by `ip_address`, found one by one."""
    found: dict[Any, list[SessionState]] = defaultdict(list)
    for state in newest(states):
        if state.src_ip:
            found[state.src_ip.value].append(state)
    return {
        address: (
            len(held),
            min(state.first_event_at for state in held),
            max(state.last_event_at for state in held),
        )
        for address, held in found.items()
    }


def naive_passwords(states: Sequence[SessionState]) -> dict[Any, tuple[Any, ...]]:
    """Return text, `times_seen`, `unique_sessions`, `first_seen` and `last_seen` by `password_hash`."""
    found: dict[str, list[tuple[str, LoginSeen]]] = defaultdict(list)
    for state in newest(states):
        for login in state.logins:
            found[login.password].append((state.session, login))
    return {
        password_hash(text): (
            text,
            sum(login.occurrences for _, login in held),
            len({session for session, _ in held}),
            min(login.first for _, login in held),
            max(login.last for _, login in held),
        )
        for text, held in found.items()
    }


def naive_keys(states: Sequence[SessionState]) -> dict[Any, tuple[Any, ...]]:
    """Return attempts, distinct addresses, sessions, and the first comment by fingerprint."""
    found: dict[str, list[tuple[SessionState, InjectedSeen]]] = defaultdict(list)
    for state in newest(states):
        for seen in state.injected:
            found[seen.fingerprint].append((state, seen))
    return {
        fingerprint: (
            sum(seen.occurrences for _, seen in held),
            len({state.src_ip.value for state, _ in held if state.src_ip}),
            len({state.session for state, _ in held}),
            min((seen.comment for _, seen in held if seen.comment), default=None),
        )
        for fingerprint, held in found.items()
    }


def naive_pairs(states: Sequence[SessionState]) -> dict[Any, tuple[Any, ...]]:
    """Return sessions and distinct addresses by pair of fingerprints."""
    sessions: dict[frozenset[str], set[str]] = defaultdict(set)
    addresses: dict[frozenset[str], set[Any]] = defaultdict(set)
    for state in newest(states):
        for pair in combinations({seen.fingerprint for seen in state.injected}, 2):
            sessions[frozenset(pair)].add(state.session)
            if state.src_ip:
                addresses[frozenset(pair)].add(state.src_ip.value)
    return {pair: (len(held), len(addresses[pair])) for pair, held in sessions.items()}


def naive_tunnels(states: Sequence[SessionState]) -> dict[Any, tuple[Any, ...]]:
    """Return requests and sessions by target."""
    found: dict[Any, list[int]] = defaultdict(list)
    for state in newest(states):
        for seen in state.tunnels:
            found[seen.dst_ip, -1 if seen.dst_port is None else seen.dst_port].append(seen.occurrences)
    return {target: (sum(requests), len(requests)) for target, requests in found.items()}


def told(engine: sa.Engine) -> list[dict[Any, tuple[Any, ...]]]:
    """Return what the tables tell, in the order and the form of `naive`."""
    keys = counts(engine, schema.ssh_key_intelligence, "id", "key_fingerprint")
    pairs = query(engine, schema.ssh_key_associations, "key_id_1", "key_id_2", "same_session_count", "same_ip_count")
    tunnels = query(engine, schema.tunnel_targets, "dst_ip", "dst_port", "requests", "session_count")
    times = ("first_seen", "last_seen")
    known = ("total_attempts", "unique_sources", "unique_sessions", "key_comment")
    return [
        counts(engine, schema.ip_inventory, "ip_address", "session_count", *times),
        counts(
            engine,
            schema.password_tracking,
            "password_hash",
            "password_text",
            "times_seen",
            "unique_sessions",
            *times,
        ),
        counts(engine, schema.ssh_key_intelligence, "key_fingerprint", *known),
        {frozenset((keys[one][0], keys[other][0])): tuple(numbers) for one, other, *numbers in pairs},
        {(ip, port): tuple(numbers) for ip, port, *numbers in tunnels},
    ]


def naive(states: Sequence[SessionState]) -> list[dict[Any, tuple[Any, ...]]]:
    """Return what the tables must tell of `states`, counted in another way."""
    return [
        naive_addresses(states),
        naive_passwords(states),
        naive_keys(states),
        naive_pairs(states),
        naive_tunnels(states),
    ]


def write(engine: sa.Engine, batch: Sequence[SessionState]) -> None:
    """Write a batch in one transaction, as the sink's loop does."""
    sink = Inventories(make_writer(engine))
    with engine.begin() as connection:
        assert sink.write(connection, batch) == bytes([INSERTED]) * len(batch)


def dump(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all tables of shares and totals."""
    return {table.name: rows(engine, table) for table in TABLES}


def empty(engine: sa.Engine) -> None:
    """Delete all rows of these tables."""
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(table.delete())
