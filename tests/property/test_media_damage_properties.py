"""Maps of ddrescue against a bitmap, byte by byte."""

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.media.damage import parse_map

BLOCKS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("+-*/?")), min_size=1, max_size=12)


@settings(deadline=None)
@given(BLOCKS, st.integers(0, 150), st.integers(0, 60), st.integers(0, 150))
def test_damage_is_what_a_bitmap_says(blocks: list[tuple[int, str]], start: int, length: int, size: int) -> None:
    lines, bitmap = ["0x0 + 1"], ""
    for count, status in blocks:
        lines.append(f"{len(bitmap):#x} {count:#x} {status}")
        bitmap += status * count
    found = parse_map("\n".join(lines).encode())
    bad = [status != "+" for status in bitmap]
    assert (found.size, found.bad_bytes) == (len(bad), sum(bad))
    assert found.hit(start, length) == sum(bad[start : start + length])
    cut = [at >= size or (at < len(bad) and bad[at]) for at in range(300)]
    assert found.until(size).hit(start, length) == sum(cut[start : start + length])
