"""Media on both databases: exact to the byte, moving forward by attempt and by run, whatever comes first or again."""

from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from sinks import schema
from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.media import Media
from sinks.media.runs import Runs
from sinks.replaying import empty
from sinks.sink import AnySink, Record
from sinks.writers import make_writer
from tallystick.contracts import media
from tallystick.contracts.dead_letters import NO_RECORD
from tallystick.contracts.media import CopyStatus, Found, Problem, Run
from tallystick.contracts.stages import Observed
from tallystick.database.engine import snapshot
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.media import (
    AT,
    HOSTILE,
    MEDIUM,
    OTHER,
    copied,
    copies,
    entries,
    failed,
    file,
    medium,
    random_entries,
    record,
    send_copies,
    send_entries,
    send_media,
)
from tests.sinks import query, running, stage_events, wait_for_rows
from tests.support import eventually

TABLES = (
    schema.media,
    schema.media_inodes,
    schema.media_paths,
    schema.media_problems,
    schema.media_copies,
    schema.media_blobs,
    schema.media_runs,
)
ALL = (Media.name, Inodes.name, Copies.name, Runs.name)


def write(engine: sa.Engine, sink: AnySink, *records: Record) -> None:
    """Write `records` as one batch."""
    with engine.begin() as connection:
        sink.write(connection, [entry for found in records for entry in sink.decode(found).entries])


