"""Maps of rescues, whatever is in them."""

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallystick.contracts.rescue_maps import Extent, RescueMap, joined, parse, render


@st.composite
def maps(draw: st.DrawFn) -> RescueMap:
    sizes = draw(st.lists(st.integers(min_value=1, max_value=1 << 50), max_size=20))
    starts = accumulate(sizes, initial=draw(st.integers(min_value=0, max_value=1 << 40)))
    statuses = draw(st.lists(st.sampled_from("?*/-+"), min_size=len(sizes), max_size=len(sizes)))
    extents = [Extent(*one) for one in zip(starts, sizes, statuses, strict=False)]
    return RescueMap(tuple(extents), finished=draw(st.booleans()))


@given(maps())
def test_a_map_that_was_written_is_read_as_it_was(chart: RescueMap) -> None:
    assert parse(render(chart)) == chart


@given(maps(), st.integers(min_value=1, max_value=1 << 52))
def test_a_map_covers_all_of_its_medium_and_joining_loses_nothing(chart: RescueMap, size: int) -> None:
    covering = chart.covering(size)
    assert covering[0].start == 0
    assert covering[-1].end == max(size, chart.end)
    assert all(before.end == after.start for before, after in pairwise(covering))
    assert all(before.status != after.status for before, after in pairwise(covering))
    for status in "*/-+":
        assert _bytes(covering, status) == _bytes(chart.extents, status)
    assert joined(covering) == covering


def _bytes(extents: tuple[Extent, ...], status: str) -> int:
    return sum(extent.size for extent in extents if extent.status == status)
