"""The state store: what is in it is a prefix of the changelog, whenever its process dies."""

from collections.abc import Iterator
from pathlib import Path

import faust
import msgspec
import pytest
from faust.events import Event
from faust.types import EventT
from faust.types.tuples import Message
from rocksdict import Rdict

from streams.checkpointing import CheckpointedTable
from streams.store import CheckpointStore, Written, open_slot
from tallystick.contracts.cowrie import SESSIONS
from tallystick.errors import ServiceError
from tallystick.settings import Settings

TOPIC = SESSIONS.name


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Rdict]:
    opened = open_slot(tmp_path / "state", cache_bytes=1 << 20)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Rdict) -> CheckpointStore:
    app = faust.App("tests", broker="kafka://127.0.0.1:1")
    return CheckpointedTable(app, changelog=SESSIONS, settings=Settings(), database=database).states


def state(revision: int) -> bytes:
    return msgspec.json.encode({"revision": revision})


def record(key: bytes, value: bytes | None, *, offset: int, partition: int = 0, topic: str = TOPIC) -> EventT[bytes]:
    message = Message(topic, partition, offset, 0.0, 0, {}, key, value, None)
    return Event(faust.App("tests", broker="kafka://127.0.0.1:1"), key, value, {}, message)


def recover(store: CheckpointStore, *events: EventT[bytes]) -> None:
    store.apply_changelog_batch(events, to_key=lambda key: key, to_value=lambda value: value)


def offset(store: CheckpointStore, partition: int = 0) -> int | None:
    return store.persisted_offset(faust.types.TP(TOPIC, partition))


def test_states_and_their_changelog_offset_are_taken_together(store: CheckpointStore) -> None:
    assert offset(store) is None
    store.commit([Written(b"a", state(1), 0, 7), Written(b"b", state(1), 0, 6), Written(b"c", state(2), 3, 9)])
    assert store.read(0, b"a") == state(1)
    assert store.read(3, b"c") == state(2)
    assert store.read(3, b"a") is None, "partitions are apart"
    assert (offset(store, 0), offset(store, 3)) == (7, 9)


def test_an_offset_never_moves_back(store: CheckpointStore) -> None:
    store.commit([Written(b"a", state(2), 0, 7)])
    store.commit([Written(b"a", state(2), 0, 3)])
    assert offset(store) == 7


def test_recovery_takes_the_changelog_and_remembers_how_far(store: CheckpointStore) -> None:
    recover(store, record(b"a", state(1), offset=0), record(b"b", state(1), offset=1), record(b"a", state(2), offset=2))
    assert store.read(0, b"a") == state(2)
    assert offset(store) == 2
    assert dict(store.states([0])) == {b"a": state(2), b"b": state(1)}


def test_in_recovery_a_late_older_state_does_not_replace_a_newer_one(store: CheckpointStore) -> None:
    recover(store, record(b"a", state(5), offset=0), record(b"a", state(3), offset=1))
    assert store.read(0, b"a") == state(5)
    recover(store, record(b"a", state(4), offset=2))
    assert store.read(0, b"a") == state(5)
    assert offset(store) == 2, "the record has been seen all the same"


def test_records_of_another_topic_are_not_taken(store: CheckpointStore) -> None:
    recover(store, record(b"a", state(1), offset=0, topic="something.else"))
    assert store.read(0, b"a") is None
    assert offset(store) is None


def test_a_reset_forgets_states_and_offsets(store: CheckpointStore) -> None:
    store.commit([Written(b"a", state(1), 0, 7)])
    store.reset_state()
    assert store.read(0, b"a") is None
    assert offset(store) is None


def test_what_was_committed_is_there_after_the_database_is_opened_again(tmp_path: Path) -> None:
    first = open_slot(tmp_path / "state", cache_bytes=1 << 20)
    first[b"k"] = b"v"
    first.close()
    assert open_slot(tmp_path / "state", cache_bytes=1 << 20)[b"k"] == b"v"


def test_two_workers_on_one_folder_get_a_slot_each(tmp_path: Path) -> None:
    first, second = (open_slot(tmp_path / "state", cache_bytes=1 << 20) for _ in range(2))
    assert first.path() != second.path()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "slot-0").write_text("in the way")
    with pytest.raises(ServiceError, match=r"no state database can be opened under .*state"):
        open_slot(tmp_path / "state", cache_bytes=1 << 20)
