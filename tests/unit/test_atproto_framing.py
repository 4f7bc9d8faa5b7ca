"""AT Protocol: one binary message becomes one typed message, or a refusal with a reason."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from producers.atproto.protocol import framing
from producers.atproto.protocol.framing import FrameError, FrameReason
from producers.atproto.protocol.messages import (
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    UnknownMessage,
    account_of,
    identity_of,
    read_message,
    time_of,
)
from tests.atproto_world import Repository, cbor, frame

DID = "did:plc:bsdmsjac7qp424cacihbdkwz"
IDENTITY = {"seq": 1, "did": DID, "time": "2026-11-23T04:07:58.069Z", "handle": "u0.test"}
ACCOUNT = {"seq": 1, "did": DID, "time": "2026-11-23T04:07:58.069Z", "active": False}
COMMIT = Repository().commit({"app.bsky.feed.post/3l": {"text": "hi"}})

HEADERS = [
    pytest.param(b"\xa2\x61t\x69#identity\x62op\x01", id="t before op, which is canonical"),
    pytest.param(b"\xa2\x62op\x01\x61t\x69#identity", id="op before t, which is not"),
    pytest.param(b"\xa3\x61t\x69#identity\x62op\x01\x63new\x80", id="a field that a later version may add"),
    pytest.param(b"\xa3\x63new\x80\x62op\x01\x61t\x69#identity", id="such a field before the others"),
    pytest.param(b"\xa2\x62op\x18\x01\x61t\x78\x09#identity", id="numbers longer than need be"),
]


@pytest.mark.parametrize("header", HEADERS)
def test_whatever_the_order_of_the_header_the_message_is_the_same(header: bytes) -> None:
    message = read_message(header + cbor(IDENTITY))
    assert message == IdentityMessage(1, DID, "2026-11-23T04:07:58.069Z", "u0.test")


def test_both_orders_of_every_kind_are_found_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("cbor2.loads")
    for kind in ("#commit", "#sync", "#identity", "#account", "#info", "#labels"):
        text = bytes((0x60 + len(kind),)) + kind.encode()
        for header in (b"\xa2\x61t" + text + b"\x62op\x01", b"\xa2\x62op\x01\x61t" + text):
            assert framing.split_frame(header + b"\xa0") == framing.Frame(1, kind, b"\xa0")
    assert framing.split_frame(b"\xa1\x62op\x20\xa0") == framing.Frame(-1, "", b"\xa0")


READ = [
    pytest.param(cbor({"op": -1}) + cbor({"error": "X"}), ErrorMessage("X"), id="an error, which has no t"),
    pytest.param(cbor({"op": -1}) + cbor({}), ErrorMessage(), id="an error without a name"),
    pytest.param(cbor({"op": -1, "t": "#error"}) + cbor({"error": "X"}), ErrorMessage("X"), id="an error that has a t"),
    pytest.param(frame("#info", {"name": "X"}), InfoMessage("X"), id="an info"),
    pytest.param(frame("#info", {"name": "X", "seq": 3}), InfoMessage("X"), id="a field too many"),
    pytest.param(frame("#future", {}), UnknownMessage(1, "#future"), id="an unknown t"),
    pytest.param(cbor({"op": 7, "t": "#commit"}) + b"\xff", UnknownMessage(7, "#commit"), id="an unknown op"),
    pytest.param(cbor({"op": 1}) + b"\xff", UnknownMessage(1, ""), id="no t"),
    pytest.param(frame("#tombstone", {"seq": 1}), UnknownMessage(1, "#tombstone"), id="a kind that was given up"),
    pytest.param(
        frame("#account", {**ACCOUNT, "status": "sleeping"}),
        AccountMessage(1, DID, False, "2026-11-23T04:07:58.069Z", "sleeping"),
        id="an unknown status",
    ),
    pytest.param(
        frame("#identity", {"seq": 1, "did": DID}), IdentityMessage(1, DID), id="an identity without handle and time"
    ),
]


@pytest.mark.parametrize(("raw", "message"), READ)
def test_a_frame_is_read(raw: bytes, message: object) -> None:
    assert read_message(raw) == message


@pytest.mark.parametrize("blobs", [None, [], "anything"])
def test_deprecated_fields_may_hold_anything(blobs: object) -> None:
    message = read_message(frame("#commit", {**COMMIT, "blobs": blobs, "rebase": None, "tooBig": None}))
    assert isinstance(message, CommitMessage)
    assert message.seq == 1


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in COMMIT.items() if key != name}


def with_op(**fields: object) -> dict[str, object]:
    return {**COMMIT, "ops": [{"action": "delete", "path": "a.b.c/d", "cid": None, **fields}]}


REFUSED = [
    pytest.param(b"", FrameReason.HEADER, "too early", id="nothing"),
    pytest.param(b"\xa2\x61t", FrameReason.HEADER, "", id="half a header"),
    pytest.param(b"\x80\xa0", FrameReason.HEADER, "a map is expected", id="a list as header"),
    pytest.param(b"\xbf\x62op\x01\xff\xa0", FrameReason.HEADER, "indefinite", id="a header of indefinite length"),
    pytest.param(b"\x81" * 5000, FrameReason.HEADER, "too_deep", id="a deep header"),
    pytest.param(b"\xa1\x61t\x79\x40\x00" + b"x" * 20000, FrameReason.HEADER, "within a string", id="a long header"),
    pytest.param(cbor({"t": "#commit"}) + b"\xa0", FrameReason.HEADER, "op is no number", id="no op"),
    pytest.param(cbor({"op": True}) + b"\xa0", FrameReason.HEADER, "op is no number", id="op is true"),
    pytest.param(cbor({"op": 1, "t": 5}) + b"\xa0", FrameReason.HEADER, "t is no text", id="t is a number"),
    pytest.param(b"\xa1\x62op\xc0\x00\xa0", FrameReason.HEADER, "", id="a tag in the header"),
    pytest.param(cbor({"op": -1}), FrameReason.BODY, "", id="no body"),
    pytest.param(frame("#info", {"name": "X"})[:-1], FrameReason.BODY, "", id="half a body"),
    pytest.param(frame("#info", {"name": "X"}) + b"\0", FrameReason.BODY, "", id="a third item"),
    pytest.param(cbor({"op": 1, "t": "#info"}) + b"\x01", FrameReason.BODY, "a map", id="a number as body"),
    pytest.param(cbor({"op": 1, "t": "#info"}) + b"\xa1\x01\x02", FrameReason.BODY, "", id="a key that is no text"),
    pytest.param(b"\xa2\x61t\x65#info\x62op\x01\xa2\x61b\x01\x61a\x01", FrameReason.BODY, "sorted", id="keys unsorted"),
    pytest.param(frame("#info", {})[:-1] + b"\x81" * 60_000, FrameReason.BODY, "deep", id="a deep body"),
    pytest.param(frame("#info", {})[:-1] + b"\x81" * 1_000_000, FrameReason.BODY, "deep", id="a large deep body"),
    pytest.param(b"\0" * (framing.MAX_FRAME_BYTES + 1), FrameReason.TOO_LARGE, "5242881", id="more than 5 MB"),
    pytest.param(frame("#info", {}), FrameReason.FIELD, "name", id="a field is missing"),
    pytest.param(frame("#identity", {**IDENTITY, "seq": 0}), FrameReason.FIELD, "seq", id="seq 0"),
    pytest.param(frame("#identity", {**IDENTITY, "seq": 2**53}), FrameReason.FIELD, "seq", id="seq past 2^53-1"),
    pytest.param(frame("#identity", {**IDENTITY, "seq": "1"}), FrameReason.FIELD, "seq", id="seq is a text"),
    pytest.param(frame("#identity", {**IDENTITY, "did": "x"}), FrameReason.FIELD, "did", id="no DID"),
    pytest.param(
        frame("#identity", {**IDENTITY, "did": DID + "\n"}), FrameReason.FIELD, "did", id="a DID and a line end"
    ),
    pytest.param(frame("#identity", {**IDENTITY, "did": f"{DID}\x1b[2J"}), FrameReason.FIELD, "did", id="ESC in a DID"),
    pytest.param(frame("#commit", without("blocks")), FrameReason.FIELD, "blocks", id="no blocks"),
    pytest.param(frame("#commit", {**COMMIT, "blocks": None}), FrameReason.FIELD, "blocks", id="blocks are null"),
    pytest.param(frame("#commit", {**COMMIT, "blocks": "AAAA"}), FrameReason.FIELD, "blocks", id="blocks are text"),
    pytest.param(frame("#commit", with_op(action="rename")), FrameReason.FIELD, "action", id="an unknown action"),
    pytest.param(frame("#commit", with_op(path="../../etc/passwd")), FrameReason.FIELD, "path", id="a path of files"),
    pytest.param(frame("#commit", with_op(path="a.b.c/d\x00")), FrameReason.FIELD, "path", id="NUL in a path"),
    pytest.param(frame("#commit", with_op(path="a.b.c")), FrameReason.FIELD, "path", id="a path without a key"),
]


@pytest.mark.parametrize(("raw", "reason", "word"), REFUSED)
def test_what_is_no_frame_is_refused_with_a_reason(raw: bytes, reason: FrameReason, word: str) -> None:
    with pytest.raises(FrameError) as raised:
        read_message(raw)
    assert raised.value.reason is reason
    assert word in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300
    assert raised.value.breaks_stream is (reason is not FrameReason.FIELD)


FIVE_MB = framing.MAX_FRAME_BYTES - 100
BOMBS = [
    pytest.param(b"\xa1\x61x\x9a" + FIVE_MB.to_bytes(4) + b"\x80" * FIVE_MB, id="five million empty lists"),
    pytest.param(b"\xa1\x61x\x9a" + FIVE_MB.to_bytes(4) + b"\xa0" * FIVE_MB, id="five million empty maps"),
    pytest.param(b"\xa1\x61x\x9a\xff\xff\xff\xff" + b"\x00" * FIVE_MB, id="a list that says it is longer"),
    pytest.param(b"\xa1\x61x" + b"\x82\x00" * (FIVE_MB // 2), id="lists within lists"),
    pytest.param(b"\xa1\x61x" + b"\xd8\x2a" * (FIVE_MB // 2), id="tags within tags"),
    pytest.param(b"\xa1\x61x\x7b\x7f" + b"\xff" * FIVE_MB, id="a text that says it is longer"),
]


@pytest.mark.parametrize("body", BOMBS)
def test_a_frame_that_would_become_large_is_refused_soon(body: bytes) -> None:
    raw = cbor({"op": 1, "t": "#info"}) + body
    started = time.process_time()
    with pytest.raises(FrameError):
        read_message(raw)
    assert time.process_time() - started < 5


def peak_mib(work: Callable[[], object]) -> float:
    """Return how much memory was held at once while `work` was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_a_frame_that_would_become_large_takes_no_more_memory_than_its_bytes() -> None:
    raw = cbor({"op": 1, "t": "#info"}) + b"\xa1\x61x\x9a" + FIVE_MB.to_bytes(4) + b"\x80" * FIVE_MB

    def refused() -> None:
        with pytest.raises(FrameError, match="too_many_cbor_items"):
            read_message(raw)

    assert peak_mib(refused) < 12


