"""AT Protocol: what real servers sent is understood to the last record, signature and control frame."""

import gzip
from collections import Counter

import msgspec
import pytest

from producers.atproto.protocol.car import read_car
from producers.atproto.protocol.cids import cid_text
from producers.atproto.protocol.commits import commit_record, read_signed
from producers.atproto.protocol.labels import label_problem, newer, read_label
from producers.atproto.protocol.messages import (
    CONSUMER_TOO_SLOW,
    FUTURE_CURSOR,
    OUTDATED_CURSOR,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    LabelsMessage,
    Message,
    SyncMessage,
    read_message,
)
from producers.atproto.protocol.mst import walk
from producers.atproto.protocol.records import record_json
from producers.atproto.protocol.validation import (
    Known,
    Level,
    Standing,
    is_synchronised,
    validate_commit,
    validate_sync,
)
from tallystick.contracts.atproto import Action, Label, decode_commit, encode
from tests.atproto_world import FIXTURES, LABELER, NOW_US, SAMPLES, content, frames, keys

CARS = ("repo_bsdmsjac7qp424cacihbdkwz.car", "repo_nqcnfmaijkpblruu3gbi5unr.car")
Records = dict[str, tuple[str, bytes]]


class Replay:
    """The captured stream, validated at the highest level, and folded from what would have gone into Kafka."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.known: dict[str, Known] = {}
        self.repositories: dict[str, Records] = {}
        standings = {did: Standing(key) for did, key in keys().items()}
        for raw in frames("repos.bin"):
            message = read_message(raw)
            self.counted[type(message).__name__] += 1
            if isinstance(message, CommitMessage):
                self._take(message, standings[message.repo])
            elif isinstance(message, SyncMessage):
                known = self.known[message.did]
                signed = validate_sync(
                    message, level=Level.INDUCTIVE, now_us=NOW_US, standing=standings[message.did], known=known
                )
                self.counted["signatures"] += 1
                self.counted["synchronised"] += is_synchronised(signed, known)

    def _take(self, message: CommitMessage, standing: Standing) -> None:
        commit = validate_commit(
            message, level=Level.INDUCTIVE, now_us=NOW_US, standing=standing, known=self.known.get(message.repo)
        )
        self.counted["signatures"] += 1
        self.counted["inversions"] += message.prev_data is not None
        self.known[message.repo] = Known(message.rev, commit.signed.data)
        records = self.repositories.setdefault(message.repo, {})
        for op in decode_commit(encode(commit_record(commit, host="pds.test", live=True))).ops:
            assert op.problem == ""
            if op.action is Action.DELETE:
                del records[op.path]
            else:
                assert isinstance(op.record, msgspec.Raw)
                records[op.path] = (op.cid, bytes(op.record))


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay()


def test_every_frame_is_of_a_known_kind(replay: Replay) -> None:
    kinds = {name: count for name, count in replay.counted.items() if name.endswith("Message")}
    assert kinds == {"CommitMessage": 209, "SyncMessage": 4, "IdentityMessage": 5, "AccountMessage": 9}


def test_all_213_signatures_hold(replay: Replay) -> None:
    assert replay.counted["signatures"] == 213


def test_all_206_commits_with_a_predecessor_lead_back_to_its_tree(replay: Replay) -> None:
    assert replay.counted["inversions"] == 206


def test_every_sync_says_what_the_commits_before_it_have_said(replay: Replay) -> None:
    assert replay.counted["synchronised"] == 4


@pytest.mark.parametrize("name", CARS)
def test_the_frames_add_up_to_the_repository_record_for_record(name: str, replay: Replay) -> None:
    car = read_car(content(name), max_bytes=1_000_000, max_blocks=1000)
    car.check_hashes()
    signed = read_signed(car.root, car)
    assert keys()[signed.did].problem_of(signed.sig, signed.unsigned) is None
    assert replay.known[signed.did] == Known(signed.rev, signed.data)
    expected = {}
    for path, cid in walk(signed.data, car.get, max_nodes=1000):
        block = car.get(cid)
        assert block is not None
        expected[path] = (cid_text(cid), record_json(block))
    assert len(expected) >= 47
    assert replay.repositories[signed.did] == expected


def test_links_and_bytes_of_a_record_are_those_that_were_written(replay: Replay) -> None:
    record = replay.repositories["did:plc:bsdmsjac7qp424cacihbdkwz"]["com.example.thing/k003"][1]
    assert b'"raw":{"$bytes":"AQIDAw"}' in record
    assert b'"ref":{"$link":"bafyreibtpmqq2lhoqfinnttgxxwxdpk6gdkzym6lbu7sco4hb77grx5mga"}' in record
    assert b'"big":9007199254740991' in record


def labels() -> list[Label]:
    found = []
    for raw in frames("labels.bin"):
        message = read_message(raw)
        assert isinstance(message, LabelsMessage)
        found += [read_label(fields, host="labeler.test", seq=message.seq) for fields in message.labels]
    return found


def test_the_signatures_of_all_50_labels_hold() -> None:
    assert [label_problem(label, keys()[LABELER]) for label in labels()] == [None] * 50


def test_of_labels_of_one_identity_the_newest_stays() -> None:
    newest: dict[tuple[str, str, str, str], Label] = {}
    for label in reversed(labels()):
        newest[label.identity] = newer(label, newest.get(label.identity, label))
    retracted = [label for label in newest.values() if label.neg is True]
    assert len(newest) == 50
    assert len(retracted) == 17
    assert [label.exp for label in newest.values() if isinstance(label.exp, str)] == ["2026-11-24T03:35:56.004Z"]


CONTROLS: list[tuple[str, list[type[Message]], Message | None]] = [
    ("err_future_cursor", [ErrorMessage], ErrorMessage(FUTURE_CURSOR, "Cursor in the future.")),
    ("labels_err_future_cursor", [ErrorMessage], ErrorMessage(FUTURE_CURSOR, "Cursor in the future.")),
    ("err_bad_cursor", [ErrorMessage], ErrorMessage("InternalServerError", "Internal Server Error")),
    (
        "err_consumer_too_slow",
        [CommitMessage, ErrorMessage],
        ErrorMessage(CONSUMER_TOO_SLOW, "Stream consumer too slow"),
    ),
    (
        "info_outdated_cursor",
        [InfoMessage, CommitMessage],
        InfoMessage(OUTDATED_CURSOR, "Requested cursor exceeded limit. Possibly missing events"),
    ),
]


@pytest.mark.parametrize(("name", "kinds", "said"), CONTROLS, ids=[name for name, _, _ in CONTROLS])
def test_a_control_frame_says_what_the_server_meant(
    name: str, kinds: list[type[Message]], said: Message | None
) -> None:
    messages = [read_message(raw) for raw in frames(f"{name}.bin")]
    assert [type(message) for message in messages[: len(kinds)]] == kinds
    assert said in messages


def test_a_negative_cursor_is_answered_with_a_replay_from_the_first_event() -> None:
    first = read_message(next(frames("err_neg_cursor.bin")))
    assert isinstance(first, IdentityMessage)
    assert first.seq == 1


def test_the_fixtures_are_the_samples() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("optional: the samples that the fixtures were made of are not here")
    for path in FIXTURES.glob("*.gz"):
        assert gzip.decompress(path.read_bytes()) == (SAMPLES / path.stem).read_bytes(), path.name
