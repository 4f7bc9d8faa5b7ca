"""What those who work on media read from the database, on both: media, what needs a copy, what was enumerated last."""

import pytest
import sqlalchemy as sa

from sinks.media import reading
from sinks.media.reading import Enumeration, Pending
from sinks.sink import Record
from sinks.sources import Sources
from sinks.writers import make_writer
from streams.stages.fold import apply
from tallystick.contracts import stages
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.media import ENUMERATED, IDENTIFIED, INODES, RECORD_COUNTS, Form
from tallystick.contracts.stages import Claimed, Observed, Reported, SourceState, StageEvent, Started
from tallystick.database.engine import snapshot
from tests.media import (
    AT,
    MEDIUM,
    OTHER,
    copied,
    failed,
    file,
    medium,
    store,
    store_copies,
    store_entries,
    store_media,
)

COUNTS = dict(zip(RECORD_COUNTS, (9, 8, 7, 1, 1, 0, 2, 0), strict=True))
LATER = "2026-11-25T13:00:00.000000Z"


def inodes(engine: sa.Engine, *, attempt: int = 1, run: int = 100) -> list[int]:
    """Return the inodes that need a copy."""
    with snapshot(engine) as connection:
        return [found.ino for found in reading.pending(connection, MEDIUM, attempt, run=run)]


def counts(engine: sa.Engine, attempt: int = 1) -> dict[str, int]:
    with snapshot(engine) as connection:
        return reading.copy_counts(connection, MEDIUM, attempt)


def test_a_medium_comes_back_as_it_was_identified_last(engine: sa.Engine) -> None:
    newest = medium(3, form=Form.TREE, image=b"", acknowledged="known", grows=True, size=0, name="räder")
    store_media(engine, medium(2), newest, medium(1))
    with snapshot(engine) as connection:
        assert reading.read_medium(connection, MEDIUM) == newest
        assert reading.read_medium(connection, OTHER) is None


@pytest.mark.parametrize(
    ("word", "names"),
    [
        pytest.param(MEDIUM, ["disk 1"], id="an id"),
        pytest.param("da69350a", ["disk 1", "disk 2"], id="what two ids begin with, none is chosen"),
        pytest.param("da69350af", ["disk 2"], id="what one id begins with"),
        pytest.param("disk", ["disk 1", "disk 2"], id="what names begin with"),
        pytest.param("disk 2", ["disk 2"], id="a name"),
        pytest.param("%", [], id="a wildcard stands for itself"),
        pytest.param("Disk", [], id="letters are told apart by case"),
    ],
)
def test_media_are_found_by_what_people_call_them(engine: sa.Engine, word: str, names: list[str]) -> None:
    store_media(engine, medium(name="disk 1"), medium(id_=OTHER, name="disk 2"))
    with snapshot(engine) as connection:
        assert [found.name for found in reading.find_media(connection, word)] == names


def test_what_needs_a_copy_comes_with_all_that_it_takes(engine: sa.Engine) -> None:
    two = [file(7, path, dev=3, nlink=2, mtime=-1, mtime_ns=5) for path in (b"\xff\n", b"a")]
    store_entries(engine, *two, file(8, b"b", part=1), file(8, b"c"), file(9, b"d", type="d"), file(4, b"e", type="l"))
    with snapshot(engine) as connection:
        found = list(reading.pending(connection, MEDIUM, 1, run=5))
    assert found == [
        Pending(0, 7, 3, 7, -1, 5, 2, (b"a", b"\xff\n")),
        Pending(0, 8, 0, 8, -8, 0, 1, (b"c",)),
        Pending(1, 8, 0, 8, -8, 0, 1, (b"b",)),
    ]


def test_a_file_is_left_out_only_where_every_path_is_excluded(engine: sa.Engine) -> None:
    store_entries(
        engine,
        file(1, b"a", excluded="pattern:1"),
        file(1, b"b"),
        file(2, b"c", excluded="pattern:1"),
        file(2, b"d", excluded="pattern:2"),
    )
    with snapshot(engine) as connection:
        assert [(f.ino, f.paths) for f in reading.pending(connection, MEDIUM, 1, run=5)] == [(1, (b"b",))]
    assert counts(engine) == {"inodes": 2, "copied": 0, "failed": 0, "excluded": 1, "bytes": 0}


