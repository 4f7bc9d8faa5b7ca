"""Framing of objects: however they are written, fed and damaged, each whole one is found, and nothing else is taken."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cowrie import lines, objects
from producers.cowrie.objects import ObjectFramer, Place
from producers.cowrie.scanning import START_BYTES, compacted, without_space

PIECE = 64
MAX = 4_000

HOSTILE = st.text(st.sampled_from('{}[]",:\\\n\t \x00aé☃\ud800'), max_size=12) | st.sampled_from(
    ['{"eventid":', '"}', "}{", "{", '{"', "\\", '\\"', '{"a": [', "]}", "echo {", "find -exec {} \\;"]
)
VALUE = st.recursive(
    HOSTILE | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=2),
    max_leaves=4,
)
NAMES = ("session", "input", "message", "src_ip", "sensor")
OBJECT = st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=4).map(
    lambda fields: {"eventid": "cowrie.x", "timestamp": "2026-01-01T00:00:00Z"} | fields
)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\r\n  ", "\t", "\n\n    "])


class Found(NamedTuple):
    """What a framer found: objects as events, what is none, and all of it as it stands, each with its position."""

    events: list[tuple[int, bytes]]
    bad: list[tuple[int, bytes, str]]
    raw: list[tuple[int, bytes]]

    def between(self, content: bytes) -> bytes:
        """Return the bytes of `content` that are in nothing that was found."""
        rest, at = b"", 0
        for position, text in sorted(self.raw):
            assert content[position:].startswith(text)
            rest, at = rest + content[at:position], position + len(text)
        return rest + content[at:]


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    """Pieces of 64 bytes and frames of 3 lines, so that every bound is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", PIECE)
        patch.setattr(objects, "PIECE_BYTES", PIECE)
        patch.setattr(objects, "MAX_LINES", 3)
        yield


