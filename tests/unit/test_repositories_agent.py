"""The repositories agent without Kafka: what it sends, and what goes to the dead letters."""

import msgspec
import pytest

from streams.checkpointing import Record, Send
from streams.repositories.agent import RepositoriesAggregate
from tallystick.contracts import atproto, dead_letters
from tests.unit.test_repositories_fold import DID, commit, data, rev

KEY = DID.encode()
GOOD = atproto.Commit(DID, rev(1), "https://host", "bafycommit", data(1), prev_data=atproto.EMPTY_TREE)
FETCHED = atproto.Fetched(DID, "https://host", 1, "2026-11-01T00:00:00.000000Z", rev(1), "bafycommit", data(1))


def fold(*values: bytes, key: bytes = KEY, state: bytes | None = None) -> tuple[bytes | None, list[Send]]:
    repository = RepositoriesAggregate("known").open(key, state)
    for offset, value in enumerate(values):
        repository.add(Record(0, offset, key, value, []))
    return repository.state(), list(repository.follows())


def test_a_gap_is_asked_for_and_nothing_is_written_where_nothing_changes() -> None:
    op = atproto.Op(atproto.Action.CREATE, "app.bsky.feed.post", "3l", "bafyrecord", record=msgspec.Raw(b'{"a":[1]}'))
    state, follows = fold(atproto.encode(msgspec.structs.replace(GOOD, ops=(op,))))
    assert state is not None
    assert follows == []
    assert fold(atproto.encode(GOOD), state=state) == (None, [])
    later, (fetch,) = fold(atproto.encode(GOOD), msgspec.json.encode(commit(3)), state=state)
    assert later is not None
    assert atproto.decode_repository(later).state is atproto.RepositoryState.FETCHING
    assert (fetch.topic, fetch.key, atproto.decode_fetch(fetch.value).rev) == (atproto.FETCHES, KEY, rev(3))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        pytest.param(b"", "truncated", id="nothing"),
        pytest.param(b"\xff", "malformed", id="no JSON"),
        pytest.param(b'{"event":"tombstone","did":"did:plc:a"}', "Invalid value", id="an event of another kind"),
        pytest.param(atproto.encode(msgspec.structs.replace(GOOD, rev="3l")), "$.rev", id="no rev"),
        pytest.param(atproto.encode(msgspec.structs.replace(GOOD, since="x")), "$.since", id="no rev before"),
        pytest.param(atproto.encode(msgspec.structs.replace(GOOD, data="x" * 129)), "$.data", id="an endless root"),
        pytest.param(atproto.encode(msgspec.structs.replace(GOOD, data="x\0")), "$.data", id="a root that is no text"),
        pytest.param(atproto.encode(msgspec.structs.replace(GOOD, did="did:plc:b")), "its key", id="somebody else's"),
        pytest.param(
            atproto.encode(msgspec.structs.replace(FETCHED, rev="")), "without its rev", id="a fetch of no rev"
        ),
        pytest.param(atproto.encode(msgspec.structs.replace(FETCHED, at="now")), "its time", id="no time"),
        pytest.param(
            atproto.encode(atproto.Account(DID, "https://host", True, time="soon")),
            "its time",
            id="an account's no time",
        ),
    ],
)
def test_what_is_no_event_of_its_repository_goes_to_the_dead_letters(value: bytes, detail: str) -> None:
    state, follows = fold(value, atproto.encode(GOOD))
    assert state is not None
    (letter,) = (dead_letters.decode(send.value) for send in follows)
    assert (letter.reason, letter.payload, letter.origin) == (dead_letters.NO_RECORD, value, "repositories")
    assert detail in letter.detail


def test_a_long_letter_travels_in_pieces() -> None:
    value = b"x" * (dead_letters.PIECE_BYTES + 1)
    _, follows = fold(value)
    assert b"".join(dead_letters.decode(send.value).payload for send in follows) == value
    assert len(follows) == 2
