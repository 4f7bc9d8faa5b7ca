"""The audit: everything is looked at in one snapshot of the database, and what is found is told as it is found.

1. the store, blob by blob (I6, I7), and file by file (I8)
2. each medium (I1-I5, I9, I11), and its class
3. archives and listings of media that nobody knows (I1, I10)
4. the log (I12), after the database, which follows it: what only the log says is asked for again before it is told
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa

from sinks.media.audit.folders import Places, count_records, unknown_files
from sinks.media.audit.holdings import Holding, count, find_holdings, someone_copies
from sinks.media.audit.log import Said, database_says, disagreements
from sinks.media.audit.rules import MEDIUM_RULES, Found, classify
from sinks.media.audit.store import StoreLook, check_blobs, known_blobs, require_store, unknown_contents
from sinks.media.audit.violations import Finding, Judged, Violation
from tallystick.database.engine import snapshot
from tallystick.storage.store import Store

_LOOK_SECONDS = 0.5


class Looked(msgspec.Struct):
    """What an audit has looked at so far. `media` of the database, `said` of the log; `unjudged` says what was not."""

    media: int = 0
    blobs: int = 0
    files: int = 0
    said: int = 0
    unjudged: list[str] = []


class Audit:
    """One audit, of all media or of the given ones. `looked` tells what it saw, once `run` has come to its end.

    `read_log` returns what the log says of each medium (`log.read_log`). With ids only what belongs to those media is
    looked at, so I8, and what no medium accounts for, is left out.
    """

    def __init__(
        self,
        engine: sa.Engine,
        places: Places,
        *,
        read_log: Callable[[], dict[str, Said]],
        ids: Sequence[str] | None = None,
        settle_seconds: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """What only the log says of a medium may reach the database within `settle_seconds`."""
        self.looked = Looked()
        self._engine, self._places, self._store = engine, places, Store(places.store)
        self._read_log, self._ids = read_log, ids
        self._settle_seconds, self._sleep = settle_seconds, sleep

    def run(self) -> Iterator[Finding]:
        """Yield what is found. Raises ServiceError where store or log can't be looked at, and the database's errors."""
        with snapshot(self._engine) as connection:
            require_store(connection, self._store)
            look = StoreLook()
            yield from check_blobs(connection, self._store, look, self._ids)
            if self._ids is None:
                yield from self._unknown_contents(connection, look)
            self.looked.blobs, self.looked.files = look.blobs, look.files
            for holding in find_holdings(connection, self._ids):
                yield from self._judge(connection, holding, bad_blobs=look.bad.get(holding.medium, 0))
            if self._ids is None:
                yield from unknown_files(connection, self._places)
            database = database_says(connection)
        log = self._read_log()
        self.looked.said = len(log)
        yield from self._compare(database, log)

    def _judge(self, connection: sa.Connection, holding: Holding, *, bad_blobs: int) -> Iterator[Finding]:
        found = observe(connection, self._places, holding, bad_blobs=bad_blobs)
        self.looked.media += 1
        for rule in MEDIUM_RULES:
            yield from rule(found)
        yield Judged(
            medium=holding.medium,
            name=holding.name,
            form=holding.form,
            standing=classify(found),
            working=holding.working,
            imported=holding.claims_of_others is not None,
        )

    def _unknown_contents(self, connection: sa.Connection, look: StoreLook) -> Iterator[Violation]:
        if someone_copies(connection):
            self.looked.unjudged.append("files of the store without a row (I8): media are being copied")
            return
        yield from unknown_contents(connection, self._store, look, known_since=self._known_since)

    def _known_since(self, blobids: Sequence[str]) -> set[str]:
        with snapshot(self._engine) as later:
            return set(blobids) if someone_copies(later) else known_blobs(later, blobids)

    def _compare(self, database: dict[str, Said], log: dict[str, Said]) -> Iterator[Violation]:
        chosen = log if self._ids is None else {medium: log[medium] for medium in self._ids if medium in log}
        since = time.monotonic()
        while found := list(disagreements(self._chosen(database), chosen)):
            if time.monotonic() - since >= self._settle_seconds:
                break
            self._sleep(_LOOK_SECONDS)
            with snapshot(self._engine) as later:
                fresh = database_says(later)
            database = {**database, **{medium: said for medium, said in fresh.items() if medium in chosen}}
        yield from found

    def _chosen(self, database: dict[str, Said]) -> dict[str, Said]:
        return database if self._ids is None else {key: said for key, said in database.items() if key in self._ids}


def observe(connection: sa.Connection, places: Places, holding: Holding, *, bad_blobs: int = 0) -> Found:
    """Return what is found of one medium, in the database and on disk. Raises OSError where a folder can't be read."""
    listing = places.listing_of(holding.medium)
    return Found(
        holding=holding,
        tally=count(connection, holding),
        archive=places.archive_of(holding.medium),
        listing=listing,
        records=count_records(listing) if listing else None,
        image_is_there=not holding.image or Path(os.fsdecode(holding.image)).is_file(),
        root_is_there=os.path.lexists(holding.root),
        bad_blobs=bad_blobs,
    )
