"""The entries of rsky-ingester's streams: names, fields and nulls as its consumers read them."""

import json
from typing import Any

import msgspec
import pytest
from redis import exceptions

from sinks.redis.bridge import is_transient
from sinks.redis.entries import BACKFILL, FIREHOSE, LABELS, Event, LeftOut, decode, entries_of
from sinks.redis.repeats import Repeats
from tallystick.contracts import atproto
from tallystick.contracts.atproto import Account, Action, Commit, Fetch, Fetched, Identity, Label, Op, Sync
from tallystick.contracts.tids import tid_at
from tallystick.errors import ContractError

DID, HOST, TIME = "did:plc:a", "bsky.network", "2026-11-26T00:00:00.000000Z"
REV = tid_at(1_764_115_200_000_000)
RECORD = msgspec.Raw(b'{"text":"hi","embed":{"$link":"bafyx"}}')
OPS = (
    Op(Action.CREATE, "app.bsky.feed.post", "3l", "bafyr", record=RECORD),
    Op(Action.UPDATE, "app.bsky.actor.profile", "self", "bafyp", "bafyo", record=RECORD),
    Op(Action.DELETE, "app.bsky.feed.like", "3m", prev="bafyl"),
    Op(Action.CREATE, "app.bsky.feed.post", "3n", "bafyq", problem="too deep"),
)
COMMIT = Commit(DID, REV, HOST, "bafyc", "bafyd", OPS, seq=7, time=TIME)
COMMON = {"seq": 7, "time": TIME, "did": DID, "commit": "bafyc", "rev": REV}


def told(event: Event) -> list[tuple[str, str, Any] | str]:
    found = entries_of(event, repository_host="https://relay.example")
    return [
        entry.reason if isinstance(entry, LeftOut) else (entry.stream, entry.field, json.loads(entry.value))
        for entry in found
    ]


def test_a_commit_is_an_entry_an_operation_and_a_record_that_is_none_costs_only_itself() -> None:
    record = {"text": "hi", "embed": {"$link": "bafyx"}}
    post = {"collection": "app.bsky.feed.post", "rkey": "3l", "cid": "bafyr", "record": record}
    profile = {"collection": "app.bsky.actor.profile", "rkey": "self", "cid": "bafyp", "record": record}
    assert told(COMMIT) == [
        (FIREHOSE, "event", {"type": "create", **COMMON, **post}),
        (FIREHOSE, "event", {"type": "update", **COMMON, **profile}),
        (FIREHOSE, "event", {"type": "delete", **COMMON, "collection": "app.bsky.feed.like", "rkey": "3m"}),
        "no_record",
    ]


def test_what_came_from_no_stream_has_the_number_of_a_backfill_and_the_time_of_its_rev() -> None:
    (entry,) = told(msgspec.structs.replace(COMMIT, seq=0, time="", ops=OPS[2:3]))
    assert isinstance(entry, tuple)
    assert (entry[2]["seq"], entry[2]["time"]) == (-1, "2025-11-26T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(
            Account(DID, HOST, False, 8, TIME, "takendown"),
            {"type": "account", "seq": 8, "time": TIME, "did": DID, "active": False, "status": "takendown"},
            id="an account that is not active",
        ),
        pytest.param(
            Account(DID, HOST, True, 8, TIME),
            {"type": "account", "seq": 8, "time": TIME, "did": DID, "active": True, "status": None},
            id="an active account",
        ),
        pytest.param(
            Identity(DID, HOST, 9, TIME, "a.example"),
            {"type": "identity", "seq": 9, "time": TIME, "did": DID, "handle": "a.example"},
            id="an identity",
        ),
    ],
)
def test_what_is_said_of_an_account(event: Event, expected: dict[str, Any]) -> None:
    assert told(event) == [(FIREHOSE, "event", expected)]


def test_an_identity_without_a_handle_has_no_form_there() -> None:
    assert told(Identity(DID, HOST, 9, TIME)) == ["no_handle"]


@pytest.mark.parametrize(
    "event",
    [Sync(DID, REV, HOST, "bafyc", "bafyd"), Fetched(DID, HOST, 1, TIME, REV, "bafyc", "bafyd")],
    ids=["sync", "fetched"],
)
def test_what_those_streams_do_not_know_is_no_entry(event: Event) -> None:
    assert told(event) == []


def test_a_label_has_its_nulls_and_what_is_signed_beside_them() -> None:
    bare = Label(src=DID, uri="at://did:plc:b/c/d", val="spam", cts=TIME, seq=3)
    fields = {"src": DID, "uri": bare.uri, "cid": None, "val": "spam", "neg": None, "cts": TIME}
    assert told(bare) == [(LABELS, "labels", {"seq": 3, "labels": [fields]})]
    full = msgspec.structs.replace(bare, cid="bafyr", neg=True, exp=TIME, ver=1, sig=b"\x01\x02")
    more = {"cid": "bafyr", "neg": True, "exp": TIME, "ver": 1, "sig": {"$bytes": "AQI"}}
    assert told(full) == [(LABELS, "labels", {"seq": 3, "labels": [fields | more]})]


def test_a_fetch_names_a_host_in_any_case() -> None:
    fields = {"did": DID, "rev": REV, "status": None, "active": True}
    expected = (BACKFILL, "repo", {**fields, "host": "https://relay.example"})
    assert told(Fetch(DID, "listed", TIME, rev=REV)) == [expected]
    assert told(Fetch(DID, "listed", TIME, "https://pds.example", REV)) == [
        (BACKFILL, "repo", {**fields, "host": "https://pds.example"})
    ]


@pytest.mark.parametrize(
    "topic", [atproto.COMMITS, atproto.IDENTITIES, atproto.LABELS, atproto.FETCHES], ids=lambda topic: topic.name
)
def test_what_is_no_record_of_its_topic_is_told_so(topic: Any) -> None:
    for value in (b"", b"\xff", b"{}"):
        with pytest.raises(ContractError):
            decode(topic, value)


def test_repeats_are_known_as_long_as_there_is_room() -> None:
    repeats = Repeats(most=2)
    repeats.add([("a", "1"), ("b", "1")])
    assert ("a", "1") in repeats
    repeats.add([("c", "1")])
    assert ("a", "1") not in repeats
    assert ("c", "1") in repeats


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (exceptions.ConnectionError(), True),
        (exceptions.BusyLoadingError(), True),
        (exceptions.TimeoutError(), True),
        (exceptions.ReadOnlyError(), True),
        (exceptions.OutOfMemoryError(), True),
        (exceptions.AuthenticationError(), False),
        (exceptions.NoPermissionError(), False),
        (exceptions.ResponseError("WRONGTYPE"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_waiting_can_mend(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
