"""The sessions agent: slices of Cowrie events in, session states out. All rules are in `fold.py`."""

from collections.abc import Sequence

from streams.checkpointing import Record, Send
from streams.sessions.fold import SessionFold, Unfoldable
from streams.store import Written
from tallystick.contracts import cowrie, slices, stages, timestamps, topics
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.dead_letters import encode as encode_letter
from tallystick.contracts.stages import Observed, Passed
from tallystick.errors import ContractError

OBSERVER = "sessions"


class SliceFold:
    """The slices of one session within a checkpoint."""

    def __init__(self, key: bytes, state: bytes | None) -> None:
        self._letters: list[Send] = []
        sensor, session = cowrie.read_session_key(key)
        self._is_session = session != ""
        self._fold = SessionFold(cowrie.decode_state(state) if state else cowrie.SessionState(sensor, session))

    def add(self, record: Record) -> None:
        """Fold one slice; what can't be folded goes to the dead letters."""
        if not self._is_session:
            return
        try:
            part = slices.decode(record.value, record.headers)
        except ContractError as error:
            self._letters.append(
                _letter(record, source="", position=record.offset, reason=str(error), payload=record.value)
            )
            return
        for bad in self._fold.apply(source=part.source, positions=part.positions, events=part.events, zone=part.zone):
            self._letters.append(_unfoldable(record, part.source, bad))

    def state(self) -> bytes | None:
        """Return the encoded state of the session; the events of the sensor itself have none."""
        return cowrie.encode_state(self._fold.state()) if self._is_session else None

    def follows(self) -> Sequence[Send]:
        """Return the dead letters."""
        return self._letters


class SessionsAggregate:
    """Opens folds of sessions, and tells the stages agent how far each source has been folded."""

    def open(self, key: bytes, state: bytes | None) -> SliceFold:
        """Return the fold of the session `key`."""
        return SliceFold(key, state)

    def sealed(self, records: Sequence[Record], written: Sequence[Written]) -> Sequence[Send]:
        """Return one observation a source: what has been folded of it, and where in the changelog that ends.

        No state knows of an observation, as none knows of a dead letter: where the batch comes again, both do.
        """
        ends = {(state.partition, state.key): state.offset + 1 for state in written}
        passed: dict[str, dict[int, Passed]] = {}
        produced: dict[str, dict[int, int]] = {}
        for record in records:
            source = slices.source_of(record.headers)
            if source is None:
                continue
            passed.setdefault(source, {})[record.partition] = Passed(record.offset + 1)
            end = ends.get((record.partition, record.key))
            if end is not None:
                known = produced.setdefault(source, {})
                known[record.partition] = max(known.get(record.partition, 0), end)
        at = timestamps.now()
        return [
            Send(
                topics.STAGES,
                source.encode(),
                stages.encode(
                    Observed(source, OBSERVER, "", at, partitions=partitions, produced=produced.get(source, {}))
                ),
            )
            for source, partitions in passed.items()
        ]


def _unfoldable(record: Record, source: str, bad: Unfoldable) -> Send:
    return _letter(record, source=source, position=bad.position, reason=bad.reason, payload=bad.event)


def _letter(record: Record, *, source: str, position: int, reason: str, payload: bytes) -> Send:
    letter = DeadLetter(
        source=source,
        position=position,
        reason=reason,
        payload=payload,
        origin=OBSERVER,
        at=timestamps.now(),
        topic=cowrie.EVENTS.name,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode("utf-8", "backslashreplace"),
    )
    return Send(topics.DEAD_LETTERS, source.encode(), encode_letter(letter))
