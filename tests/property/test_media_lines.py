"""Laws of what media say: any lines travel unchanged, what can't be taken stands alone, the last word counts."""

import json
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sinks.media import rows
from sinks.media.inodes import Inodes
from sinks.writers.sqlite import SqliteWriter
from tallystick.contracts import media, slices
from tallystick.contracts.media import Entry, Found, Problem, ProblemKind
from tests.media import MEDIUM, copied, entries, record

LARGE = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**31), 2**31 - 1)
WORDS = st.text(st.characters(codec="utf-8"), max_size=5)
FOUND = st.builds(
    Found,
    part=SMALL,
    ino=LARGE,
    type=st.sampled_from("fdlbcps"),
    nlink=LARGE,
    size=st.integers(0, 2**63 - 1),
    mtime=LARGE,
    path=st.binary(min_size=1, max_size=20),
    dev=LARGE,
    mtime_ns=LARGE,
    allocated=LARGE,
    mode=LARGE,
    uid=LARGE,
    gid=LARGE,
    rdev=LARGE,
    target=st.binary(max_size=5),
    excluded=WORDS,
    marks=st.lists(WORDS, max_size=2).map(tuple),
)
PROBLEM = st.builds(
    Problem, part=SMALL, kind=st.sampled_from(ProblemKind), detail=WORDS, path=st.binary(max_size=9), ino=LARGE
)
ENTRIES = st.lists(st.one_of(FOUND, PROBLEM), min_size=1, max_size=8)
JUNK = st.one_of(
    st.binary(max_size=20).filter(lambda line: b"\n" not in line),
    st.sampled_from([b"{}", b'{"event":"found"}', b'{"event":"problem","part":0,"kind":"x","detail":""}']),
)


@given(found=ENTRIES, attempt=st.integers(0, 10**18 - 1), first=st.integers(0, 2**40))
def test_any_lines_travel_unchanged(found: list[Entry], attempt: int, first: int) -> None:
    decoded = Inodes(SqliteWriter()).decode(record(entries(found, attempt=attempt, first=first)))
    assert [line.entry for line in decoded.entries] == found
    assert {(line.place.medium, line.place.attempt) for line in decoded.entries} == {(MEDIUM, attempt)}
    assert [line.place.position for line in decoded.entries] == list(decoded.positions)
    assert list(decoded.positions) == list(range(first, first + len(found)))
    assert (decoded.passes, decoded.refused) == ((MEDIUM,), [])


@given(found=ENTRIES, junk=st.dictionaries(st.integers(0, 8), JUNK, max_size=4))
def test_what_can_not_be_taken_is_refused_alone_and_all_is_accounted_for(
    found: list[Entry], junk: dict[int, bytes]
) -> None:
    lines = [media.encode(entry) for entry in found]
    for place, line in sorted(junk.items()):
        lines.insert(place, line)
    value, headers = slices.encode(MEDIUM.encode(), media.SCHEMA, 5, range(5, 5 + len(lines)), lines)
    decoded = Inodes(SqliteWriter()).decode(record((value, [*headers, (media.ATTEMPT, b"1")])))
    taken = dict(zip(decoded.positions, decoded.contents, strict=True))
    refused = {refusal.position: refusal.payload for refusal in decoded.refused}
    assert [{**taken, **refused}[position] for position in range(5, 5 + len(lines))] == lines
    assert list(taken.values()) == [media.encode(entry) for entry in found]


@given(found=st.one_of(FOUND, PROBLEM))
def test_no_text_of_a_row_holds_what_a_database_does_not_take(found: Entry) -> None:
    if isinstance(found, Found):
        made = [rows.inode(MEDIUM, 1, found), rows.path(MEDIUM, 1, found)]
    else:
        made = [rows.problem(MEDIUM, 1, 0, found)]
    texts = [cell for row in made for cell in row if isinstance(cell, str)]
    assert all("\0" not in text for text in texts)
    if isinstance(found, Found):
        marks = json.loads(made[0][rows.INODES.columns.index("marks")])
        assert all("\0" not in mark for mark in marks)


@given(
    said=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, unique=True),
    seed=st.integers(0, 99),
)
def test_of_each_inode_the_word_of_the_latest_run_counts_whatever_comes_first(
    said: list[tuple[int, int]], seed: int
) -> None:
    latest = {ino: max(run for other, run in said if other == ino) for ino, _ in said}
    shuffled = [rows.copy(MEDIUM, copied(ino, run)) for ino, run in said] * 2
    Random(seed).shuffle(shuffled)
    kept = rows.newest(rows.COPIES, shuffled)
    assert {row[2]: row[3] for row in kept} == latest
    assert len(kept) == len(latest)


def test_of_one_run_the_last_word_counts() -> None:
    first, last = (rows.copy(MEDIUM, copied(1, 5, tries=tries)) for tries in (1, 2))
    assert rows.newest(rows.COPIES, [first, last]) == [last]
