"""What is known across sessions: the newest states of `cowrie.sessions` into shares, and totals over them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from sinks import inventory_rows as rows
from sinks import schema
from sinks.counting import INSERTED
from sinks.sessions import decode_session, newest_states
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Key, Row, Writer
from sinks.writers.target import Target
from sinks.writers.totals import Total
from tallystick.contracts import cowrie
from tallystick.contracts.cowrie import SessionState


class Shares(msgspec.Struct, frozen=True, eq=False):
    """A table of shares, how they follow from a state, and the totals over them.

    `texts` yields the keys of the totals with what follows from the key, where the totals have such columns.
    """

    target: Target
    of: Callable[[SessionState], Iterator[Row]]
    totals: tuple[Total, ...]
    texts: Callable[[SessionState], Iterator[tuple[Row, Row]]] | None = None


def _total(
    table: sa.Table,
    of: Target,
    key: Mapping[str, str],
    *,
    sums: Mapping[str, str],
    lows: Mapping[str, str],
    highs: Mapping[str, str],
    distinct: tuple[str, str] | None = None,
    texts: tuple[str, ...] = (),
) -> Total:
    columns = (*key, *texts)
    target = Target(table=table, columns=columns, key=tuple(column.name for column in table.primary_key.columns))
    return Total(target, of, key, sums, lows, highs, distinct, texts)


_TIMES = {"first_seen": "first_seen"}, {"last_seen": "last_seen"}
_SESSIONS = {"session_count": "1"}

SHARES = (
    Shares(
        rows.SESSIONS,
        rows.session,
        tuple(
            _total(table, rows.SESSIONS, key, sums=_SESSIONS, lows=_TIMES[0], highs=_TIMES[1])
            for table, key in (
                (schema.ip_inventory, {"ip_address": "source_ip"}),
                (schema.client_versions, {"client_version": "client_version"}),
                (schema.hassh_inventory, {"hassh": "hassh"}),
            )
        ),
    ),
    Shares(
        rows.PASSWORDS,
        rows.passwords,
        (
            _total(
                schema.password_tracking,
                rows.PASSWORDS,
                {"id": "password_id", "password_hash": "password_hash"},
                sums={"times_seen": "attempts", "unique_sessions": "1"},
                lows={"first_seen": "timestamp"},
                highs=_TIMES[1],
                texts=("password_text",),
            ),
        ),
        rows.password_texts,
    ),
    Shares(
        rows.KEYS,
        rows.keys,
        (
            _total(
                schema.ssh_key_intelligence,
                rows.KEYS,
                {"id": "ssh_key_id", "key_hash": "key_hash"},
                sums={"total_attempts": "occurrences", "unique_sessions": "1"},
                lows={
                    "first_seen": "timestamp",
                    "key_comment": "key_comment",
                    "pattern_type": "injection_method",
                    "target_path": "target_path",
                },
                highs=_TIMES[1],
                distinct=("unique_sources", "source_ip"),
                texts=(
                    "key_type",
                    "key_data",
                    "key_full",
                    "key_fingerprint",
                    "key_fingerprint_md5",
                    "key_bits",
                    "key_complete",
                ),
            ),
        ),
        rows.key_texts,
    ),
    Shares(
        rows.PAIRS,
        rows.pairs,
        (
            _total(
                schema.ssh_key_associations,
                rows.PAIRS,
                {"key_id_1": "key_id_1", "key_id_2": "key_id_2"},
                sums={"co_occurrence_count": "1", "same_session_count": "1"},
                lows=_TIMES[0],
                highs=_TIMES[1],
                distinct=("same_ip_count", "source_ip"),
            ),
        ),
    ),
    Shares(
        rows.TUNNELS,
        rows.tunnels,
        (
            _total(
                schema.tunnel_targets,
                rows.TUNNELS,
                {"dst_ip": "dst_ip", "dst_port": "dst_port"},
                sums={"requests": "requests", **_SESSIONS},
                lows=_TIMES[0],
                highs=_TIMES[1],
            ),
        ),
    ),
)


class Inventories(Sink[SessionState]):
    """See Sink. A session's share is replaced by that of a higher revision, and the totals move by the difference.

    One transaction at a time does so, in whatever process: totals are few and hot, so that row locks would let no more
    than one go on, and could deadlock. Nothing is counted here by position, as in `Sessions`.
    """

    name = "inventories"
    patience = 5.0
    topic = cowrie.SESSIONS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[SessionState]:
        """See Sink."""
        return decode_session(record)

    def write(self, connection: sa.Connection, entries: Sequence[SessionState]) -> bytes:
        """See Sink."""
        newest = newest_states(entries)
        self._writer.alone(connection, self.name)
        known = self._writer.revisions(connection, rows.SESSIONS, list(newest))
        forward = {key: state for key, state in newest.items() if known.get(key, -1) < state.revision}
        moved = [key for key in forward if key in known]
        for shares in SHARES:
            self._replace(connection, shares, forward.values(), moved)
        return bytes([INSERTED]) * len(entries)

    def _replace(
        self, connection: sa.Connection, shares: Shares, states: Iterable[SessionState], moved: Sequence[Key]
    ) -> None:
        """Make the shares of `states`, of which those of the sessions `moved` may be there, the only ones of theirs."""
        made = [row for state in states for row in shares.of(state)]
        if not (made or moved):
            return
        self._writer.stage(connection, shares.target, made)
        texts = {key: text for state in states for key, text in shares.texts(state)} if shares.texts else {}
        receding = [
            (total, self._writer.move_totals(connection, total, moved, [(*key, *text) for key, text in texts.items()]))
            for total in shares.totals
        ]
        self._writer.replace_by_staged(connection, shares.target, moved)
        for total, keys in receding:
            if keys:
                self._writer.recount(connection, total, keys)
