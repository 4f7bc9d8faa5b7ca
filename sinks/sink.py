"""What a sink is: it says what a record holds and puts it into rows. All else is the loop's (`sinks/loop.py`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from tallystick.contracts.slices import Headers
from tallystick.contracts.stages import Observed
from tallystick.contracts.topics import Topic
from tallystick.kafka.consuming import BULK, Fetching

Entry = TypeVar("Entry")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Headers


class Refusal(msgspec.Struct, frozen=True):
    """What can't be taken as an entry: its bytes, where it stands in its source, and why."""

    position: int
    payload: bytes
    reason: str
    detail: str = ""


class Decoded(msgspec.Struct, Generic[Entry]):
    """What a record holds.

    `entries` are stored together, or one by one where one can't be; `contents[i]` are the bytes of `entries[i]`.
    They are counted where `positions` are given: `positions[i]` is that of `entries[i]` in `source`, `low` is the
    record's. Of the `refused`, all are counted, as dead. `passes` are the sources which this record brings forward.
    """

    entries: Sequence[Entry]
    contents: Sequence[bytes]
    source: str = ""
    low: int = 0
    positions: Sequence[int] = ()
    refused: Sequence[Refusal] = ()
    passes: Sequence[str] = ()


class Sink(ABC, Generic[Entry]):
    """One topic's way into the database. `name` is the observer's name in stage events and the origin of dead letters.

    A sink belongs to one thread and keeps nothing between batches that a roll-back would make wrong.
    """

    name: str
    topic: Topic
    fetching: Fetching = BULK
    """`PROMPT` where the topic brings little."""
    patience: float = 0.0
    """For so many seconds a batch may wait while the topic grows, where nobody waits for this sink: during a load it
    then takes nothing from those who are waited for."""

    @abstractmethod
    def decode(self, record: Record) -> Decoded[Entry]:
        """Return what `record` holds. Does no I/O. Raises ContractError where it keeps no contract."""

    @abstractmethod
    def write(self, connection: sa.Connection, entries: Sequence[Entry]) -> bytes:
        """Put `entries` into the tables, and return the fate of each (`counting.INSERTED` …).

        Called within a transaction, more than once where an entry is refused; must write the same either way. Raises
        what the database raises.
        """

    def conclude(
        self,
        connection: sa.Connection,
        records: Sequence[Record],
        decoded: Sequence[Decoded[Entry]],
        fates: bytes,
    ) -> None:
        """Do what follows within the same transaction, once the fates of a batch are known: by default, nothing.

        `decoded[i]` is of `records[i]`, and `fates` are those of all their entries, in order.
        """

    def observe(self, entries: Iterable[Entry]) -> Iterable[Observed]:  # noqa: ARG002 - for those that override it
        """Return what is to be said of committed `entries` beside the counts."""
        return ()

    def unconfirmed(self, connection: sa.Connection) -> Iterable[Observed]:  # noqa: ARG002 - as above
        """Return what may have been lost of what `observe` returned, to be said again after a restart."""
        return ()


AnySink = Sink[Any]
