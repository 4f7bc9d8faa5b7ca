"""Cowrie's contract: which lines are events, whose they are, and what identifies them."""

import json
import math

import pytest

from tallystick.contracts import cowrie
from tallystick.contracts.cowrie import Envelope, UnreadableLine
from tallystick.contracts.text import printable

AT = "2026-11-23T03:43:43.270739Z"
USUAL = b'{"session":"71865c8a47d4","eventid":"cowrie.session.connect","sensor":"vm","timestamp":"%s"' % AT.encode()
ENVELOPE = Envelope("cowrie.session.connect", AT, "71865c8a47d4", "vm")

READABLE = [
    pytest.param(USUAL + b"}", id="nothing but what is needed"),
    pytest.param(USUAL + b',"src_port":"x","message":["a"],"input":7}', id="other fields may be of any type"),
    pytest.param(USUAL + b',"username":"\xff\xfe"}', id="invalid UTF-8 in another field"),
    pytest.param(USUAL + b',"username":"\\ud800"}', id="a lone surrogate in another field"),
    pytest.param(USUAL + b',"username":"\\u0000"}', id="NUL in another field"),
    pytest.param(USUAL + b',"ttylog":NaN}', id="NaN in another field"),
    pytest.param(USUAL + b',"size":1' + b"0" * 5_000 + b"}", id="a number of 5,000 digits in another field"),
    pytest.param(USUAL + b',"eventid":"cowrie.session.connect"}', id="a field given twice counts as given last"),
    pytest.param(b" " + USUAL + b"}\t", id="blanks around"),
]


@pytest.mark.parametrize("line", READABLE)
def test_a_line_is_an_event_whatever_its_other_fields_hold(line: bytes) -> None:
    assert cowrie.read_envelope(line, "elsewhere") == ENVELOPE


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        pytest.param(b"}", "", id="nothing"),
        pytest.param(b',"input":"ls"}', "ls", id="text"),
        pytest.param(b',"input":"a\xff"}', "a\udcff", id="invalid UTF-8"),
        pytest.param(b',"input":["ls"]}', "", id="no text"),
    ],
)
def test_what_was_typed(line: bytes, typed: str) -> None:
    assert cowrie.read_envelope(USUAL + line).input == typed


DEFAULTS = [
    pytest.param({"sensor": None}, ("71865c8a47d4", "configured"), id="null for a sensor is no sensor"),
    pytest.param({"sensor": ""}, ("71865c8a47d4", "configured"), id="an empty sensor is no sensor"),
    pytest.param({"session": None}, ("", "vm"), id="an event without session belongs to its sensor"),
    pytest.param({"session": "s" * 64}, ("s" * 64, "vm"), id="a session of 64 characters"),
    pytest.param({"sensor": "cámara-☃"}, ("71865c8a47d4", "cámara-☃"), id="a sensor of any script"),
]


@pytest.mark.parametrize(("fields", "expected"), DEFAULTS)
def test_where_an_event_belongs(fields: dict[str, object], expected: tuple[str, str]) -> None:
    line = json.dumps(json.loads(USUAL + b"}") | fields).encode()
    envelope = cowrie.read_envelope(line, "configured")
    assert (envelope.session, envelope.sensor) == expected


TIMES = [
    pytest.param({"timestamp": 1_700_000_000.5}, "2023-11-14T22:13:20.500000Z", id="epoch under timestamp"),
    pytest.param({"timestamp": None, "time": 1_700_000_000}, "2023-11-14T22:13:20.000000Z", id="epoch under time"),
    pytest.param({"timestamp": "2026-11-23T03:43:43+0200", "time": 1}, "2026-11-23T01:43:43.000000Z", id="both"),
]


@pytest.mark.parametrize(("fields", "expected"), TIMES)
def test_when_an_event_happened(fields: dict[str, object], expected: str) -> None:
    line = json.dumps(json.loads(USUAL + b"}") | fields).encode()
    assert cowrie.read_envelope(line).timestamp == expected


UNREADABLE = [
    pytest.param(b"", "not JSON", id="an empty line"),
    pytest.param(b'{"eventid":"cowrie', "not JSON", id="half a line"),
    pytest.param(b"\x1f\x8b\x08\x00\xff", "not JSON", id="binary junk"),
    pytest.param(b"\xef\xbb\xbf" + USUAL + b"}", "not JSON", id="a byte-order mark"),
    pytest.param(USUAL + b"}{}", "not JSON", id="something behind the object"),
    pytest.param(b"[1]", "not a JSON object", id="a list"),
    pytest.param(b"null", "not a JSON object", id="null"),
    pytest.param(b"[" * 100_000, "nested too deep", id="nesting without end"),
    pytest.param(b'{"timestamp":"%s"}' % AT.encode(), "eventid is missing", id="no eventid"),
    pytest.param(USUAL + b',"eventid":5}', "eventid is not text", id="a number for an eventid"),
    pytest.param(USUAL + b',"eventid":""}', "eventid is not usable", id="an empty eventid"),
    pytest.param(USUAL + b',"eventid":"a\\u0000b"}', "eventid is not usable", id="NUL in the eventid"),
    pytest.param(USUAL + b',"eventid":"' + b"e" * 256 + b'"}', "eventid is not usable", id="an endless eventid"),
    pytest.param(b'{"eventid":"cowrie.x"}', "timestamp is missing", id="no time"),
    pytest.param(USUAL + b',"timestamp":"soon"}', "timestamp is not usable", id="a time that is none"),
    pytest.param(USUAL + b',"timestamp":true}', "timestamp is not usable", id="a boolean for a time"),
    pytest.param(USUAL + b',"session":["s"]}', "session is not text", id="a list for a session"),
    pytest.param(USUAL + b',"session":"' + b"s" * 65 + b'"}', "session is not usable", id="an endless session"),
    pytest.param(USUAL + b',"session":"\\ud800"}', "session is not usable", id="a lone surrogate in the session"),
    pytest.param(USUAL + b',"sensor":7}', "sensor is not text", id="a number for a sensor"),
    pytest.param(USUAL + b',"sensor":"\xff"}', "sensor is not usable", id="invalid UTF-8 in the sensor"),
]