def test_a_frame_of_five_mb_that_is_honest_is_read() -> None:
    raw = frame("#commit", {**COMMIT, "blocks": b"\0" * (FIVE_MB - 1000)})
    assert isinstance(read_message(raw), CommitMessage)
    assert peak_mib(lambda: read_message(raw)) < 12


HANDLES = [
    pytest.param(None, "", id="none"),
    pytest.param("U0.Test", "u0.test", id="capitals"),
    pytest.param("handle.invalid", "handle.invalid", id="the word for one that doesn't resolve"),
    pytest.param("a\x1b[2J.test", "handle.invalid", id="a control character"),
    pytest.param("a.test\n", "handle.invalid", id="a line end"),
    pytest.param("a\u202eb.test", "handle.invalid", id="a mark that turns the direction"),
    pytest.param("nodot", "handle.invalid", id="no domain"),
    pytest.param("a." * 130 + "test", "handle.invalid", id="too long"),
]


@pytest.mark.parametrize(("handle", "expected"), HANDLES)
def test_a_handle_is_a_domain_name_or_invalid(handle: str | None, expected: str) -> None:
    message = read_message(frame("#identity", {**IDENTITY, "handle": handle}))
    assert isinstance(message, IdentityMessage)
    assert identity_of(message, "pds.test").handle == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ""),
        ("takendown", "takendown"),
        ("desynchronized", "desynchronized"),
        ("x\0", "other"),
        ("x" * 99, "other"),
    ],
)
def test_a_status_is_passed_on_as_long_as_it_is_a_word(status: str | None, expected: str) -> None:
    account = account_of(AccountMessage(seq=4, did=DID, active=False, status=status), "pds.test")
    assert (account.status, account.active, account.seq, account.host) == (expected, False, 4, "pds.test")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-11-23T04:07:58.069Z", "2026-11-23T04:07:58.069000Z"), ("", ""), ("soon", ""), ("9" * 5000, "")],
)
def test_a_time_is_canonical_or_left_out(text: str, expected: str) -> None:
    assert time_of(text) == expected
