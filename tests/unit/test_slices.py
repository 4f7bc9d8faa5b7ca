"""Slices: what is encoded comes back, and what isn't a slice is refused with its reason."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.contracts import slices
from tallystick.errors import ContractError

LINES = st.lists(st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line), min_size=1, max_size=8)


@given(LINES, st.integers(0, 2**40), st.data())
def test_a_slice_comes_back_as_it_was(events: list[bytes], low: int, data: st.DataObject) -> None:
    offsets = data.draw(st.sets(st.integers(0, 2**32 - 1), min_size=len(events), max_size=len(events)))
    positions = [low + offset for offset in sorted(offsets)]
    value, headers = slices.encode(b"abc", b"cowrie/1", low, positions, events)
    found = slices.decode(value, headers)
    assert (found.source, found.low, list(found.positions), found.events) == ("abc", low, positions, events)
    assert slices.source_of(headers) == "abc"


@pytest.mark.parametrize("events", [[b"{}"], [b"{}", b"{}"]], ids=["one event", "two events"])
def test_a_slice_carries_the_zone_of_times_that_name_none(events: list[bytes]) -> None:
    positions = [3 * index for index in range(len(events))]
    assert slices.decode(*slices.encode(b"abc", b"cowrie/1", 0, positions, events)).zone is UTC
    value, headers = slices.encode(b"abc", b"cowrie/1", 0, positions, events, b"Europe/Berlin")
    assert str(slices.decode(value, headers).zone) == "Europe/Berlin"


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        pytest.param(b"{}", None, id="no headers at all"),
        pytest.param(b"{}", [("source", b"s"), ("position", b"0")], id="no low"),
        pytest.param(b"{}", [("source", b"s"), ("low", b"0")], id="no position"),
        pytest.param(b"{}", [("source", b"s"), ("low", b"x"), ("position", b"0")], id="low is no number"),
        pytest.param(b"{}", [("source", b"\xff"), ("low", b"0"), ("position", b"0")], id="source is not ASCII"),
        pytest.param(b"{}", [("source", b"s"), ("low", b"0"), ("position", b"0"), ("zone", b"X/Y")], id="no such zone"),
        pytest.param(None, [("source", b"s"), ("low", b"0"), ("position", b"0")], id="a tombstone"),
        pytest.param(b"a\nb", [("source", b"s"), ("low", b"0"), ("positions", b"\0\0\0\0")], id="one position for two"),
        pytest.param(b"a", [("source", b"s"), ("low", b"0"), ("positions", b"\0\0\0")], id="half a position"),
    ],
)
def test_what_is_no_slice_is_refused(value: bytes | None, headers: slices.Headers | None) -> None:
    with pytest.raises(ContractError, match="not a slice"):
        slices.decode(value, headers)
