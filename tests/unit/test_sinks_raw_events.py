"""From a record to the cells of its rows: faithful, or visibly escaped beside the exact bytes."""

import json
from typing import cast

import pytest

from sinks.raw_events import TARGET, RawEvents, is_plain, storable
from sinks.sink import Record
from sinks.writers import copy_fields
from sinks.writers.postgresql import PostgresqlWriter
from sinks.writers.sqlite import SqliteWriter
from streams.sessions.fold import SessionFold
from tallystick.contracts import cowrie, slices
from tallystick.contracts.cowrie import SessionState, UnreadableLine
from tallystick.contracts.slices import Headers
from tallystick.errors import ContractError

LINE = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00+02:00","x":"a\\\\b"}'


def record(*lines: bytes, key: bytes | None = None, low: int = 0, positions: list[int] | None = None) -> Record:
    places = positions or [100 * number for number in range(len(lines))]
    value, headers = slices.encode(b"00aa", cowrie.SCHEMA, low, places, lines)
    return Record(1, 7, cowrie.session_key("sensor", "s1") if key is None else key, value, headers)


def with_header(name: str, value: bytes) -> Record:
    found = record(LINE)
    headers: Headers = [(known, value if known == name else content) for known, content in found.headers]
    return Record(found.partition, found.offset, found.key, found.value, headers)


def test_a_row_of_copy_has_the_fields_of_its_columns_types() -> None:
    (row,) = RawEvents(PostgresqlWriter()).decode(record(LINE)).entries
    fields = {
        "sensor": copy_fields.text(b"sensor"),
        "session_id": copy_fields.text(b"s1"),
        "digest": copy_fields.bigint(cowrie.event_digest(LINE)),
        "source_id": copy_fields.text(b"00aa"),
        "source_offset": copy_fields.bigint(0),
        "event_type": copy_fields.text(b"e"),
        "event_timestamp": copy_fields.timestamptz("2025-12-31T22:00:00.000000Z"),
        "payload": copy_fields.jsonb(LINE),
        "raw": copy_fields.NULL,
        "risk_score": copy_fields.integer(0),
    }
    assert b"".join(cast(tuple[bytes, ...], row)) == b"".join([fields[name] for name in TARGET.columns])


def test_a_row_of_sqlite_has_plain_values() -> None:
    assert by_column(record(LINE)) == [
        {
            "sensor": "sensor",
            "session_id": "s1",
            "digest": cowrie.event_digest(LINE),
            "source_id": "00aa",
            "source_offset": 0,
            "event_type": "e",
            "event_timestamp": "2025-12-31T22:00:00.000000Z",
            "payload": LINE.decode(),
            "raw": None,
            "risk_score": 0,
        }
    ]


def by_column(found: Record) -> list[dict[str, object]]:
    """Return the rows that SQLite gets."""
    return [dict(zip(TARGET.columns, row, strict=True)) for row in RawEvents(SqliteWriter()).decode(found).entries]


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        pytest.param({"eventid": "cowrie.session.connect"}, 0, id="a kind without a rule"),
        pytest.param({"eventid": "cowrie.login.success", "input": "xmrig"}, 30, id="no command, whatever it holds"),
        pytest.param({"eventid": "cowrie.command.input", "input": "uname"}, 20, id="a command"),
        pytest.param({"eventid": "cowrie.command.input", "input": "rm\t -rf x"}, 45, id="a command of high risk"),
        pytest.param({"eventid": "cowrie.command.input", "input": "xmrig" + "x" * 5_000}, 90, id="a long one"),
        pytest.param({"eventid": "cowrie.command.input", "input": ["xmrig"]}, 20, id="a command that is no text"),
        pytest.param({"eventid": "cowrie.command.input", "input": "xmrig \ud800"}, 90, id="with a lone surrogate"),
    ],
)
def test_the_score_of_an_event(fields: dict[str, object], score: int) -> None:
    line = json.dumps({"timestamp": "2026-01-01T00:00:00Z", **fields}).encode()
    (row,) = by_column(record(line))
    assert row["risk_score"] == score
    assert folded(line) == score


