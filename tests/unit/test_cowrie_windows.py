"""The lines of a window: events by session, dead letters, blank lines, and records within their bounds."""

import json
from itertools import accumulate

import pytest

from producers.cowrie import windows
from producers.cowrie.lines import Frame, Framer, cut
from producers.cowrie.windows import Run, Window, runs, sort_lines
from tallystick.contracts.cowrie import session_key

AT = "2026-11-23T03:43:43.270739Z"


def event(session: str = "s1", **fields: object) -> bytes:
    return json.dumps({"eventid": "cowrie.x", "timestamp": AT, "session": session, "sensor": "vm", **fields}).encode()


def window(*found: bytes, reason: str = "") -> Window:
    [frame] = Framer(0, max_line_bytes=1_000_000).feed(b"\n".join((*found, b"")))
    return sort_lines(frame, source="0123", sensor="mine", at=AT, reason=reason)


def test_events_are_grouped_by_session_in_order_of_first_appearance() -> None:
    found = [event("b"), event("a"), event("b", n=1), event("c"), event("a", n=2)]
    records = list(runs(window(*found), max_events=100))
    assert [run.key for run in records] == [session_key("vm", name) for name in "bac"]
    assert [run.events for run in records] == [[found[0], found[2]], [found[1], found[4]], [found[3]]]
    positions = [sum(len(line) + 1 for line in found[:index]) for index in range(5)]
    assert [run.positions for run in records] == [
        [positions[0], positions[2]],
        [positions[1], positions[4]],
        positions[3:4],
    ]


KEYS = [
    pytest.param(event("s", sensor=None), ("mine", "s"), id="an event without sensor has the one that was given"),
    pytest.param(event("s", sensor="other"), ("other", "s"), id="the same session id of two sensors is kept apart"),
    pytest.param(event(""), ("vm", ""), id="an event without session is its sensor's"),
    pytest.param(event("s", eventid="nobody.knows.this"), ("vm", "s"), id="an unknown eventid is valid"),
    pytest.param(event("s", input="\x00 \x1b"), ("vm", "s"), id="NUL and control characters in a field"),
    pytest.param(event("s", input="\ud800"), ("vm", "s"), id="a lone surrogate in a field"),
    pytest.param(event("s", size=float("nan")), ("vm", "s"), id="NaN in a field"),
    pytest.param(event("s", input="?").replace(b"?", b"\xff\xfe"), ("vm", "s"), id="invalid UTF-8 in a field"),
    pytest.param(event("s", input="x" * 900_000), ("vm", "s"), id="a very long field"),
]


@pytest.mark.parametrize(("line", "place"), KEYS)
def test_a_valid_event_is_kept_byte_for_byte_under_its_key(line: bytes, place: tuple[str, str]) -> None:
    found = window(line)
    assert list(runs(found, max_events=100)) == [Run(session_key(*place), [0], [line])]
    assert (found.letters, found.events, found.blank) == ([], 1, 0)


LETTERS = [
    pytest.param(b"\x00\xff\x80 junk", "not JSON", id="binary junk"),
    pytest.param(b"Nov 23 kernel: hello", "not JSON", id="a line that is no JSON"),
    pytest.param(b"[1, 2]", "not a JSON object", id="JSON that is no object"),
    pytest.param(b'{"timestamp": "%s"}' % AT.encode(), "eventid is missing", id="no eventid"),
    pytest.param(b'{"eventid": "cowrie.x"}', "timestamp is missing", id="no timestamp"),
    pytest.param(event(timestamp="yesterday"), "timestamp is not usable", id="a timestamp that is none"),
    pytest.param(event().replace(b'"s1"', b'["a"]'), "session is not text", id="a session that is a list"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep", id="nested 100,000 deep"),
]


@pytest.mark.parametrize(("line", "reason"), LETTERS)
def test_what_is_no_event_is_a_dead_letter_and_its_neighbours_are_events(line: bytes, reason: str) -> None:
    found = window(event("a"), line, event("b"))
    [letter] = found.letters
    assert (letter.payload, letter.reason, letter.position) == (line, reason, len(event("a")) + 1)
    assert (letter.source, letter.origin, letter.piece, letter.last, letter.at) == ("0123", "read", 0, True, AT)
    assert found.events == 2


def test_blank_lines_are_counted_and_nothing_else() -> None:
    found = window(b"", b"  \t", event(), b"\r", b"\x00")
    assert (found.blank, found.events, [letter.payload for letter in found.letters]) == (3, 1, [b"\x00"])


def test_the_reason_of_an_unfinished_line_says_what_reading_it_met() -> None:
    [letter] = window(event()[:-5], reason="truncated").letters
    assert letter.reason == "truncated"
    assert letter.detail.startswith("not JSON")


def test_letters_of_long_and_of_bad_lines_come_in_order_of_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.cowrie.lines.PIECE_BYTES", 4)
    frame = Frame([0, 20], [b"bad one", b"x"], cut(8, b"0123456789"), 22)
    letters = sort_lines(frame, source="0123", sensor="mine", at=AT).letters
    assert [(letter.position, letter.piece, letter.payload, letter.last) for letter in letters] == [
        (0, 0, b"bad ", False),
        (0, 1, b"one", True),
        (8, 0, b"0123", False),
        (8, 1, b"4567", False),
        (8, 2, b"89", True),
        (20, 0, b"x", True),
    ]


RECORDS = [
    pytest.param([10] * 5, 100, [5], id="what fits is one record"),
    pytest.param([10] * 5, 2, [2, 2, 1], id="at most so many events"),
    pytest.param([10] * 5, 1, [1] * 5, id="one event a record where that is asked for"),
    pytest.param([50, 50, 1, 99, 2], 100, [2, 2, 1], id="at most so many bytes"),
    pytest.param([10, 500, 10, 10], 100, [1, 1, 2], id="a larger event has a record of its own"),
    pytest.param([500], 100, [1], id="a larger event alone"),
]


@pytest.mark.parametrize(("sizes", "most", "expected"), RECORDS)
def test_records_stay_within_their_bounds(
    sizes: list[int], most: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "RECORD_BYTES", 100)
    lines = [b"%d" % index * size for index, size in enumerate(sizes)]
    *positions, end = accumulate(sizes, initial=0)
    frame = Frame(positions, lines, [], end)
    found = list(runs(Window(frame, {b"key": list(range(len(sizes)))}, [], len(sizes), 0), max_events=most))
    assert [len(run.events) for run in found] == expected
    assert [position for run in found for position in run.positions] == positions
    assert [line for run in found for line in run.events] == lines
    assert {run.key for run in found} == {b"key"}
