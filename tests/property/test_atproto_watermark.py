"""The cursor is never ahead of anything that is not done, whatever the order in which things get done."""

from hypothesis import given
from hypothesis import strategies as st

from producers.atproto.live.watermark import Entry, Watermark


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Events that come in order, some numbers left out, each held by up to three; and who is done when."""
    steps: list[tuple[str, int]] = []
    held: list[int] = []
    count = 0
    for _ in range(draw(st.integers(0, 60))):
        number = draw(st.integers(0, 999))
        if held and number % 10 < 6:
            steps.append(("done", held.pop(number // 10 % len(held))))
        else:
            holds = number % 3 + 1
            steps.append(("come", holds))
            held.extend([count] * holds)
            count += 1
    return steps


@given(histories(), st.integers(0, 1000), st.lists(st.integers(1, 5), min_size=60, max_size=60))
def test_the_position_is_the_last_number_that_is_done_with_all_before_it(
    history: list[tuple[str, int]], start: int, jumps: list[int]
) -> None:
    mark = Watermark(start)
    entries: list[Entry] = []
    seq = start
    passed: list[Entry] = []
    for what, number in history:
        if what == "come":
            seq += jumps[len(entries)]
            entries.append(mark.begin(seq, size=seq))
            entries[-1].missing = number
        else:
            passed += mark.release(entries[number])
        done = [entry.missing == 0 for entry in entries]
        first_open = done.index(False) if False in done else len(done)
        assert mark.position == (entries[first_open - 1].seq if first_open else start)
        assert passed == entries[:first_open]
        assert mark.received == seq
        waiting = [entry for entry in entries if entry.missing]
        assert (mark.waiting, mark.waiting_bytes) == (len(waiting), sum(entry.size for entry in waiting))
        assert mark.span == len(entries) - first_open


def test_numbers_that_begin_anew_move_the_position_only_after_all_that_came_before() -> None:
    mark = Watermark(100)
    old = mark.begin(101)
    mark.release(mark.begin(4))
    assert mark.position == 100
    mark.release(old)
    assert mark.position == 4