@pytest.mark.parametrize(("line", "reason"), UNREADABLE)
def test_a_line_that_is_no_event_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(UnreadableLine) as caught:
        cowrie.read_envelope(line)
    assert caught.value.reason == reason


ODD_TIMES = [
    pytest.param(USUAL.replace(AT.encode(), stamp) + b"}", id=f"the time {stamp.decode()}")
    for stamp in (b"2026-11-23T03:43:43Z", b"2026-02-30T00:00:00.000000Z", rb"%b\n%b" % (AT.encode(), AT.encode()))
]
LONGEST = [
    pytest.param(
        json.dumps(json.loads(USUAL + b"}") | {name: "x" * length}).encode(), id=f"{length} characters of {name}"
    )
    for name, length in (("eventid", 255), ("sensor", 255), ("sensor", 256), ("session", 64))
]


@pytest.mark.parametrize(
    "line", [*READABLE, *ODD_TIMES, *LONGEST, *(pytest.param(p.values[0], id=p.id) for p in UNREADABLE)]
)
def test_many_lines_read_at_once_are_read_as_each_of_them_alone(line: bytes) -> None:
    others = [USUAL + b"}", USUAL.replace(b'"sensor":"vm",', b"") + b"}"]
    lines = [*others, line]
    if (places := cowrie.read_places(lines, "configured")) is not None:
        alone = [cowrie.read_envelope(each, "configured") for each in lines]
        assert places == [(envelope.sensor, envelope.session) for envelope in alone]
    if (envelopes := cowrie.read_envelopes(lines, "configured")) is not None:
        assert envelopes == [cowrie.read_envelope(each, "configured") for each in lines]


def test_many_usual_lines_are_read_at_once() -> None:
    lines = [USUAL.replace(b"71865c8a47d4", b"%012x" % number) + b"}" for number in range(3)]
    assert cowrie.read_places(lines) == [("vm", f"{number:012x}") for number in range(3)]
    assert cowrie.read_places([USUAL.replace(b'"vm"', b'""') + b"}"], "configured") == [("configured", "71865c8a47d4")]
    assert cowrie.read_places([]) == []
    assert cowrie.read_envelopes(lines) == [cowrie.read_envelope(line) for line in lines]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize("field", [b"%b", b"[1,%b]", b'{"y":[{"z":%b}]}'])
def test_lines_with_what_is_no_number_are_not_read_at_once(field: bytes, number: bytes) -> None:
    line = USUAL + b',"x":' + field % number + b"}"
    assert cowrie.read_envelopes([line]) is None
    assert cowrie.read_envelope(line) == ENVELOPE


def test_all_fields_are_read_however_odd_they_are() -> None:
    fields = cowrie.parse_tolerantly(b'{"a":"\xff","b":NaN,"c":"\\ud800"}')
    assert fields["a"] == "\udcff"
    assert math.isnan(fields["b"])
    assert fields["c"] == "\ud800"


KEYS = [
    pytest.param("vm", "71865c8a47d4", id="as usual"),
    pytest.param("vm", "", id="an event of the sensor itself"),
    pytest.param('a","b', "☃", id="names that look like JSON"),
]


@pytest.mark.parametrize(("sensor", "session"), KEYS)
def test_a_key_names_sensor_and_session(sensor: str, session: str) -> None:
    assert cowrie.read_session_key(cowrie.session_key(sensor, session)) == (sensor, session)


def test_no_two_sessions_share_a_key() -> None:
    assert cowrie.session_key("a", "bc") != cowrie.session_key("ab", "c")


def test_the_identity_of_an_event_is_its_bytes() -> None:
    digests = {cowrie.event_digest(b"%d" % number) for number in range(1_000)}
    assert len(digests) == 1_000
    assert all(-(2**63) <= digest < 2**63 for digest in digests)
    assert cowrie.event_digest(b"") == 3_244_421_341_483_603_138


def test_the_identities_of_many_events_are_those_of_each() -> None:
    lines = [b"%d" % number for number in range(100)]
    assert list(cowrie.event_digests(lines)) == [cowrie.event_digest(line) for line in lines]
    assert list(cowrie.event_digests([])) == []


ESCAPED = [
    pytest.param(
        "wget http://x/ ☃\n\t\x01", "wget http://x/ ☃\n\t\x01", id="all other text stays, control characters too"
    ),
    pytest.param("a\x00b", "a\\u0000b", id="NUL"),
    pytest.param("☃\x00", "☃\\u0000", id="NUL in text beyond ASCII"),
    pytest.param("\ud800!", "\\ud800!", id="a lone surrogate"),
    pytest.param(b"\xff".decode("utf-8", "surrogateescape"), "\\udcff", id="an invalid byte"),
    pytest.param("\U0001f40d", "\U0001f40d", id="a character beyond the basic plane is no surrogate"),
]


@pytest.mark.parametrize(("text", "expected"), ESCAPED)
def test_text_that_no_database_takes_becomes_a_visible_escape(text: str, expected: str) -> None:
    assert printable(text) == expected
