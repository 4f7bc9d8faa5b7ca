"""Dead letters on a terminal: every byte is seen, and none of them is a control code."""

import base64
from typing import Any

import msgspec
import pytest

from sinks.letters import Letter
from tallystick.cli.letters import as_dict, as_export, description, escaped, hex_dump, letters_table, summary
from tallystick.cli.terminal import console

HOSTILE = b'{"input": "\x1b]0;owned\x07\xe2\x80\xae' + b"\xff\x00\r\n[red]"
LETTER = Letter(
    id=7,
    source="00aa",
    name="/logs/\x1b[2Jcowrie.json",
    position=1_234,
    origin="read",
    reason="not JSON",
    detail="Expecting value",
    at="2026-11-23T03:00:00.000000Z",
    size=len(HOSTILE),
    pieces=1,
    begins=HOSTILE[:80],
    topic="",
    partition=-1,
    offset=-1,
    key="",
    sensor="pot",
    digest=-5,
    resolved=False,
    resolved_at="",
    resolved_by="",
    note="",
)


def with_(**changes: Any) -> Letter:
    return msgspec.structs.replace(LETTER, **changes)


def test_content_is_shown_as_one_printable_line() -> None:
    assert escaped(HOSTILE) == r'{"input": "\x1b]0;owned\x07\u202e\xff\x00\r\n[red]'


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(
            b"ab\x1b",
            ["00000000  61 62 1b                                          |ab.|"],
            id="a short row is as wide as a full one",
        ),
        pytest.param(
            bytes(range(0x3A, 0x4B)),
            [
                "00000000  3a 3b 3c 3d 3e 3f 40 41  42 43 44 45 46 47 48 49  |:;<=>?@ABCDEFGHI|",
                "00000010  4a                                                |J|",
            ],
            id="16 bytes a row",
        ),
    ],
)
def test_hex_shows_offset_bytes_and_text(content: bytes, lines: list[str]) -> None:
    assert list(hex_dump(content)) == lines


def test_what_is_known_of_a_letter() -> None:
    assert dict(description(LETTER)) == {
        "letter": "7",
        "source": "/logs/\x1b[2Jcowrie.json (00aa)",
        "position": "1,234",
        "origin": "read",
        "reason": "not JSON: Expecting value",
        "written": "2026-11-23T03:00:00.000000Z",
        "length": f"{len(HOSTILE)} bytes",
        "sensor": "pot, where the event names none",
    }
    more = dict(description(with_(topic="cowrie.events", partition=2, offset=9, key='["pot","s"]', pieces=3)))
    assert more["record"] == "cowrie.events, partition 2, offset 9"
    assert more["record's key"] == '["pot","s"]'
    assert more["length"].endswith("in 3 pieces")
    done = dict(description(with_(resolved=True, resolved_at="then", resolved_by="retry-1", note="why")))
    assert (done["resolved"], done["note"]) == ("then by retry-1", "why")


def test_an_export_holds_every_byte() -> None:
    exported = as_export(LETTER, HOSTILE)
    assert base64.b64decode(str(exported["payload"])) == HOSTILE
    assert "begins" not in exported
    assert exported["digest"] == -5


def test_a_list_for_programs_shows_how_a_letter_begins() -> None:
    assert as_dict(LETTER)["begins"] == escaped(HOSTILE)


def test_nothing_of_a_hostile_letter_reaches_the_terminal_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[31m\x9b2J\u202e[red]:skull:"
    letter = with_(name=hostile, origin=hostile, reason=hostile, at=hostile, begins=hostile.encode() + b"\xff\r\n")
    console().print(letters_table([letter]))
    shown = capsys.readouterr().out
    assert set(shown) - {"\n"} == {char for char in shown if char.isascii() and char.isprintable()}
    assert shown.count(":skull:") == 4, "all is shown as it stands there; the time is cut"


def test_the_count_is_by_reason_whoever_gave_it() -> None:
    counts = {("read", "not JSON"): 1_200, ("sessions", "not JSON"): 1, ("raw_events", "the database refuses it"): 3}
    assert summary(counts) == "1,204 letters: 1,201 not JSON, 3 the database refuses it"
    assert summary({("read", "truncated"): 1}) == "1 letter: 1 truncated"
    assert summary({}) == "0 letters"
