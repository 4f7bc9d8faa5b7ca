"""The importer: cowrieprocessor's database becomes slices, dead letters and claims, a source for each of its tables.

1. the source is recognised; of one that is known, the rows up to its checkpoint are read again and must be the same
2. `started` is acknowledged, and a checkpoint that takes the attempt's number: none has the number of another
3. pages of rows are read and their records sent; each checkpoint follows the acknowledgement of its page
4. all of it is acknowledged, and the last checkpoint too; the claim is sent and acknowledged
5. a checkpoint says that the source is claimed
"""

import heapq
from collections.abc import Callable, Iterator

import msgspec

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.importing.database import OldDatabase, OldRow, Table
from producers.cowrie.importing.identity import Place, Selection, bound, chained, recognise
from producers.cowrie.importing.windows import Wanted, long_rows, sort_rows, too_long
from producers.cowrie.reading import Tools, nothing_read
from producers.cowrie.sending import PROGRESS_SECONDS, Sending
from producers.cowrie.windows import Window, runs
from producers.outlet import STOP_SECONDS, Record
from producers.progress import FileOutcome, Progress, Throttle
from tallystick.contracts import dead_letters, slices, timestamps
from tallystick.contracts.cowrie import EVENTS, IMPORT_KIND, SCHEMA, UNKNOWN_SENSOR
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

_COPIES = 8
"""Of a command, a payload of the old tool holds up to six copies; so much longer than a line may it be."""


def import_database(
    settings: Settings,
    url: str,
    *,
    since: str,
    until: str,
    sensor: str | None,
    stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> list[FileOutcome]:
    """Import the old database at `url`, table by table, and return how each of them ended.

    `since` and `until` are times or empty: of events from the one on and before the other. `sensor` is that
    of events that name none. `stop` is asked often; once it is True the importer ends at the next page.
    `on_progress` is called when a table begins and ends, and in between some times a second; what it calls bytes and
    size are ids of rows.
    Raises UsageError where there is no database of cowrieprocessor or a bound is no time, ServiceError where it can't
    be read or Kafka refuses a record.
    """
    since, until = bound(since), bound(until)
    old = open_database(settings, url)
    try:
        tables = old.require()
        publisher = Publisher(settings, client_id="importer")
        checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
        tools = Tools(settings, publisher, checkpoints, sensor or UNKNOWN_SENSOR, stop, on_progress)
        outcomes = [import_table(tools, old, table, since=since, until=until) for table in tables]
        publisher.flush(STOP_SECONDS if stop() else None)
        return outcomes
    finally:
        old.close()


def open_database(settings: Settings, url: str) -> OldDatabase:
    """Return the old database at `url`, for reading. Raises UsageError where that is no URL that can be used."""
    return OldDatabase(url, max_bytes=_COPIES * settings.reader.max_line_bytes)


def import_table(tools: Tools, old: OldDatabase, table: Table, *, since: str, until: str) -> FileOutcome:
    """Import what is new in one table. Raises ServiceError."""
    selection = Selection(table.name, since, until)
    bounds = "".join(f" {word} {bound}" for word, bound in (("since", since), ("until", until)) if bound)
    name = f"{old.address} {table.name}{bounds}"
    if tools.stop():
        return FileOutcome(name, "", 0, "interrupted", {})
    last_id = old.last_id(table)
    throttle = Throttle(PROGRESS_SECONDS)

    def rows() -> Iterator[OldRow]:
        for row in _every(tools, old, table):
            if throttle.due():
                tools.on_progress(Progress(name, "", 0, 0, row.id, last_id, 0, 0, 0, "reading"))
            yield row

    place = recognise(selection, old.first(table), tools.checkpoints.known, rows)
    if tools.stop():
        return FileOutcome(name, "", 0, "interrupted", {})
    return _Importing(tools, old, table, name=name, selection=selection, place=place, last_id=last_id).run()


def _every(tools: Tools, old: OldDatabase, table: Table) -> Iterator[OldRow]:
    after = -1
    while not tools.stop() and (page := old.page(table, after=after, max_bytes=tools.settings.reader.window_bytes)):
        yield from page
        after = page[-1].id


class _Importing(Sending):
    """Sends what is new in one table whose source has been recognised, and claims it. Use it once."""

    def __init__(
        self,
        tools: Tools,
        old: OldDatabase,
        table: Table,
        *,
        name: str,
        selection: Selection,
        place: Place,
        last_id: int,
    ) -> None:
        known = place.checkpoint or msgspec.structs.replace(
            nothing_read(place.source, position=place.position), kind=IMPORT_KIND
        )
        super().__init__(tools, known=known, name=name, size=last_id)
        self._old, self._table = old, table
        self._wanted = Wanted(table, selection, place.source, tools.sensor, tools.settings.reader.max_line_bytes)

    def run(self) -> FileOutcome:
        """Do it. Raises ServiceError for what the old database or Kafka refuses."""
        page = self._page()
        if self._known.claimed and not page:
            return self._claim_again(digest=self._known.digest)
        if not self._begin():
            return self._end("interrupted")
        while page and self._outlet.wait_for_room():
            self._send(page)
            page = self._page()
        if not self._outlet.settle() or page or self._tools.stop():
            return self._end("interrupted")
        if not self._conclude(digest=self._at.digest):
            return self._end("interrupted")
        log.info("imported a table", name=self._at.name, source=self._at.source, **self._at.counts)
        return self._end("claimed")

    def _page(self) -> list[OldRow]:
        window_bytes = self._tools.settings.reader.window_bytes
        return self._old.page(self._table, after=self._at.position, max_bytes=window_bytes)

    def _send(self, page: list[OldRow]) -> None:
        now = timestamps.now()
        window = sort_rows(page, self._wanted, at=now)
        long = long_rows(page, self._wanted.selection)
        digest = self._at.digest
        for row in page:
            digest = chained(digest, row)
        dead = sum(letter.last for letter in window.letters) + len(long)
        self._at = msgspec.structs.replace(
            self._at,
            position=page[-1].id,
            digest=digest,
            lines=self._at.lines + window.events + dead + window.blank,
            events=self._at.events + window.events,
            dead=self._at.dead + dead,
            blank=self._at.blank + window.blank,
            at=now,
        )
        self._outlet.send(self._records(window, long, at=now), self._at)

    def _records(self, window: Window, long: list[OldRow], *, at: str) -> Iterator[Record]:
        source = self._at.source.encode()
        low = next((window.frame.positions[first] for first, *_ in window.groups.values()), 0)
        for run in runs(window, max_events=self._tools.settings.reader.max_events_per_record):
            value, headers = slices.encode(source, SCHEMA, low, run.positions, run.events)
            yield Record(EVENTS, run.key, value, headers)
        # Letters are counted in the order of their positions.
        of_long = (
            letter for row in long for letter in too_long(row, self._wanted, self._old.pieces(self._table, row), at=at)
        )
        for letter in heapq.merge(window.letters, of_long, key=lambda letter: letter.position):
            yield Record(DEAD_LETTERS, source, dead_letters.encode(letter))
