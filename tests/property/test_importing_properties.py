"""Whatever an old database holds and however often an import dies: all arrives, none counts twice, claims hold."""

import json
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cowrie.importing.payloads import Remains, event_lines
from tallystick.contracts.cowrie import UnreadableLine
from tallystick.contracts.stages import Claimed
from tests import old_database
from tests.importing_world import ImportWorld, file_url

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
COMMANDS = st.fixed_dictionaries(
    {"eventid": st.just("cowrie.command.input"), "input": st.text(st.characters(codec="utf-8"), min_size=1)},
    optional={"session": st.sampled_from(["s1", "s2"]), "timestamp": st.just("2026-01-01T00:00:00.000000Z")},
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4) | COMMANDS
GOOD = [
    b'{"eventid":"cowrie.%d","timestamp":"2026-11-23T03:43:4%d.000000Z","session":"s%d"}' % (n, n % 10, n % 3)
    for n in range(12)
]
PAYLOADS = st.sampled_from([*(line.decode() for line in GOOD), "[]", "null", "{}", '{"malformed_content":"x"}'])
JUNK = st.text(st.sampled_from("ab,:}[]\\ "), min_size=1, max_size=20).filter(str.strip)
"""Lines in which no object can begin."""
ROUNDS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 5), PAYLOADS), max_size=12),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=3),
    ),
    min_size=1,
    max_size=3,
)


def event_line(payload: bytes) -> bytes | Remains:
    [line] = event_lines(payload, most=1)
    return line


def parts_of(payload: bytes) -> list[bytes | Remains]:
    try:
        return event_lines(payload, most=50)
    except UnreadableLine:
        return []


@given(event=OBJECTS)
def test_an_event_is_written_as_cowrie_writes_it_on_one_line_and_in_its_order(event: dict[str, Any]) -> None:
    cowrie = json.dumps(event, separators=(",", ":")).encode()
    for stored in (json.dumps(event), json.dumps(event, ensure_ascii=False, indent=1), json.dumps(json.dumps(event))):
        line = event_line(stored.encode("utf-8", "surrogatepass"))
        assert line == cowrie
        assert json.loads(line) == event
        assert b"\n" not in line


@given(event=COMMANDS)
def test_what_the_old_tool_made_of_a_command_is_undone(event: dict[str, Any]) -> None:
    line = json.dumps(event, separators=(",", ":")).encode()
    assert event_line(json.dumps(old_database.rewritten(line)).encode()) == line


@given(payload=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_payload_gives_whole_lines_or_is_refused_and_always_alike(payload: bytes) -> None:
    parts = parts_of(payload)
    assert parts == parts_of(payload)
    assert all(isinstance(part, Remains) or b"\n" not in part for part in parts)


@given(texts=st.lists(OBJECTS | JUNK, min_size=2, max_size=6))
def test_of_a_text_that_was_refused_nothing_is_lost(texts: list[dict[str, Any] | str]) -> None:
    content = "\n".join(text if isinstance(text, str) else json.dumps(text, indent=1) for text in texts)
    expected: list[bytes | Remains] = []
    for is_junk, group in groupby(texts, key=lambda text: isinstance(text, str)):
        members = list(group)
        if is_junk:
            expected.append(Remains("\n".join(map(str, members)).strip().encode()))
        else:
            expected += [json.dumps(member, separators=(",", ":")).encode() for member in members]
    if len(expected) > 1 and "\n" in content.strip():
        assert parts_of(json.dumps({"malformed_content": content}).encode()) == expected


@given(rounds=ROUNDS, window_bytes=st.integers(1, 400))
@settings(deadline=None, max_examples=60)
def test_what_is_imported_is_what_is_there_however_often_it_dies(
    rounds: list[tuple[list[tuple[int, str]], list[tuple[int, int]]]], window_bytes: int
) -> None:
    world = ImportWorld(window_bytes=window_bytes)
    payloads: list[str] = []
    next_id = 0
    with tempfile.TemporaryDirectory() as folder:
        url = file_url(Path(folder) / "old.db")
        engine = sa.create_engine(url)
        old_database.make(engine)
        for rows, deaths in rounds:
            with engine.begin() as connection:
                for gap, payload in rows:
                    next_id += gap
                    payloads.append(payload)
                    connection.execute(
                        sa.text("INSERT INTO raw_events (id, source, source_offset, payload) VALUES (:i, 'x', :i, :p)"),
                        {"i": next_id, "p": payload},
                    )
            for records, kept in deaths:
                world.bring(url, records=records, kept=kept)
            outcome, _ = world.bring(url)
            claim = [said for said in world.stage_events(Claimed) if said.source == outcome.source][-1]
            events = [payload.encode() for payload in payloads if payload.encode() in GOOD]
            assert claim.counts["events"] == len(events)
            assert claim.counts["dead"] == len(payloads) - len(events)
            assert world.observed(outcome.source) == (claim.counts["events"], claim.counts["dead"])
            assert world.ends_hold(claim)
            assert {line for _, _, line in world.events()} == set(events)
        engine.dispose()
