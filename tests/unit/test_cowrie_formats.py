"""The forms in which events may stand in a log: how each is recognised, and that each gives the same events."""

import bz2
import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.cowrie.formats import Format, detect, guess
from tallystick.contracts.cowrie import event_digest
from tallystick.contracts.sources import log_source_id
from tallystick.contracts.stages import Claimed
from tests import sample
from tests.reading_world import World

Event = dict[str, object]
EVENTS: list[Event] = [
    {
        "eventid": "cowrie.command.input",
        "timestamp": f"2026-11-23T03:43:{number:02}.000000Z",
        "session": f"s{number % 3}",
        "sensor": "vm",
        "input": f'echo "{{\n}} {number} ☃\\" > {{"eventid":',
        "message": ["a", number, 1.50, None, {"deep": [[]]}],
    }
    for number in range(30)
]


def as_lines(events: list[Event]) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def as_pretty(events: list[Event], **how: int | str) -> bytes:
    return b"\n".join(json.dumps(event, **{"indent": 4, **how}).encode() for event in events) + b"\n"  # type: ignore[arg-type]


def as_array(events: list[Event]) -> bytes:
    return json.dumps(events, indent=2).encode() + b"\n"


LINES, PRETTY, ARRAY = as_lines(EVENTS), as_pretty(EVENTS), as_array(EVENTS)
FIRST = json.dumps(EVENTS[0], indent=4).encode()

FORMS = [
    pytest.param(LINES, Format.LINES, id="an object a line"),
    pytest.param(as_lines(EVENTS[:1]), Format.LINES, id="one line"),
    pytest.param(LINES[40:], Format.LINES, id="lines that begin in the middle of one"),
    pytest.param(b'{"a": "cut off\n' + LINES, Format.LINES, id="lines behind one that was cut off"),
    pytest.param(b'{"a": [\n' + LINES, Format.LINES, id="lines behind one that was cut off in a list"),
    pytest.param(b"{\n" + LINES, Format.LINES, id="lines behind a lonely brace"),
    pytest.param(b"junk\n\n\0\0\n" + LINES, Format.LINES, id="lines behind junk"),
    pytest.param(b"[" * 3_000 + b"\n" + LINES, Format.LINES, id="lines behind brackets"),
    pytest.param(PRETTY, Format.PRETTY, id="an object over several lines"),
    pytest.param(as_pretty(EVENTS, indent=0), Format.PRETTY, id="an object over several lines without indentation"),
    pytest.param(PRETTY.replace(b"\n", b"\r\n"), Format.PRETTY, id="an object over several lines with CR LF"),
    pytest.param(b"\n \n" + PRETTY, Format.PRETTY, id="an object over several lines behind blank ones"),
    pytest.param(PRETTY[60:], Format.PRETTY, id="objects that begin in the middle of one"),
    pytest.param(FIRST[:90], Format.PRETTY, id="an object of which only the beginning is there"),
    pytest.param(PRETTY.replace(b"{\n    ", b"{ "), Format.PRETTY, id="the first member beside the brace"),
    pytest.param(LINES.replace(b"\n", b""), Format.PRETTY, id="objects glued together on one line"),
    pytest.param(ARRAY, Format.ARRAY, id="an array over several lines"),
    pytest.param(json.dumps(EVENTS).encode(), Format.ARRAY, id="an array on one line"),
    pytest.param(b"[\n" + LINES.replace(b"}\n", b"},\n"), Format.ARRAY, id="an array of an object a line"),
    pytest.param(LINES.replace(b"}\n", b"},\n")[300:], Format.ARRAY, id="an array that begins in the middle"),
    pytest.param(b" [ ] ", Format.ARRAY, id="an empty array"),
]


@pytest.mark.parametrize(("content", "form"), FORMS)
def test_the_form_shows_in_the_beginning(content: bytes, form: Format) -> None:
    assert detect(content) is form


UNKNOWN = [
    pytest.param(b"", Format.LINES, id="nothing"),
    pytest.param(LINES[:50], Format.LINES, id="half a line"),
    pytest.param(random.Random(1).randbytes(9_000), Format.LINES, id="binary junk"),
    pytest.param(b"{", Format.PRETTY, id="a brace"),
    pytest.param(b"[\n", Format.ARRAY, id="a bracket"),
]


@pytest.mark.parametrize(("content", "form"), UNKNOWN)
def test_where_nothing_shows_it_is_lines_unless_it_begins_otherwise(content: bytes, form: Format) -> None:
    assert detect(content) is None
    assert guess(content) is form