def event_of(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def written(draw: st.DrawFn, value: Any) -> str:
    """Return `value` as JSON with white space wherever it may be."""

    def space() -> str:
        return draw(SPACE)

    if isinstance(value, dict):
        members = [
            f"{space()}{json.dumps(name)}{space()}:{space()}{written(draw, item)}" for name, item in value.items()
        ]
        return "{" + f"{space()},".join(members) + space() + "}"
    if isinstance(value, list):
        return "[" + f"{space()},".join(space() + written(draw, item) for item in value) + space() + "]"
    return json.dumps(value)


@st.composite
def an_object(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw an object: as it is written, and as an event."""
    fields = draw(OBJECT)
    return written(draw, fields).encode(), event_of(fields)


@st.composite
def chunks_of(draw: st.DrawFn, content: bytes) -> list[bytes]:
    cuts = sorted({0, len(content), *draw(st.lists(st.integers(0, len(content)), max_size=12))})
    return [content[start:end] for start, end in pairwise(cuts)]


def find(chunks: list[bytes], place: Place, *, at: int = 0, most: int = MAX) -> tuple[Found, ObjectFramer, list[int]]:
    """Feed a framer; return what it found without the last, unfinished thing, and the ends of its frames."""
    framer = ObjectFramer(at, max_line_bytes=most, place=place)
    found, ends = Found([], [], []), []
    long: dict[int, bytes] = {}
    fed = at
    for chunk in chunks:
        fed += len(chunk)
        for frame in framer.feed(chunk):
            assert len(frame.lines) <= 3
            for index, (position, line) in enumerate(zip(frame.positions, frame.lines, strict=True)):
                if reason := frame.reasons.get(index):
                    found.bad.append((position, line, reason))
                else:
                    [event] = frame.events([index])
                    found.events.append((position, event))
                found.raw.append((position, line))
            for piece in frame.pieces:
                assert piece.number * PIECE == len(long.get(piece.position, b""))
                long[piece.position] = long.get(piece.position, b"") + piece.payload
                if piece.last:
                    whole = long.pop(piece.position)
                    found.raw.append((piece.position, whole))
                    found.bad.append((piece.position, whole, "long"))
            ends.append(frame.end)
        assert framer.position + framer.unfinished_bytes == fed
        assert len(framer.undecided) <= max(most, PIECE) + START_BYTES
    assert ends == sorted(ends)
    found.bad.sort()
    return found, framer, ends


ROW_OR_ARRAY: st.SearchStrategy[Place] = st.sampled_from(["row", "before"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[Place, bytes, list[tuple[int, bytes]]]:
    """Draw a row or an array of objects: its content, and where each event stands."""
    place: Place = draw(ROW_OR_ARRAY)
    content = draw(SPACE).encode() + (b"[" if place == "before" else b"")
    expected = []
    for number, (text, event) in enumerate(draw(st.lists(an_object(), max_size=6))):
        comma = b"," if place == "before" and number else b""
        content += draw(SPACE).encode() + comma + draw(SPACE).encode()
        expected.append((len(content), event))
        content += text
    return place, content + draw(SPACE).encode() + (b"]\n" if place == "before" else b"\n"), expected


@settings(max_examples=200, deadline=None)
@given(document=documents(), data=st.data())
def test_the_same_events_are_found_however_they_are_written_and_fed(
    document: tuple[Place, bytes, list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    place, content, expected = document
    found, framer, _ = find(data.draw(chunks_of(content)), place)
    assert (found.events, found.bad) == (expected, [])
    assert framer.finish().lines == []
    assert framer.position == len(content)


@settings(max_examples=150, deadline=None)
@given(document=documents(), data=st.data())
def test_from_the_end_of_any_frame_the_rest_is_found(
    document: tuple[Place, bytes, list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    place, content, expected = document
    _, _, ends = find(data.draw(chunks_of(content)), place)
    for end in ends:
        again: Place = place if place == "row" or end == 0 else "unknown"
        found, _, _ = find(data.draw(chunks_of(content[end:])), again, at=end)
        assert (found.events, found.bad) == ([event for event in expected if event[0] >= end], [])


@settings(max_examples=300, deadline=None)
@given(found=an_object())
def test_what_is_compacted_is_compacted_alike_by_both_ways(found: tuple[bytes, bytes]) -> None:
    text, event = found
    assert compacted(text) == without_space(text) == event


@st.composite
def garbage(draw: st.DrawFn) -> bytes:
    """Draw what may stand between objects: a part of one, or what is none at all."""
    text, _ = draw(an_object())
    cut = draw(st.integers(1, len(text) - 1))
    return draw(
        st.sampled_from(
            [
                text[:cut],
                text[:cut] + b"\n",
                text[cut:],
                b"\0" * 9,
                b"}",
                b"]}",
                b",,",
                b"null",
                b"what?\n",
                b"\xff\xfe{",
            ]
        )
    )


@settings(max_examples=300, deadline=None)
@given(
    items=st.lists(st.tuples(an_object(), garbage() | st.just(b""), SPACE), min_size=1, max_size=5),
    place=ROW_OR_ARRAY,
    data=st.data(),
)
def test_what_is_broken_costs_only_itself(
    items: list[tuple[tuple[bytes, bytes], bytes, str]], place: Place, data: st.DataObject
) -> None:
    content, expected = b"", []
    for (text, event), junk, space in items:
        content += junk + space.encode()
        expected.append((len(content), event))
        content += text
    found, framer, _ = find(data.draw(chunks_of(content)), place)
    assert [event for event in found.events if event in expected] == expected
    assert found.between(content[: framer.position]).strip(b" \t\r\n" if place == "row" else b" \t\r\n,[]") == b""


@settings(max_examples=200, deadline=None)
@given(
    items=st.lists(an_object().map(lambda found: found[0]) | garbage(), max_size=6),
    place=ROW_OR_ARRAY,
    most=st.sampled_from([30, 80, 300]),
    data=st.data(),
)
def test_the_same_is_found_wherever_content_is_cut_even_where_it_is_too_long(
    items: list[bytes], place: Place, most: int, data: st.DataObject
) -> None:
    content = b"".join(items)
    whole, framer, _ = find([content], place, most=most)
    parts, other, _ = find(data.draw(chunks_of(content)), place, most=most)
    assert (parts.events, parts.bad) == (whole.events, whole.bad)
    assert whole.between(content[: framer.position]).strip(b" \t\r\n,[]") == b""
    one, two = framer.finish(), other.finish()
    assert (one.positions, one.lines, one.end, one.reasons) == (two.positions, two.lines, two.end, two.reasons)
    assert [piece.payload for piece in two.pieces][-1:] == [piece.payload for piece in one.pieces][-1:]
