"""ddrescue's maps: read as its manual describes them, and refused where they tell of something else."""

import pytest

from tallystick.contracts.rescue_maps import Extent, RescueMap, parse, render
from tallystick.errors import ContractError

DDRESCUE = b"""# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue /dev/sr0 a.img a.map
# Finished
# current_pos  current_status  current_pass
0x0026A000     +               1
#      pos        size  status
0x00000000  0x0026A000  +
0x0026A000  0x00000800  -
0x0026A800  0x00310800  +
"""


def test_a_map_of_ddrescue_is_read() -> None:
    chart = parse(DDRESCUE)
    assert chart.extents == (
        Extent(0, 0x26A000, "+"),
        Extent(0x26A000, 0x800, "-"),
        Extent(0x26A800, 0x310800, "+"),
    )
    assert (chart.finished, chart.bad_bytes, chart.end) == (True, 0x800, 0x57B000)
    assert list(chart.unread()) == [Extent(0x26A000, 0x800, "-")]


@pytest.mark.parametrize("status", "?*/FG")
def test_a_rescue_that_was_interrupted_is_not_finished(status: str) -> None:
    assert not parse(DDRESCUE.replace(b"0x0026A000     +", f"0 {status}".encode())).finished


@pytest.mark.parametrize("status", "?*/-")
def test_whatever_was_not_read_is_bad(status: str) -> None:
    chart = parse(f"0 +\n0 10 +\n10 5 {status}\n".encode())
    assert (chart.bad_bytes, chart.end) == (5, 15)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"0 + 1\n0 0x10 +\n", id="hexadecimal"),
        pytest.param(b"0 +\n0 16 +\n", id="decimal, and no pass, as before version 1.22"),
        pytest.param(b"\n# c\n0\t+\t1 # c\n\n  0   16  +   # c\r\n", id="blanks, comments, other line ends"),
    ],
)
def test_numbers_and_blanks_are_as_they_like(text: bytes) -> None:
    assert parse(text) == RescueMap((Extent(0, 16, "+"),), finished=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(b"", "it has no state", id="empty"),
        pytest.param(b"# only\n# comments\n", "it has no state", id="only comments"),
        pytest.param(b"no map\n", "line 1", id="something else"),
        pytest.param(b"0 +\n0 16\n", "line 2", id="an extent without a status"),
        pytest.param(b"0 +\n0 16 x\n", "line 2.*the status 'x'", id="a status that is none"),
        pytest.param(b"0 +\n0 -1 +\n", "line 2.*negative", id="a negative size"),
        pytest.param(b"0 +\n0 1G +\n", "line 2", id="a unit"),
        pytest.param(b"0 +\n0 16 +\n17 1 +\n", "nothing of byte 16", id="a gap"),
        pytest.param(b"0 +\n0 16 +\n15 1 +\n", "nothing of byte 16", id="an overlap"),
        pytest.param(b"\xff\xfe\0", "line 1", id="bytes"),
    ],
)
def test_what_is_no_map_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        parse(text)


def test_of_a_medium_that_is_longer_than_its_map_the_rest_is_yet_to_be_tried() -> None:
    chart = RescueMap((Extent(100, 50, "+"),), finished=False)
    assert chart.covering(200) == (Extent(0, 100, "?"), Extent(100, 50, "+"), Extent(150, 50, "?"))
    assert RescueMap((), finished=False).covering(200) == (Extent(0, 200, "?"),)


def test_what_is_written_is_what_ddrescue_writes() -> None:
    chart = RescueMap((Extent(0, 1 << 20, "+"), Extent(1 << 20, 512, "?")), finished=False)
    assert render(chart).splitlines()[2:] == [
        b"0x00100000     ?               1",
        b"#      pos        size  status",
        b"0x00000000  0x00100000  +",
        b"0x00100000  0x00000200  ?",
    ]
