"""A damaged CD: whatever its bytes, there are records, problems, or an error of Tallystick's own."""

import lzma
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.media.iso9660 import Iso
from producers.media.iso_walk import IsoWalk
from tallystick.contracts.listings import FileSystem
from tests.media_fixtures import FOLDER

NAMES = st.sampled_from(["iso_rr_nasty.iso", "iso_rr_deep.iso", "iso_joliet.iso", "iso_level1.iso"])


@cache
def whole(name: str) -> bytes:
    return lzma.decompress((FOLDER / f"{name}.xz").read_bytes())


@settings(deadline=None)
@given(NAMES, st.lists(st.tuples(st.integers(0, 60_000), st.binary(min_size=1, max_size=8)), max_size=30), st.data())
def test_damage_never_breaks_the_reader(name: str, changes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    image = bytearray(whole(name))
    for at, new in changes:
        place = 32_768 + at
        image[place : place + len(new)] = new
    image = image[: data.draw(st.sampled_from([len(image), 40_000, 60_000]))]
    try:
        iso = Iso(lambda at, size: bytes(image[at : at + size]))
    except OSError:
        return
    entries = list(IsoWalk(iso, FileSystem(0, "ISO 9660"), damage=None))
    assert entries[0].path == b"."
    for entry in entries:
        assert b"\0" not in entry.path
        assert b".." not in entry.path.split(b"/")
