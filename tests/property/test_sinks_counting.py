"""Whatever a producer sends again after being killed, in whatever slices, each event of a source counts once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.counting import INSERTED, MISSING, PRESENT, REFUSED, Count, decode_seen, encode_seen

Record = tuple[int, int, list[int]]
"""Partition, low, positions."""
PARTITIONS = 2


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[int], list[Record]]:
    """Draw the positions of a source and what Kafka gets of it, in order, with kills and restarts on the way.

    A window is grouped by session, a session goes to one partition, and slices are cut at will. A killed producer
    starts again where an earlier window began, of which, and of those after it, each partition has got some beginning.
    """
    steps = draw(st.lists(st.integers(1, 50), min_size=1, max_size=25))
    positions = [sum(steps[:count]) for count in range(len(steps))]
    sessions = [draw(st.integers(0, 2)) for _ in positions]
    sent: list[Record] = []
    begins, kills = [(0, 0)], draw(st.integers(0, 4))
    while (begin := begins[-1][0]) < len(positions):
        end = min(len(positions), begin + draw(st.integers(1, 20)))
        sent += _window(draw, positions[begin:end], sessions[begin:end])
        begins.append((end, len(sent)))
        if kills:
            kills -= 1
            begins = begins[: draw(st.integers(1, len(begins)))]
            acknowledged = begins[-1][1]
            sent = sent[:acknowledged] + _beginnings(draw, sent[acknowledged:])
            begins[-1] = (begins[-1][0], len(sent))
    return positions, sent


def _beginnings(draw: st.DrawFn, records: list[Record]) -> list[Record]:
    kept = []
    for partition in range(PARTITIONS):
        mine = [record for record in records if record[0] == partition]
        kept += mine[: draw(st.integers(0, len(mine)))]
    return kept


def _window(draw: st.DrawFn, positions: list[int], sessions: list[int]) -> list[Record]:
    records = []
    low = positions[0]
    for session in dict.fromkeys(sessions):
        mine = [position for position, of in zip(positions, sessions, strict=True) if of == session]
        while mine:
            size = draw(st.integers(1, len(mine)))
            records.append((session % PARTITIONS, low, mine[:size]))
            mine = mine[size:]
    return records


@given(logs(), st.data())
@settings(max_examples=300)
def test_every_event_counts_once_however_sender_and_sink_are_killed(
    log: tuple[list[int], list[Record]], data: st.DataObject
) -> None:
    positions, sent = log
    counts = {partition: Count() for partition in range(PARTITIONS)}
    for partition, low, found in sent:
        fates = bytes(data.draw(st.sampled_from([INSERTED, PRESENT, REFUSED])) for _ in found)
        counts[partition].take(low, found, fates)
        if data.draw(st.booleans()):
            counts[partition] = _as_loaded(counts[partition])
    assert sum(count.inserted + count.present + count.dead for count in counts.values()) == len(positions)


@given(logs())
@settings(max_examples=50)
def test_repeats_change_nothing_once_everything_was_counted(log: tuple[list[int], list[Record]]) -> None:
    _, sent = log
    count = Count()
    for _, low, found in sent:
        count.take(low, found, bytes([INSERTED]) * len(found))
    before = (count.inserted, count.low, encode_seen(count))
    for _, low, found in sent:
        count.take(low, found, bytes([INSERTED]) * len(found))
    assert (count.inserted, count.low, encode_seen(count)) == before


@given(st.integers(0, 1 << 62), st.sets(st.integers(0, (1 << 32) - 1), max_size=50))
def test_seen_positions_survive_the_database(low: int, offsets: set[int]) -> None:
    count = Count(low=low, seen={low + offset for offset in offsets} | {low - 1})
    assert decode_seen(encode_seen(count), low) == {low + offset for offset in offsets}


@pytest.mark.parametrize(
    ("low", "positions", "fresh"),
    [
        pytest.param(10, [10, 11], [10, 11], id="all are new"),
        pytest.param(0, [10, 20, 30], [10, 30], id="one was seen"),
        pytest.param(0, [9, 20], [], id="below low, and seen"),
        pytest.param(0, [9, 10, 20], [10], id="low itself is new"),
        pytest.param(15, [20, 25], [25], id="a record raises low"),
    ],
)
def test_only_positions_at_or_above_low_that_were_not_seen_are_new(
    low: int, positions: list[int], fresh: list[int]
) -> None:
    assert sorted(Count(low=10, seen={20}).admit(low, positions)) == fresh


def test_what_the_database_does_not_hold_is_not_counted() -> None:
    count = Count()
    count.take(0, [1, 2, 3, 4], bytes([INSERTED, MISSING, PRESENT, REFUSED]))
    assert (count.inserted, count.present, count.dead) == (1, 1, 1)


def test_a_copy_can_be_changed_without_the_original() -> None:
    count = Count(seen={1})
    count.copy().take(0, [2], bytes([INSERTED]))
    assert (count.inserted, count.seen) == (0, {1})


def _as_loaded(count: Count) -> Count:
    """Return what another process would read from the database."""
    seen = decode_seen(encode_seen(count), count.low)
    return Count(count.next_offset, count.inserted, count.present, count.dead, count.low, seen)
