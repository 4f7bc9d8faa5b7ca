"""Maps of ddrescue, and which bytes of a medium they say are lost."""

import pytest

from producers.media.damage import DamageMap, Range, parse_map
from producers.media.errors import MalformedError

REAL = b"""# Mapfile. Created by GNU ddrescue version 1.26
# Command line: ddrescue -d /dev/sr0 cd.img cd.map
# Start time:   2026-01-01 12:00:00
# current_pos  current_status  current_pass
0x00002600     +               3
#      pos        size  status
0x00000000  0x00001000  +
0x00001000  0x00000200  -
0x00001200  0x00000400  *
0x00001600  0x00000A00  +
0x00002000  0x00000200  ?
0x00002200  0x00000200  /
0x00002400  0x00000200  +
"""


def test_all_that_was_not_rescued_is_bad_and_what_touches_is_one_range() -> None:
    found = parse_map(REAL)
    assert found == DamageMap(0x2600, (Range(0x1000, 0x1600), Range(0x2000, 0x2400)))
    assert found.bad_bytes == 0xA00


def test_older_maps_have_no_pass_and_numbers_may_be_decimal() -> None:
    assert parse_map(b"0 +\n0 512 +\n512 0x200 -\n") == DamageMap(1024, (Range(512, 1024),))


def test_a_map_without_damage_has_none() -> None:
    assert parse_map(b"0x0 + 1\n0x0 0x4000 +\n").bad == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param(b"", "no state", id="nothing"),
        pytest.param(b"# only a comment\n", "no state", id="comments only"),
        pytest.param(b"0x0 + 1\n", "holds no block", id="no block"),
        pytest.param(b"0x0 + 1\n0x0 0x200\n", "line 2", id="two fields"),
        pytest.param(b"0x0 + 1\n0x0 0x200 x\n", "status", id="an unknown status"),
        pytest.param(b"0x0 + 1\n0x0 200h +\n", "line 2", id="no number"),
        pytest.param(b"0x0 + 1\n0x0 -5 +\n", "negative", id="a number below zero"),
        pytest.param(b"0x0 + 1\n0x0 0x200 +\n0x100 0x200 -\n", "says nothing of byte 512", id="blocks that overlap"),
        pytest.param(b"0x0 + 1\n0x0 0x200 +\n0x300 0x200 -\n", "says nothing of byte 512", id="a gap between blocks"),
        pytest.param(b"hello world this is no map\n", "line 1", id="another file"),
    ],
)
def test_a_map_that_can_not_be_is_refused(text: bytes, word: str) -> None:
    with pytest.raises(MalformedError, match=word) as raised:
        parse_map(text)
    assert raised.value.reason == "bad_map"


@pytest.mark.parametrize(
    ("start", "length", "hit"),
    [
        pytest.param(0, 0x1000, 0, id="up to the damage"),
        pytest.param(0x0FFF, 2, 1, id="its first byte"),
        pytest.param(0x15FF, 1, 1, id="its last byte"),
        pytest.param(0x1600, 0xA00, 0, id="between two"),
        pytest.param(0, 0x2600, 0xA00, id="all"),
        pytest.param(0x1100, 0x10, 0x10, id="within"),
        pytest.param(0x1500, 0xC00, 0x100 + 0x100, id="the end of one and the beginning of the next"),
        pytest.param(0x9000, 0x100, 0, id="after the map"),
        pytest.param(0x1000, 0, 0, id="no byte"),
    ],
)
def test_only_bytes_that_are_bad_count(start: int, length: int, hit: int) -> None:
    assert parse_map(REAL).hit(start, length) == hit


def test_what_lies_beyond_the_end_of_an_image_is_bad_too() -> None:
    cut = parse_map(REAL).until(0x2500)
    assert (cut.hit(0x2400, 0x200), cut.hit(1 << 40, 512), cut.hit(0x1000, 0x10)) == (0x100, 512, 0x10)
