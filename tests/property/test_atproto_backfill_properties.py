"""AT Protocol: whatever a host sends as a repository, it is refused with a reason, or told as the account signed it."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from producers.atproto.backfill.snapshots import Snapshot, Wanted, check_signature, open_repository
from producers.atproto.protocol.car import CarError, read_car
from producers.atproto.protocol.faults import Refusal
from producers.atproto.protocol.stored_car import read_stored_car
from tests.atproto_world import NOW_US, Repository


def honest() -> Repository:
    repository = Repository("fuzzed")
    repository.commit({f"app.test/{number:02}": {"n": number, "text": "x" * number} for number in range(30)})
    return repository


HONEST = honest()
CAR = HONEST.export()
EDIT = st.tuples(st.integers(0, len(CAR)), st.integers(0, 40), st.binary(max_size=40))


def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return the CAR with some bytes at places replaced by others, shorter or longer."""
    data = CAR
    for at, length, new in edits:
        data = data[:at] + new + data[at + length :]
    return data


def told(data: bytes, wanted: Wanted) -> list[bytes] | None:
    """Return the lines of a snapshot, None where the CAR is refused."""
    try:
        opened = open_repository(data, HONEST.did, max_bytes=10**6, now_us=NOW_US)
        check_signature(opened.signed, HONEST.key, "")
        made = Snapshot(opened, wanted, source=HONEST.did, attempt=1)
        return b"\n".join(piece.value for piece in made.steps(check_hashes=True) if piece).split(b"\n")
    except Refusal:
        return None


WHOLE = told(CAR, Wanted())


@given(st.lists(EDIT, max_size=4))
def test_an_edited_repository_is_refused_or_told_as_it_was(edits: list[tuple[int, int, bytes]]) -> None:
    assert WHOLE is not None
    data = edited(edits)
    assert told(data, Wanted()) in (None, WHOLE)
    part = told(data, Wanted(since=HONEST.rev or ""))
    assert part is None or set(part[:-1]) <= set(WHOLE[:-1])


def refusal(read: Callable[[], object]) -> str:
    """Return why a CAR is refused, empty where it isn't."""
    try:
        read()
    except CarError as error:
        return str(error)
    return ""


@given(st.lists(EDIT, max_size=4))
def test_both_indexes_of_a_car_agree(edits: list[tuple[int, int, bytes]]) -> None:
    bounds = {"max_bytes": 10**6, "max_blocks": 100}
    data = edited(edits)
    why = refusal(lambda: read_car(data, **bounds))
    assert refusal(lambda: read_stored_car(data, **bounds)) == why
    if not why:
        one, other = read_car(data, **bounds), read_stored_car(data, **bounds)
        assert {cid: other.get(cid) for cid in one.spans} == {cid: one.get(cid) for cid in one.spans}