def folded(line: bytes) -> int:
    """Return the score that the sessions' fold finds."""
    fold = SessionFold(SessionState("sensor", "s1"))
    assert fold.apply(source="a", positions=[0], events=[line]) == []
    return fold.state().risk


def test_events_that_cannot_be_read_are_refused_with_their_positions_and_the_rest_is_kept() -> None:
    decoded = RawEvents(SqliteWriter()).decode(record(LINE, b"junk", LINE, b'{"eventid":"e"}'))
    assert list(decoded.positions) == [0, 200]
    assert list(decoded.contents) == [LINE, LINE]
    assert [(refusal.position, refusal.payload, refusal.reason) for refusal in decoded.refused] == [
        (100, b"junk", "not JSON"),
        (300, b'{"eventid":"e"}', "timestamp is missing"),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(record(LINE, key=b"junk"), id="the key is no session"),
        pytest.param(record(LINE, low=50, positions=[49]), id="a position below low"),
        pytest.param(record(LINE, positions=[1 << 32]), id="a position too far above low"),
        pytest.param(with_header("position", b"-1"), id="a negative position"),
        pytest.param(with_header("low", b"x"), id="low is no number"),
        pytest.param(with_header("source", b""), id="no source"),
        pytest.param(with_header("source", b"a" * 256), id="a source id that no index could hold"),
        pytest.param(Record(0, 0, cowrie.session_key("a", "b"), None, []), id="no value"),
    ],
)
def test_what_keeps_no_contract_is_refused_as_a_record(bad: Record) -> None:
    with pytest.raises(ContractError):
        RawEvents(SqliteWriter()).decode(bad)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"x":"plain"}', id="ASCII"),
        pytest.param('{"x":"é😀"}'.encode(), id="UTF-8"),
        pytest.param(b'{"x":"\\ud83d\\ude00"}', id="a pair of surrogates is one character"),
        pytest.param(b'{"x":"\\\\u0000 \\\\ud800"}', id="an escaped backslash before u is no escape"),
        pytest.param(b'{"x":"NaN or Infinity"}', id="NaN in text is no number"),
    ],
)
def test_what_every_database_holds_stays_as_it_is(line: bytes) -> None:
    assert storable(line) is line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param(b'{"x":"a\\u0000"}', {"x": "a\\u0000"}, id="NUL"),
        pytest.param(b'{"x":"\\uD83D!"}', {"x": "\\ud83d!"}, id="a lone high surrogate"),
        pytest.param(b'{"x":["\\udc00"]}', {"x": ["\\udc00"]}, id="a lone low surrogate, nested"),
        pytest.param(b'{"x\\u0000":{"y":"\xff"}}', {"x\\u0000": {"y": "\\udcff"}}, id="invalid UTF-8 and a name"),
        pytest.param(b'{"x":[NaN,Infinity,-Infinity,1.5]}', {"x": ["NaN", "Infinity", "-Infinity", 1.5]}, id="NaN"),
        pytest.param(
            b'{"x":NaN,"n":123456789012345678901234567890}',
            {"x": "NaN", "n": 123456789012345678901234567890},
            id="a large integer stays exact",
        ),
    ],
)
def test_what_a_database_cannot_hold_becomes_visible(line: bytes, shown: object) -> None:
    assert json.loads(storable(line)) == shown


def test_only_lines_that_need_it_are_kept_twice() -> None:
    nul = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00Z","x":"\\u0000"}'
    assert [row["raw"] for row in by_column(record(nul, LINE))] == [nul, None]
    first, second = RawEvents(PostgresqlWriter()).decode(record(nul, LINE)).entries
    assert copy_fields.text(nul) in first
    assert copy_fields.NULL in second


def test_a_line_that_holds_nan_and_is_no_object_is_refused() -> None:
    with pytest.raises(UnreadableLine, match="not a JSON object"):
        storable(b"[NaN]")


@pytest.mark.parametrize("part", [b"\\u", b"NaN", b"Infinity", b"\xc3\xa9"])
def test_the_quick_look_sees_every_suspect(part: bytes) -> None:
    assert is_plain(b'{"x":"y"}\n{}')
    assert not is_plain(b'{"x":"y"}\n{' + part + b"}")