def dump(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of media, without the times at which they were written."""
    with snapshot(engine) as connection:
        return {
            table.name: sorted(
                map(
                    tuple,
                    connection.execute(sa.select(*(c for c in table.c if c.name not in ("added_at", "created_at")))),
                ),
                key=repr,
            )
            for table in TABLES
        }


def wait_until_passed(place: Settings, observer: str, offset: int) -> None:
    """Wait until `observer` says that it has passed `offset` of the medium."""

    def farthest() -> int:
        said = [event for event in stage_events(place) if isinstance(event, Observed) and event.observer == observer]
        return max((p.offset for event in said if event.source == MEDIUM for p in event.partitions.values()), default=0)

    eventually(farthest, until=lambda seen: seen == offset)


def test_a_medium_moves_forward_by_attempt_and_of_one_attempt_the_last_word_counts(engine: sa.Engine) -> None:
    sink = Media(make_writer(engine))

    def seen(attempt: int, message: str) -> Record:
        value = media.encode(medium(attempt, message=message, name="n\x00"))
        return Record(0, 1, MEDIUM.encode(), value, [])

    write(engine, sink, seen(2, "two"), seen(1, "one"))
    write(engine, sink, seen(1, "one again"))
    told = "SELECT revision, message, name, root FROM media"
    assert [(r, m, n, bytes(b)) for r, m, n, b in query(engine, told)] == [(2, "two", "n\\u0000", b"/x/\xff.img")]
    write(engine, sink, seen(2, "acknowledged"))
    assert query(engine, "SELECT message FROM media") == [("acknowledged",)]


@pytest.mark.parametrize("seed", range(4))
def test_48_any_order_and_any_repeats_end_in_the_same_rows(engine: sa.Engine, seed: int) -> None:
    random = Random(seed)
    sink = Inodes(make_writer(engine))
    first, second = random_entries(random, 40), random_entries(random, 30)
    for attempt, found in ((1, first), (2, second)):
        write(engine, sink, record(entries(found, attempt=attempt)))
    write(engine, sink, record(entries(first, id_=OTHER), id_=OTHER))
    expected = dump(engine)
    with engine.begin() as connection:
        empty(connection, [sink.name])
    lines = [
        record(entries([entry], attempt=attempt, first=number))
        for attempt, found in ((1, first), (2, second))
        for number, entry in enumerate(found)
    ]
    lines += [record(entries([entry], id_=OTHER, first=n), id_=OTHER) for n, entry in enumerate(first)]
    sent = lines + random.sample(lines, 30)
    random.shuffle(sent)
    while sent:
        size = random.randint(1, 25)
        write(engine, sink, *sent[:size])
        del sent[:size]
    assert dump(engine) == expected


def test_what_is_stored_of_an_enumeration_is_what_was_found(engine: sa.Engine) -> None:
    found = random_entries(Random(3), 60)
    write(engine, Inodes(make_writer(engine)), record(entries(found, attempt=7)))
    records = [entry for entry in found if isinstance(entry, Found)]
    stored = query(
        engine,
        "SELECT p.part, p.ino, i.type, i.nlink, i.size, i.mtime, i.mtime_ns, p.path, p.target, p.excluded"
        " FROM media_paths p JOIN media_inodes i ON i.medium = p.medium AND i.part = p.part AND i.ino = p.ino"
        " WHERE p.revision = 7 AND i.revision = 7",
    )
    assert {(*row[:7], bytes(row[7]), bytes(row[8]), row[9]) for row in stored} == {
        (e.part, e.ino, e.type, e.nlink, e.size, e.mtime, e.mtime_ns, e.path, e.target, e.excluded) for e in records
    }
    assert len(stored) == len(records) > len({(e.part, e.ino) for e in records})
    problems = query(engine, "SELECT position, path, kind, detail FROM media_problems ORDER BY position")
    assert [(n, bytes(path), kind, detail) for n, path, kind, detail in problems] == [
        (number, e.path, e.kind.value, "why\\u0000") for number, e in enumerate(found) if isinstance(e, Problem)
    ]


def test_a_run_counts_for_more_than_earlier_ones_and_of_one_run_the_last_word_counts(engine: sa.Engine) -> None:
    sink = Copies(make_writer(engine))
    write(engine, sink, record(copies([failed(1, 5), copied(1, 5), copied(2, 6)])))
    write(engine, sink, record(copies([failed(2, 5), copied(3, 5), failed(3, 9)])))
    rows = query(engine, "SELECT ino, revision, status, blobid IS NULL FROM media_copies ORDER BY ino")
    assert [(ino, run, status, bool(none)) for ino, run, status, none in rows] == [
        (1, 5, "success", False),
        (2, 6, "success", False),
        (3, 9, "failed_retryable", True),
    ]
    assert query(engine, "SELECT size FROM media_blobs ORDER BY size") == [(1,), (2,), (3,)], "the store has the third"


def test_media_that_share_a_content_share_its_blob(engine: sa.Engine) -> None:
    sink = Copies(make_writer(engine))
    made_at = "SELECT created_at FROM media_blobs"
    write(engine, sink, record(copies([copied(1, 5), copied(8, 5, blobid=f"{1:064x}", sha256=f"{1:064x}", size=1)])))
    before = query(engine, made_at)
    write(engine, sink, record(copies([copied(1, 5)], id_=OTHER), id_=OTHER))
    assert query(engine, made_at) == before
    assert query(engine, "SELECT count(*) FROM media_copies") == [(3,)]


def test_a_run_is_stored_when_it_begins_and_again_when_it_ends(engine: sa.Engine) -> None:
    sink = Runs(make_writer(engine))
    begun = Run(MEDIUM, 17, "copied", 2, "host/1", AT)
    ended = Run(
        MEDIUM, 17, "copied", 2, "host/1", AT, AT, 1.5, -9, "killed\x00", {"files": 3}, {"tool\x00": "x\x00\ud7ff"}
    )
    for found in (begun, ended, begun):
        write(engine, sink, Record(0, 1, MEDIUM.encode(), media.encode(found), []))
    told = "SELECT run, revision, exit_code, seconds, detail, ended_at IS NULL FROM media_runs"
    assert query(engine, told) == [(17, 1, -9, 1.5, "killed\\u0000", 0)]
    with snapshot(engine) as connection:
        [row] = connection.execute(sa.select(schema.media_runs.c.counts, schema.media_runs.c.evidence))
    assert tuple(row) == ({"files": 3}, {"tool\\u0000": "x\\u0000\ud7ff"})


def test_48_from_kafka_and_from_its_beginning_again(place: Settings, engine: sa.Engine, publisher: Publisher) -> None:
    found = random_entries(Random(1), 120)
    number = sum(isinstance(entry, Found) for entry in found)
    passed = {Inodes.name: 3, Media.name: 1, Copies.name: 1, Runs.name: 1}
    with running(place, *ALL):
        send_media(publisher, place, [medium()])
        send_entries(publisher, place, found)
        send_copies(publisher, place, [copied(1, 5), failed(2, 5)])
        run = Run(MEDIUM, 5, "copied", 1, "w", AT)
        publisher.send(place.kafka.topic(media.RUNS), key=MEDIUM.encode(), value=media.encode(run))
        publisher.flush()
        for observer, offset in passed.items():
            wait_until_passed(place, observer, offset)
    assert query(engine, "SELECT count(*) FROM media_paths") == [(number,)]
    before = dump(engine)
    assert all(before.values()), "every table is filled"
    with engine.begin() as connection:
        empty(connection, list(ALL))
    with running(place, *ALL):
        eventually(lambda: dump(engine), until=lambda seen: seen == before)


def test_50_a_line_that_keeps_no_contract_is_a_dead_letter_alone_with_its_position(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    lines = [
        media.encode(file(1, b"good")),
        b'{"event":"found","part":0}',
        b"no JSON",
        media.encode(file(1 << 70, b"a number that no database holds")),
        media.encode(file(2, b"type", type="file")),
        media.encode(file(3, b"")),
        media.encode(file(4, HOSTILE[-1])),
    ]
    value, headers = entries([file(9, b"x")] * len(lines), first=100)
    assert value.count(b"\n") == len(lines) - 1
    with running(place, Inodes.name, "dead_letters"):
        publisher.send(place.kafka.topic(media.INODES), key=MEDIUM.encode(), value=b"\n".join(lines), headers=headers)
        publisher.flush()
        letters = "SELECT source_id, source_offset, origin, payload FROM dead_letter_events ORDER BY source_offset"
        seen = eventually(lambda: query(engine, letters), until=lambda rows: len(rows) == 5)
        wait_until_passed(place, Inodes.name, 1)
    assert [(s, n, o, bytes(p)) for s, n, o, p in seen] == [
        (MEDIUM, 100 + place_, Inodes.name, lines[place_]) for place_ in range(1, 6)
    ]
    assert query(engine, "SELECT ino FROM media_paths ORDER BY ino") == [(1,), (4,)]


CONTRADICTIONS = [
    pytest.param(copied(1, 5, blobid=""), id="a success without a content"),
    pytest.param(copied(1, 5, blobid="../../etc/passwd"), id="a blob id that leads elsewhere"),
    pytest.param(copied(1, 5, sha256="abc"), id="half a digest"),
    pytest.param(copied(1, 5, status=CopyStatus.PERMANENT), id="a failure with a content"),
    pytest.param(copied(1, 5, at="yesterday"), id="no time"),
    pytest.param(copied(1, 1 << 63), id="a run that no database holds"),
]


@pytest.mark.parametrize("found", CONTRADICTIONS)
def test_a_copy_that_contradicts_itself_is_refused(found: media.Copied) -> None:
    sink = Copies(make_writer(sa.create_engine("sqlite://")))
    decoded = sink.decode(record(copies([copied(2, 5), found], first=40)))
    assert [(refusal.position, refusal.payload) for refusal in decoded.refused] == [(41, media.encode(found))]
    assert (len(decoded.entries), decoded.positions, decoded.passes) == (1, [40], (MEDIUM,))


def test_26_a_record_that_tells_no_medium_or_no_attempt_is_no_record(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    topic = place.kafka.topic(media.INODES)
    value, headers = entries([file(1, b"a")])
    with running(place, Inodes.name, "dead_letters"):
        publisher.send(topic, key=MEDIUM.encode(), value=value, headers=[h for h in headers if h[0] != media.ATTEMPT])
        publisher.send(topic, key=OTHER.encode(), value=value, headers=headers)
        publisher.send(topic, key=b"DA", value=value, headers=[*headers, ("source", b"DA")])
        publisher.flush()
        reasons = "SELECT reason, count(*) FROM dead_letter_events GROUP BY reason"
        wait_for_rows(engine, reasons, (NO_RECORD, 3))
    assert query(engine, "SELECT count(*) FROM media_paths") == [(0,)]
