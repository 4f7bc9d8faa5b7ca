"""AT Protocol: records become JSON that says exactly what they say; revisions are times."""

import json
from itertools import pairwise

import pytest

from producers.atproto.protocol.cids import cid_of, cid_text
from producers.atproto.protocol.records import MAX_RECORD_BYTES, RecordError, RecordReason, record_json
from tallystick.contracts.tids import is_tid, tid_at, tid_microseconds
from tests.atproto_world import cbor

CID = cid_of(b"x")
LINK = b"\xd8\x2a\x58\x25\x00" + CID

SHOWN = [
    pytest.param(cbor({}), "{}", id="nothing"),
    pytest.param(b"\xa1\x61l" + LINK, '{"l":{"$link":"' + cid_text(CID) + '"}}', id="a link"),
    pytest.param(b"\xa1\x61b\x58\x24" + CID, '{"b":{"$bytes":"AXESI', id="bytes that look like a link"),
    pytest.param(cbor({"b": b""}), '{"b":{"$bytes":""}}', id="no bytes"),
    pytest.param(cbor({"b": b"\x01"}), '{"b":{"$bytes":"AQ"}}', id="bytes without padding"),
    pytest.param(cbor({"b": b"\xfb\xff\xfe"}), '{"b":{"$bytes":"+//+"}}', id="bytes in the usual alphabet"),
    pytest.param(cbor({"n": 2**53 - 1}), '{"n":9007199254740991}', id="the largest safe number"),
    pytest.param(cbor({"n": 2**64 - 1}), '{"n":18446744073709551615}', id="the largest number"),
    pytest.param(cbor({"n": -(2**63)}), '{"n":-9223372036854775808}', id="a small number"),
    pytest.param(cbor({"f": 1.0}), '{"f":1.0}', id="a float"),
    pytest.param(cbor({"v": [True, False, None]}), '{"v":[true,false,null]}', id="the simple values"),
    pytest.param(cbor({"t": "\0\u2028\U0001f98b"}), '{"t":"\\u0000\u2028\U0001f98b"}', id="all of Unicode"),
    pytest.param(b"\xa2\x61b\x01\x62aa\x02", '{"b":1,"aa":2}', id="keys in their order"),
]


@pytest.mark.parametrize(("block", "text"), SHOWN)
def test_a_record_is_shown_as_it_is(block: bytes, text: str) -> None:
    found = record_json(block)
    assert found.decode().startswith(text)
    json.loads(found)


REFUSED = [
    pytest.param(b"", RecordReason.UNREADABLE, id="nothing"),
    pytest.param(cbor([]), RecordReason.NO_MAP, id="a list"),
    pytest.param(cbor({}) + b"\0", RecordReason.UNREADABLE, id="two items"),
    pytest.param(b"\xa1\x61t\xc0\x61x", RecordReason.UNREADABLE, id="a tag for times"),
    pytest.param(b"\xa1\x61t\xc2\x41\x01", RecordReason.UNREADABLE, id="a tag for large numbers"),
    pytest.param(b"\xa1\x61t\xd8\x1c\x80", RecordReason.UNREADABLE, id="a tag for shared values"),
    pytest.param(b"\xa1\x61t\xd8\x2a\x41\x00", RecordReason.UNREADABLE, id="a link to nothing"),
    pytest.param(b"\xa1\x61f\xfb\x7f\xf8\0\0\0\0\0\0", RecordReason.UNREADABLE, id="no number"),
    pytest.param(b"\xa1\x61u\xf7", RecordReason.UNREADABLE, id="undefined"),
    pytest.param(b"\xa1\x61t\x61\xff", RecordReason.UNREADABLE, id="text that is not UTF-8"),
    pytest.param(b"\xa1\x61t\x63\xed\xa0\x80", RecordReason.UNREADABLE, id="a lone surrogate"),
    pytest.param(b"\xa1\x01\x02", RecordReason.UNREADABLE, id="a key that is no text"),
    pytest.param(b"\xa2\x61a\x01\x61a\x02", RecordReason.UNREADABLE, id="a key twice"),
    pytest.param(b"\xa1\x61n\x3b" + b"\xff" * 8, RecordReason.VALUE, id="a number below 64 bits"),
    pytest.param(b"\xa1\x61d" + b"\x81" * 300 + b"\0", RecordReason.VALUE, id="deeper than JSON goes here"),
    pytest.param(b"\xa1\x61d" + b"\x81" * 500 + b"\0", RecordReason.UNREADABLE, id="deep"),
    pytest.param(b"\xa1\x61d" + b"\x81" * 900_000 + b"\0", RecordReason.UNREADABLE, id="very deep"),
    pytest.param(cbor({"t": "x" * MAX_RECORD_BYTES}), RecordReason.TOO_LARGE, id="more than 1 MB"),
]


@pytest.mark.parametrize(("block", "reason"), REFUSED)
def test_what_is_no_record_is_refused_with_a_reason(block: bytes, reason: RecordReason) -> None:
    with pytest.raises(RecordError) as raised:
        record_json(block)
    assert raised.value.reason is reason
    assert len(str(raised.value)) < 300


def test_a_record_of_nearly_a_mb_is_shown() -> None:
    assert len(record_json(cbor({"v": [None] * 1_000_000}))) == 5_000_007


def test_a_tid_tells_the_time_and_sorts_by_it() -> None:
    # The host's time of the captured commit with this revision is 2026-11-23T04:07:58.072Z.
    assert tid_microseconds("3n2xaymykac2b") == 1_795_406_878_069_000 - 168_000
    times = [0, 1, 1 << 20, 1_795_406_877_901_000, (1 << 53) - 1]
    assert [tid_microseconds(tid_at(moment, 1023)) for moment in times] == times
    assert all(one < other for one, other in pairwise(tid_at(moment) for moment in times))


@pytest.mark.parametrize(
    "text", ["", "3n2xaymykac2", "3n2xaymykac2bb", "zn2xaymykac2b", "3n2xaymykac1b", "3n2xaymykac2b\n"]
)
def test_what_is_no_tid_is_told(text: str) -> None:
    assert not is_tid(text)
    with pytest.raises(ValueError, match="no TID"):
        tid_microseconds(text)