def test_what_is_copied_is_not_copied_again_and_what_failed_is_tried_by_each_run_once(engine: sa.Engine) -> None:
    store_entries(engine, *(file(ino, b"f%d" % ino) for ino in range(1, 5)))
    store_copies(engine, copied(1, 5), failed(2, 5), failed(3, 6))
    assert inodes(engine, run=5) == [4], "nor what a later run has tried"
    assert inodes(engine, run=6) == [2, 4]
    assert inodes(engine, run=7) == [2, 3, 4]
    assert counts(engine) == {"inodes": 4, "copied": 1, "failed": 2, "excluded": 0, "bytes": 1}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        pytest.param({}, False, id="nothing has changed"),
        pytest.param({"size": 6}, True, id="its size"),
        pytest.param({"mtime": 12}, True, id="its time"),
        pytest.param({"mtime_ns": 1}, True, id="a nanosecond"),
    ],
)
def test_a_file_that_changed_since_it_was_copied_is_copied_again(
    engine: sa.Engine, change: dict[str, int], again: bool
) -> None:
    store_entries(engine, file(5, b"a", mtime=11))
    store_copies(engine, copied(5, 3, mtime=11, mtime_ns=0))
    store_entries(engine, file(5, b"a", **{"mtime": 11, **change}), attempt=2)
    assert inodes(engine, attempt=2) == [5] * again
    assert counts(engine, 2)["copied"] == 1 - again


def test_a_copy_that_does_not_know_when_the_file_changed_goes_by_its_size(engine: sa.Engine) -> None:
    store_entries(engine, file(5, b"a", mtime=11))
    store_copies(engine, copied(5, 3))
    assert inodes(engine) == []


def test_what_an_attempt_did_not_find_again_is_not_its_business(engine: sa.Engine) -> None:
    store_entries(engine, file(1, b"gone"), file(2, b"stays"), file(2, b"excluded then"))
    store_entries(engine, file(2, b"stays", excluded="pattern:1"), attempt=2)
    assert inodes(engine, attempt=2) == []
    assert counts(engine, 2) == {"inodes": 1, "copied": 0, "failed": 0, "excluded": 1, "bytes": 0}


def test_all_that_is_pending_is_streamed(engine: sa.Engine) -> None:
    store_entries(engine, *(file(ino, b"f%d" % ino) for ino in range(5_000)))
    with snapshot(engine) as connection:
        stream = reading.pending(connection, MEDIUM, 1, run=1)
        assert next(stream).ino == 0
        assert sum(1 for _ in stream) == 4_999


def enumerated(attempt: int, digest: str, found: str | None = None) -> list[StageEvent]:
    """Return what is said of an attempt until it is enumerated, where the look found the digest `found`."""
    kind = Form.IMAGE.kind
    return [
        Started(MEDIUM, kind, "disk", IDENTIFIED, attempt, AT),
        Claimed(MEDIUM, kind, "disk", IDENTIFIED, attempt, AT, {"lines": 0}, {}),
        Observed(MEDIUM, "sources", "p", AT, attempt=attempt),
        Claimed(MEDIUM, kind, "disk", ENUMERATED, attempt, AT, COUNTS, {INODES.name: {0: 5}}, digest, run=attempt),
        Reported(MEDIUM, ENUMERATED, attempt, "p", AT, {}, COUNTS, digest=found or digest, run=attempt),
    ]


def test_the_last_enumeration_that_was_found_true_outlives_its_attempt(engine: sa.Engine) -> None:
    sink, state = Sources(make_writer(engine), projection="p"), SourceState(MEDIUM)

    def tell(*events: StageEvent) -> Enumeration | None:
        for event in events:
            apply(state, event, PIPELINES)
        store(engine, sink, Record(0, 0, MEDIUM.encode(), stages.encode(state), []))
        with snapshot(engine) as connection:
            return reading.last_enumeration(connection, MEDIUM)

    assert tell() is None
    assert tell(*enumerated(1, "d1")[:-1]) is None, "claimed, and nobody has looked"
    first = Enumeration(1, COUNTS, "d1")
    assert tell(enumerated(1, "d1")[-1]) == first
    assert tell(enumerated(2, "d2")[0]) == first
    assert tell(*enumerated(2, "d2", found="another")) == first, "a claim that is not true does not count"
    assert tell(*enumerated(3, "d3")) == Enumeration(3, COUNTS, "d3")