WAYS = [
    pytest.param(as_pretty, Format.AUTO, id="pretty"),
    pytest.param(as_array, Format.AUTO, id="array"),
    pytest.param(lambda events: json.dumps(events).encode(), Format.AUTO, id="array on one line"),
    pytest.param(as_pretty, Format.PRETTY, id="pretty, as told"),
    pytest.param(as_array, Format.ARRAY, id="array, as told"),
    pytest.param(lambda events: as_lines(events).replace(b"\n", b""), Format.AUTO, id="glued together"),
    pytest.param(lambda events: gzip.compress(as_pretty(events)), Format.AUTO, id="pretty in gzip"),
    pytest.param(lambda events: b"\xef\xbb\xbf" + as_pretty(events), Format.AUTO, id="behind a byte-order mark"),
    pytest.param(as_lines, Format.PRETTY, id="lines, told to be pretty"),
]


@pytest.fixture
def world() -> World:
    return World(window_bytes=700)


def old(path: Path, content: bytes) -> Path:
    """Write a file that nobody writes to any more."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def sent(world: World) -> list[bytes]:
    return [line for _, _, line in world.events()]


@pytest.mark.parametrize(("write", "form"), WAYS)
def test_every_form_gives_the_bytes_that_cowrie_writes(
    world: World, tmp_path: Path, write: Callable[[list[Event]], bytes], form: Format
) -> None:
    outcome = world.read(old(tmp_path / "cowrie.json", write(EVENTS)), form=form)
    assert sorted(sent(world)) == sorted(LINES.splitlines())
    assert (outcome.state, world.letters()) == ("claimed", [])
    counts = {"lines": 30, "events": 30, "dead": 0, "blank": 0}
    assert counts.items() <= outcome.counts.items()
    assert world.observed(outcome.source) == (30, 0)


def test_positions_are_where_the_objects_begin(world: World, tmp_path: Path) -> None:
    world.read(old(tmp_path / "a.json", ARRAY))
    for _, found in world.slices():
        for position, event in zip(found.positions, found.events, strict=True):
            value, _ = json.JSONDecoder().raw_decode(ARRAY[position:].decode())
            assert json.dumps(value, separators=(",", ":")).encode() == event


def test_a_whole_log_has_the_same_identities_in_every_form(world: World, tmp_path: Path) -> None:
    events = [json.loads(line) for line in sample.LINES]
    world.run(old(tmp_path / "p.json", as_pretty(events)), old(tmp_path / "a.json", as_array(events)))
    found = sent(world)
    assert len(found) == 2 * sample.EVENTS
    assert {event_digest(line) for line in found} == {event_digest(line) for line in sample.LINES}


TOKENS = [
    pytest.param(b'"n":1.50', id="a number keeps its zeros"),
    pytest.param(b'"n":1E+2', id="a number keeps its exponent"),
    pytest.param(b'"s":"\\u0041\\/"', id="escapes stay escapes"),
    pytest.param('"s":"☃ \u00a0"'.encode(), id="other text stays as it is"),
    pytest.param(b'"s":"a  b\\t: , "', id="blanks within text stay"),
    pytest.param(b'"s":"\xff\xfe"', id="invalid UTF-8 stays"),
    pytest.param(b'"s":1,"s":2', id="a name given twice stays twice"),
    pytest.param(b'"n":NaN', id="what is no JSON stays"),
]


@pytest.mark.parametrize("member", TOKENS)
def test_no_token_is_altered(world: World, tmp_path: Path, member: bytes) -> None:
    event = b'{"eventid":"cowrie.x","timestamp":"2026-11-23T03:43:43Z",%s}' % member
    spread = b'{\n  "eventid" : "cowrie.x",\r\n\t"timestamp": "2026-11-23T03:43:43Z" ,\n %s\n}\n'
    world.read(old(tmp_path / "a.json", spread % member))
    assert sent(world) == [event]


class TestWhoTheSourceIs:
    def test_it_is_known_by_its_first_object_under_any_name(self, world: World, tmp_path: Path) -> None:
        files = [old(tmp_path / "a.json", PRETTY), old(tmp_path / "b.json.gz", gzip.compress(PRETTY))]
        first, second = world.run(*files)
        assert first.source == second.source == log_source_id(FIRST)
        assert len(sent(world)) == 30

    def test_what_was_appended_is_read_on(self, world: World, tmp_path: Path) -> None:
        log = old(tmp_path / "a.json", as_pretty(EVENTS[:10]))
        first = world.read(log)
        second = world.read(old(log, PRETTY))
        assert (second.source, second.attempt, second.counts["events"]) == (first.source, 2, 30)
        assert len(sent(world)) == 30

    def test_an_array_may_grow(self, world: World, tmp_path: Path) -> None:
        log = tmp_path / "a.json"
        end = ARRAY.index(b"},\n") + 2
        first = world.read(old(log, ARRAY[:end]))
        assert (first.counts["events"], first.counts["dead"]) == (1, 1), "the comma is a letter until more comes"
        second = world.read(old(log, ARRAY))
        assert (second.source, second.counts["events"], second.counts["dead"]) == (first.source, 30, 1)
        assert world.observed(second.source) == (30, 1)

    def test_one_that_differs_later_is_another(self, world: World, tmp_path: Path) -> None:
        one, two = world.run(
            old(tmp_path / "a.json", PRETTY), old(tmp_path / "b.json", PRETTY.replace(b"} 7 ", b"} 9 "))
        )
        assert one.source != two.source
        assert two.counts["events"] == 30

    @pytest.mark.parametrize("content", [b"{\n", b"[", b"[]\n", b"{ \n \n"])
    def test_without_an_object_it_is_claimed_as_what_it_is(self, world: World, tmp_path: Path, content: bytes) -> None:
        outcome = world.read(old(tmp_path / "a.json", content))
        assert (outcome.state, outcome.counts["events"], outcome.counts["bytes"]) == ("claimed", 0, len(content))
        assert world.observed(outcome.source) == (0, outcome.counts["dead"])


DAMAGED = [
    pytest.param(
        PRETTY[PRETTY.index(b"echo") :], 29, [(0, "not part of an object")], id="the file begins in the middle"
    ),
    pytest.param(PRETTY[:-9], 29, [(-1, "unfinished last line")], id="the file ends in the middle"),
    pytest.param(FIRST[:80] + PRETTY, 30, [(0, "broken object")], id="an object was cut off, and the next glued to it"),
    pytest.param(FIRST[:80] + b"\n" + PRETTY, 30, [(0, "broken object")], id="an object was cut off before a line end"),
    pytest.param(b'{"message":' + PRETTY, 30, [(0, "broken object")], id="an object was cut off before a value"),
    pytest.param(b"\0" * 512 + PRETTY, 30, [(0, "not part of an object")], id="NUL bytes, as a crash leaves them"),
    pytest.param(PRETTY + b"}\n", 30, [(-1, "not part of an object")], id="a closing brace too many"),
    pytest.param(b"}\n" + PRETTY, 30, [(0, "not part of an object")], id="a closing brace first"),
    pytest.param(ARRAY.replace(b"}\n]", b"},\n]"), 30, [(-1, "not part of an object")], id="a comma behind the last"),
    pytest.param(b"[,\n" + ARRAY[1:], 30, [(1, "not part of an object")], id="a comma before the first"),
    pytest.param(ARRAY + b"]", 30, [(-1, "not part of an object")], id="a closing bracket too many"),
    pytest.param(b'{\n  "no": "event"\n}\n' + PRETTY, 30, [(0, "eventid is missing")], id="an object that is no event"),
    pytest.param(b'{\n  "a": 1 2\n}\n' + PRETTY, 30, [(0, "not JSON")], id="an object that is no JSON"),
]


@pytest.mark.parametrize(("content", "events", "letters"), DAMAGED)
def test_what_is_broken_is_one_letter_and_costs_nothing_else(
    world: World, tmp_path: Path, content: bytes, events: int, letters: list[tuple[int, str]]
) -> None:
    form = Format.ARRAY if content.lstrip(b"\0")[:1] == b"[" else Format.PRETTY
    outcome = world.read(old(tmp_path / "a.json", content), form=form)
    assert {*sent(world)} <= {*LINES.splitlines()}
    found = world.letters()
    assert [letter.reason for letter in found] == [reason for _, reason in letters]
    for (position, _), letter in zip(letters, found, strict=True):
        assert position < 0 or letter.position == position
        assert letter.payload == content[letter.position :][: len(letter.payload)]
    counts = outcome.counts
    assert (outcome.state, counts["events"], counts["dead"], counts["blank"]) == ("claimed", events, len(letters), 0)
    assert (counts["lines"], counts["bytes"]) == (events + len(letters), len(content))
    assert world.observed(outcome.source) == (events, len(letters))
    again = world.read(tmp_path / "a.json", form=form)
    assert (again.source, again.attempt, again.counts) == (outcome.source, 1, outcome.counts)


def test_an_object_that_is_too_long_is_a_letter(tmp_path: Path) -> None:
    world = World(window_bytes=700, max_line_bytes=1_000)
    long: Event = {**EVENTS[0], "message": "", "input": "x" * 5_000}
    outcome = world.read(old(tmp_path / "a.json", as_pretty([EVENTS[1], long, *EVENTS[2:]])))
    [letter] = world.letters()
    assert (letter.reason, outcome.counts["events"], outcome.counts["dead"]) == ("line is too long", 29, 1)
    assert json.loads(letter.payload) == long


HOSTILE = [
    pytest.param(b"{" * 400_000, id="braces without end"),
    pytest.param(b'{"a":' * 400_000, id="nesting without end"),
    pytest.param(b'{"a":' * 200_000 + b"]", id="nesting that breaks"),
    pytest.param(b'{"a":[' * 200_000 + b"]}" * 199_999, id="nesting that is not closed"),
    pytest.param(b'{"a": "' + b'{\\"a\\":' * 100_000, id="text without end that looks like objects"),
    pytest.param(b'{"a": 1}, ' * 100_000, id="objects with stray commas"),
    pytest.param(b'{"a\n' * 100_000, id="strings that break"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("junk", HOSTILE)
def test_no_junk_takes_long_and_what_is_behind_it_is_found(tmp_path: Path, junk: bytes) -> None:
    world = World()
    outcome = world.read(old(tmp_path / "a.json", PRETTY + junk + b"\n" + PRETTY.replace(b"03:43", b"04:43")))
    assert outcome.counts["events"] == 60
    assert sorted(sent(world)) == sorted((LINES + LINES.replace(b"03:43", b"04:43")).splitlines())


def test_content_that_is_damaged_is_claimed_up_to_there(world: World, tmp_path: Path) -> None:
    packed = gzip.compress(PRETTY)
    outcome = world.read(old(tmp_path / "a.json.gz", packed[: len(packed) // 2]))
    assert outcome.state == "failed"
    assert outcome.claimed
    assert 0 < outcome.counts["events"] < 30
    assert {letter.reason for letter in world.letters()} <= {"truncated"}


@pytest.mark.parametrize("records", range(2, 60, 7))
def test_a_reader_that_dies_anywhere_loses_and_repeats_nothing(world: World, tmp_path: Path, records: int) -> None:
    log = old(tmp_path / "a.json", b"}\n" + PRETTY + FIRST[:80])
    world.run(log, records=records, kept=2)
    outcome = world.read(log)
    assert {*sent(world)} == {*LINES.splitlines()}
    assert (outcome.counts["events"], outcome.counts["dead"]) == (30, 2)
    assert world.observed(outcome.source) == (30, 2)
    assert world.ends_hold(world.stage_events(Claimed)[-1])


def test_a_folder_of_daily_archives_may_hold_every_form_and_compression(world: World, tmp_path: Path) -> None:
    days = {
        "hp1/2026/cowrie.json.2026-11-19": as_lines(EVENTS[:5]),
        "hp1/2026/cowrie.json.2026-11-20.gz": gzip.compress(as_pretty(EVENTS[5:10])),
        "hp1/2026/cowrie.json.2026-11-21.bz2": bz2.compress(as_array(EVENTS[10:15])),
        "hp2/cowrie.json.2026-11-20": as_pretty(EVENTS[15:20]),
        "hp2/cowrie.json.2026-11-21.bz2": bz2.compress(as_lines(EVENTS[20:25])),
        "hp2/cowrie.json.2026-11-22.gz": gzip.compress(json.dumps(EVENTS[25:]).encode()),
    }
    for name, content in reversed(days.items()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        old(tmp_path / name, content)
    outcomes = world.run(tmp_path)
    assert [outcome.path for outcome in outcomes] == [str(tmp_path / name) for name in days], "sorted by date"
    assert [(outcome.state, outcome.counts["events"], outcome.counts["dead"]) for outcome in outcomes] == [
        ("claimed", 5, 0)
    ] * 6
    assert sorted(sent(world)) == sorted(LINES.splitlines())
