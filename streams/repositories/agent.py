"""The repositories agent: commits in, standings and fetches out. All rules are in `fold.py`."""

from collections.abc import Sequence

from streams.checkpointing import Record, Send
from streams.repositories import fold
from streams.repositories.events import read_event
from streams.store import Written
from tallystick.contracts import atproto, timestamps, topics
from tallystick.contracts.dead_letters import NO_RECORD, DeadLetter, pieces
from tallystick.contracts.dead_letters import encode as encode_letter
from tallystick.errors import ContractError

ORIGIN = "repositories"


class RepositoryFold:
    """The events of one repository within a checkpoint."""

    def __init__(self, key: bytes, state: bytes | None, resync: fold.Resync) -> None:
        self._key, self._resync, self._at = key, resync, timestamps.now()
        self._state = self._before = atproto.decode_repository(state) if state else None
        self._follows: list[Send] = []

    def add(self, record: Record) -> None:
        """Fold one event; what is none goes to the dead letters."""
        try:
            event = read_event(record.value, self._key)
        except ContractError as error:
            self._follows.extend(_letters(record, str(error)))
            return
        self._state, fetch = fold.apply(self._state, event, fold.Moment(record.offset, self._at, self._resync))
        if fetch is not None:
            self._follows.append(Send(atproto.FETCHES, self._key, atproto.encode(fetch)))

    def state(self) -> bytes | None:
        """Return the encoded state of the repository, or None where nothing has changed."""
        return None if self._state is None or self._state is self._before else atproto.encode(self._state)

    def follows(self) -> Sequence[Send]:
        """Return fetches and dead letters."""
        return self._follows


class RepositoriesAggregate:
    """Opens folds of repositories. `resync` says which of them may be fetched."""

    def __init__(self, resync: fold.Resync) -> None:
        self._resync = resync

    def open(self, key: bytes, state: bytes | None) -> RepositoryFold:
        """Return the fold of the repository whose DID is `key`."""
        return RepositoryFold(key, state, self._resync)

    def sealed(self, records: Sequence[Record], written: Sequence[Written]) -> Sequence[Send]:  # noqa: ARG002
        """Return nothing: what follows from an event is sent before the state."""
        return ()


def _letters(record: Record, problem: str) -> list[Send]:
    letter = DeadLetter(
        source=record.key.decode("utf-8", "replace"),
        position=record.offset,
        reason=NO_RECORD,
        detail=problem,
        payload=record.value,
        origin=ORIGIN,
        at=timestamps.now(),
        topic=atproto.COMMITS.name,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode("utf-8", "backslashreplace"),
    )
    return [Send(topics.DEAD_LETTERS, record.key, encode_letter(piece)) for piece in pieces(letter)]
