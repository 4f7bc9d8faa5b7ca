"""AT Protocol: a label is read or refused alone, and of two the newest counts."""

from itertools import permutations

import pytest

from producers.atproto.protocol.labels import LabelError, LabelReason, label_problem, newer, read_label
from producers.atproto.protocol.messages import LabelsMessage, read_message
from producers.atproto.protocol.signatures import SignatureProblem
from tallystick.contracts.atproto import Label, decode_label, encode
from tests.atproto_world import LABELER, frame, frames, keys

SRC = "did:plc:labeler"
FIELDS: dict[str, object] = {
    "ver": 1,
    "src": SRC,
    "uri": "at://did:plc:x/app.bsky.feed.post/3l",
    "val": "spam",
    "cts": "2026-11-23T03:35:54.517Z",
    "sig": b"s" * 64,
}


def read(**fields: object) -> Label:
    return read_label({**FIELDS, **fields}, host="labeler.test", seq=9)


READ = [
    pytest.param({}, "", id="as it is"),
    pytest.param({"uri": "did:plc:x"}, "", id="about an account"),
    pytest.param({"cid": "bafyreifp4"}, "bafyreifp4", id="about one version"),
    pytest.param({"exp": "2027-01-01T00:00:00Z"}, "", id="with an end"),
    pytest.param({"neg": True}, "", id="a retraction"),
    pytest.param({"new": [None]}, "", id="with a field that a later version may add"),
    pytest.param({"val": "x" * 128}, "", id="a value of 128 bytes"),
]


@pytest.mark.parametrize(("fields", "cid"), READ)
def test_a_label_is_read(fields: dict[str, object], cid: str) -> None:
    label = read(**fields)
    assert (label.host, label.seq) == ("labeler.test", 9)
    assert label.identity == (SRC, fields.get("uri", FIELDS["uri"]), fields.get("val", "spam"), cid)


REFUSED = [
    pytest.param({"src": "nobody"}, LabelReason.FIELD, id="a source that is no DID"),
    pytest.param({"src": None}, LabelReason.FIELD, id="no source"),
    pytest.param({"neg": 1}, LabelReason.FIELD, id="neg is a number"),
    pytest.param({"sig": "text"}, LabelReason.FIELD, id="a signature that is text"),
    pytest.param({"ver": 2}, LabelReason.VERSION, id="version 2"),
    pytest.param({"val": ""}, LabelReason.VALUE, id="an empty value"),
    pytest.param({"val": "ä" * 65}, LabelReason.VALUE, id="a value of 130 bytes"),
    pytest.param({"val": "a\x1b[2J"}, LabelReason.VALUE, id="a control character in the value"),
    pytest.param({"uri": "https://a.test"}, LabelReason.URI, id="a URI of the web"),
    pytest.param({"uri": "at://x\0"}, LabelReason.URI, id="NUL in the URI"),
    pytest.param({"uri": "at://" + "x" * 10_000}, LabelReason.URI, id="a long URI"),
    pytest.param({"cts": "today"}, LabelReason.TIME, id="a cts that is no time"),
    pytest.param({"exp": "never"}, LabelReason.TIME, id="an exp that is no time"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_is_no_label_is_refused_alone(fields: dict[str, object], reason: LabelReason) -> None:
    with pytest.raises(LabelError) as raised:
        read(**fields)
    assert raised.value.reason is reason
    assert str(raised.value).isprintable()


def test_one_that_is_none_leaves_the_others_readable() -> None:
    message = read_message(frame("#labels", {"seq": 3, "labels": [{"src": 5}, FIELDS]}))
    assert isinstance(message, LabelsMessage)
    assert read_label(message.labels[1], host="h", seq=3).val == "spam"


def captured() -> Label:
    message = read_message(next(frames("labels.bin")))
    assert isinstance(message, LabelsMessage)
    return read_label(message.labels[0], host="labeler.test", seq=message.seq)


def test_a_signature_still_holds_after_kafka() -> None:
    assert label_problem(decode_label(encode(captured())), keys()[LABELER]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"val": "porn"},
        {"neg": True},
        {"neg": False},
        {"exp": "2027-01-01T00:00:00Z"},
        {"ver": None},
        {"uri": "did:plc:x"},
    ],
)
def test_a_signature_holds_for_all_fields_together(change: dict[str, object]) -> None:
    message = read_message(next(frames("labels.bin")))
    assert isinstance(message, LabelsMessage)
    fields = {name: value for name, value in {**message.labels[0], **change}.items() if value is not None}
    assert label_problem(read_label(fields, host="h", seq=1), keys()[LABELER]) is SignatureProblem.WRONG


def test_a_label_without_signature_is_told_from_one_with_a_wrong_one() -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "sig"}
    assert label_problem(read_label(fields, host="h", seq=1), keys()[LABELER]) is SignatureProblem.LENGTH


WINS = [
    pytest.param({"cts": "2026-11-23T03:35:54.518Z"}, {}, id="a later one"),
    pytest.param({"cts": "2026-11-23T03:35:54.5171Z"}, {}, id="a later one by less than a millisecond"),
    pytest.param({"cts": "2026-11-23T05:35:54.517+01:00"}, {}, id="a later one in another zone"),
    pytest.param({"neg": True}, {}, id="a retraction of the same time"),
    pytest.param({"cts": "2027-01-01T00:00:00Z"}, {"neg": True}, id="a label that came back"),
    pytest.param({"sig": b"t" * 64}, {}, id="of two alike the greater signature"),
]


@pytest.mark.parametrize(("winner", "loser"), WINS)
def test_of_two_the_newest_counts_in_whichever_order_they_come(
    winner: dict[str, object], loser: dict[str, object]
) -> None:
    for one, other in permutations((read(**winner), read(**loser))):
        assert newer(one, other) == read(**winner)
