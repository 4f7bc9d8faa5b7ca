"""Sessions: the newest states of `cowrie.sessions` into `session_summaries` and its child tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import sqlalchemy as sa

from sinks import session_rows as rows
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Key, Row, Writer
from sinks.writers.target import Target
from tallystick.contracts import cowrie
from tallystick.contracts.cowrie import SessionState
from tallystick.errors import ContractError

CHILDREN: tuple[tuple[Target, Callable[[SessionState], Iterator[Row]]], ...] = (
    (rows.COMMANDS, rows.commands),
    (rows.LOGINS, rows.logins),
    (rows.FILES, rows.files),
)


class Sessions(Sink[SessionState]):
    """See Sink. A state only ever replaces one of a lower revision; of a batch, only the newest of each session counts.

    No events are counted here: how far a source has come is told by the offsets of the states that it is part of.
    """

    name = "session_summaries"
    topic = cowrie.SESSIONS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[SessionState]:
        """See Sink."""
        return decode_session(record)

    def write(self, connection: sa.Connection, entries: Sequence[SessionState]) -> bytes:
        """See Sink."""
        newest = newest_states(entries)
        known = self._writer.revisions(connection, rows.SUMMARIES, list(newest))
        created = [state for key, state in newest.items() if key not in known]
        moved = {key: state for key, state in newest.items() if known.get(key, state.revision) < state.revision}
        self._create(connection, created)
        if moved:
            self._move(connection, moved)
        return bytes([INSERTED]) * len(entries)

    def _create(self, connection: sa.Connection, states: Sequence[SessionState]) -> None:
        self._writer.insert(connection, rows.SUMMARIES, [rows.summary(state) for state in states])
        for target, of in CHILDREN:
            self._writer.insert(connection, target, _all(of, states))
        self._writer.insert(connection, rows.SESSION_SOURCES, _all(rows.session_sources, states))

    def _move(self, connection: sa.Connection, moved: dict[tuple[str, ...], SessionState]) -> None:
        states = moved.values()
        self._writer.move_forward(connection, rows.SUMMARIES, [rows.summary(state) for state in states])
        for target, of in CHILDREN:
            self._writer.replace_children(connection, target, list(moved), _all(of, states))
        self._writer.add(connection, rows.SESSION_SOURCES, _all(rows.session_sources, states))


def decode_session(record: Record) -> Decoded[SessionState]:
    """Return the state that a record of `cowrie.sessions` holds. Raises ContractError."""
    if record.value is None:
        raise ContractError("not the state of a session: it has no value")
    try:
        state = cowrie.decode_state(record.value)
    except msgspec.DecodeError as error:
        raise ContractError(f"not the state of a session: {error}") from error
    return Decoded(entries=(state,), contents=(record.value,), passes=tuple(state.sources))


def newest_states(states: Iterable[SessionState]) -> dict[Key, SessionState]:
    """Return the newest of the states of each session, by sensor and session."""
    newest: dict[Key, SessionState] = {}
    for state in states:
        key = (state.sensor, state.session)
        if key not in newest or newest[key].revision < state.revision:
            newest[key] = state
    return newest


def _all(of: Callable[[SessionState], Iterator[Row]], states: Iterable[SessionState]) -> list[Row]:
    return [row for state in states for row in of(state)]
