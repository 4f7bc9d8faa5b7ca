"""The store, whatever is put into it, however it comes in, and whatever happens to it in between."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.storage.disk import HOLE_BYTES, write_sparse
from tallystick.storage.store import TEMPORARY, Blob, Store, Stray

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=100),
        st.integers(min_value=0, max_value=3 * HOLE_BYTES).map(bytes),
        st.integers(min_value=1, max_value=2 * HOLE_BYTES).map(lambda size: b"x" * size),
    ),
    max_size=6,
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "corrupt", "delete", "sweep"]), st.integers(min_value=0, max_value=3)),
    max_size=12,
)
CONTENTS = (b"", b"one", bytes(HOLE_BYTES), bytes(HOLE_BYTES - 1) + b"end")
IDS = [blake3(content).hexdigest() for content in CONTENTS]


@settings(max_examples=30, deadline=None)
@given(PIECES)
def test_any_content_comes_back_whatever_blocks_it_came_in(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        published = store.publish(pieces, size=len(whole))
        assert published.blobid == blake3(whole).hexdigest() == store.verify(published.blobid)
        assert b"".join(store.read(published.blobid)) == whole


@given(st.binary(max_size=50), st.integers(min_value=0, max_value=3 * HOLE_BYTES), st.binary(max_size=50))
def test_holes_are_left_out_and_nothing_else(before: bytes, zeros: int, after: bytes) -> None:
    block = before + bytes(zeros) + after
    with tempfile.TemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        write_sparse(file.fileno(), block, at=0)
        file.truncate(len(block))
        assert file.read() == block


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_what_is_in_the_store_is_what_was_put_there_and_each_damage_is_healed(steps: list[tuple[str, int]]) -> None:
    sound: dict[int, bool] = {}
    """Which contents are there, and whether they are sound."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for step, number in steps:
            path = store.path(IDS[number])
            if step == "publish":
                published = store.publish(iter([CONTENTS[number]]), size=len(CONTENTS[number]))
                assert published.created == (number not in sound)
                assert published.healed == (sound.get(number) is False)
                sound[number] = True
            elif step == "corrupt" and number in sound:
                path.unlink()
                path.write_bytes(b"corrupt")
                sound[number] = False
            elif step == "delete" and number in sound:
                path.unlink()
                del sound[number]
            elif step == "sweep":
                (store.root / TEMPORARY).mkdir(exist_ok=True)
                (store.root / TEMPORARY / "abandoned").write_bytes(b"half")
                assert store.sweep() == 1
        entries: Iterator[Blob | Stray] = store.entries()
        assert [entry.blobid for entry in entries if isinstance(entry, Blob)] == sorted(IDS[number] for number in sound)
        assert {number: store.verify(IDS[number]) == IDS[number] for number in sound} == sound
