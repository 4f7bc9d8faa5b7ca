"""Listings hold any path, and come back whole in whatever pieces they are read; sets of records have one digest."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.contracts import listings
from tallystick.contracts.media import Found, set_digest

NATURAL = st.integers(0, 2**63 - 1)
NAMES = st.binary(min_size=1, max_size=20).map(lambda name: b"n" + name.replace(b"\0", b"0").replace(b"/", b"|"))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
RECORDS = st.builds(
    Found,
    part=st.integers(0, 8),
    ino=NATURAL,
    type=st.sampled_from(listings.TYPES),
    nlink=NATURAL,
    size=NATURAL,
    mtime=st.integers(-(2**63), 2**63 - 1),
    path=PATHS,
    dev=NATURAL,
)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=20), st.lists(st.integers(0, 3000), max_size=20))
def test_what_was_written_is_read_in_any_chunks(found: list[Found], cuts: list[int]) -> None:
    listing = b"".join(listings.encode(each, mount=b"/mnt") for each in found)
    places = [0, *sorted(min(cut, len(listing)) for cut in cuts), len(listing)]
    chunks = [listing[start:end] for start, end in pairwise(places)]
    read = list(listings.parse(chunks))
    assert [(each.type, each.dev, each.ino, each.nlink, each.size, each.mtime, each.path) for each in read] == [
        (each.type, each.dev, each.ino, each.nlink, each.size, each.mtime, b"/mnt/" + each.path) for each in found
    ]
    assert [listing[each.at :].startswith(each.type.encode()) for each in read] == [True] * len(found)
    assert listing.count(b"\0") == len(found)


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_a_listing_that_was_cut_within_a_record_is_never_taken_for_whole(
    found: list[Found], data: st.DataObject
) -> None:
    listing = b"".join(listings.encode(each, mount=b"/mnt") for each in found)
    cut = data.draw(st.integers(1, len(listing) - 1).filter(lambda at: listing[at - 1] != 0))
    with pytest.raises(listings.ListingError) as raised:
        list(listings.parse([listing[:cut]]))
    assert raised.value.fault is listings.Fault.TRUNCATED


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_an_error_of_their_own(noise: bytes) -> None:
    try:
        records = sum(1 for _ in listings.parse([noise]))
    except listings.ListingError as error:
        assert 0 <= error.offset <= len(noise)  # noqa: PT017 - either outcome is right
    else:
        assert records == noise.count(b"\0")


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=10).flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_digest_of_a_set_does_not_depend_on_its_order(both: tuple[list[Found], list[Found]]) -> None:
    assert set_digest(both[0]) == set_digest(both[1])


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=10, unique_by=lambda each: each.path))
def test_the_digest_of_a_set_changes_with_each_record(found: list[Found]) -> None:
    assert len({set_digest(found[:at]) for at in range(len(found) + 1)}) == len(found) + 1
