"""Framing: whatever the chunks, the same lines at the same positions, and never more held than may be."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cowrie import lines
from producers.cowrie.lines import Framer

PIECE = 16
MAX = 24

CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bc", b"{}", b"x" * 20, b"y" * 50]), max_size=60).map(
    b"".join
)


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    """Pieces of 16 bytes and frames of 3 lines, so that every bound is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", PIECE)
        patch.setattr(lines, "MAX_LINES", 3)
        yield


@st.composite
def chunked(draw: st.DrawFn) -> list[bytes]:
    content = draw(CONTENT)
    cuts = sorted({0, len(content), *draw(st.lists(st.integers(0, len(content)), max_size=12))})
    return [content[start:end] for start, end in pairwise(cuts)]


@settings(max_examples=300, deadline=None)
@given(chunks=chunked(), origin=st.integers(0, 100))
def test_lines_are_those_of_the_content_wherever_it_is_cut(chunks: list[bytes], origin: int) -> None:
    framer = Framer(origin, max_line_bytes=MAX)
    found: list[tuple[int, int, bytes]] = []
    longest_held = 0
    for chunk in chunks:
        before = framer.position
        for frame in framer.feed(chunk):
            assert len(frame.lines) <= 3
            assert before <= frame.end
            assert [*frame.positions, frame.end] == sorted({*frame.positions, frame.end})
            before = frame.end
            found += [(position, -1, line) for position, line in zip(frame.positions, frame.lines, strict=True)]
            found += [(piece.position, piece.number, piece.payload) for piece in frame.pieces]
        assert before == framer.position
        longest_held = max(longest_held, sum(map(len, framer._parts)) - len(chunk))
    assert longest_held <= max(MAX, PIECE)

    content = b"".join(chunks)
    *complete, tail = content.split(b"\n")
    expected = []
    position = origin
    for line in complete:
        if len(line) <= MAX:
            expected.append((position, -1, line.removesuffix(b"\r")))
        else:
            expected += [(position, at // PIECE, line[at : at + PIECE]) for at in range(0, len(line), PIECE)]
        position += len(line) + 1
    assert framer.position == position
    assert framer.unfinished_bytes == len(tail)
    last = framer.finish()
    assert last.end == origin + len(content)
    assert framer.position == position
    found += [(at, -1, line) for at, line in zip(last.positions, last.lines, strict=True)]
    found += [(piece.position, piece.number, piece.payload) for piece in last.pieces]
    if len(tail) > MAX:
        expected += [(position, at // PIECE, tail[at : at + PIECE]) for at in range(0, len(tail), PIECE)]
    elif tail:
        expected.append((position, -1, tail.removesuffix(b"\r")))
    assert sorted(found) == sorted(expected)


@settings(max_examples=200, deadline=None)
@given(chunks=chunked())
def test_of_a_long_line_exactly_one_piece_is_the_last(chunks: list[bytes]) -> None:
    framer = Framer(0, max_line_bytes=MAX)
    pieces = [piece for chunk in chunks for frame in framer.feed(chunk) for piece in frame.pieces]
    pieces += framer.finish().pieces
    by_line = {piece.position: [other for other in pieces if other.position == piece.position] for piece in pieces}
    for of_line in by_line.values():
        assert [piece.number for piece in of_line] == list(range(len(of_line)))
        assert [piece.last for piece in of_line] == [False] * (len(of_line) - 1) + [True]
        assert sum(len(piece.payload) for piece in of_line) > MAX
    assert [piece.position for piece in pieces] == sorted(piece.position for piece in pieces)
