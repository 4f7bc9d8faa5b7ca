"""From the state of a session to its rows."""

import hashlib

import pytest

from sinks import session_rows as rows
from tallystick.contracts.cowrie import CommandSeen, FileSeen, First, InjectedSeen, KeySeen, LoginSeen, SessionState

AT = "2026-01-01T00:00:00.000000Z"


def summary(state: SessionState) -> dict[str, object]:
    return dict(zip(rows.SUMMARIES.columns, rows.summary(state), strict=True))


def test_the_summary_carries_the_names_that_people_query() -> None:
    state = SessionState(
        "sensor",
        "s1",
        revision=9,
        event_count=9,
        first_event_at=AT,
        kinds={"b": 1, "a": 8},
        src_ip=First(AT, "1.2.3.4"),
        src_port=First(AT, 2222),
        downloads=2,
        downloads_failed=1,
        uploads=4,
        commands=[
            CommandSeen(3, AT, AT, 0, normalized="echo x >> .ssh/authorized_keys"),
            CommandSeen(1, AT, AT, 0, normalized="id"),
        ],
        logins=[
            LoginSeen(1, AT, AT, 0, username="root", password="first", succeeded=False),
            LoginSeen(1, AT, AT, 0, username="root", password="good", succeeded=True),
        ],
        keys=[KeySeen(1, AT, AT, 0, fingerprint="f1"), KeySeen(1, AT, AT, 0, fingerprint="f1", username="x")],
        injected=[InjectedSeen(1, AT, AT, 0, type="ssh-dss", blob="AAAA", fingerprint="f2")],
        risk=80,
        sources={"b": 1, "a": 2},
    )
    found = summary(state)
    assert (
        found
        | {
            "source_ip": "1.2.3.4",
            "source_port": 2222,
            "first_event_at": AT,
            "last_event_at": None,
            "file_downloads": 7,
            "ssh_key_injections": 3,
            "unique_ssh_keys": 2,
            "ssh_key_fingerprint": "f1",
            "password_hash": hashlib.sha256(b"good").hexdigest(),
            "command_signature": hashlib.sha256(b"echo x >> .ssh/authorized_keys\nid").hexdigest(),
            "source_files": '["a","b"]',
            "kinds": '{"a":8,"b":1}',
            "complete": True,
            "risk_score": 80,
        }
        == found
    )


@pytest.mark.parametrize(
    ("value", "port"),
    [
        pytest.param(0, 0, id="port 0 is a port"),
        pytest.param("2222", None, id="text is no number"),
        pytest.param(-1, None, id="negative"),
        pytest.param(1 << 31, None, id="more than the column holds"),
    ],
)
def test_a_number_that_its_column_cannot_hold_is_left_out(value: int | str, port: int | None) -> None:
    assert summary(SessionState("s", "1", src_port=First(AT, value)))["source_port"] == port


def test_an_empty_session_has_no_made_up_values() -> None:
    found = summary(SessionState("s", "1"))
    empty = ("source_ip", "first_event_at", "closed_at", "duration_ms", "password_hash", "command_signature")
    assert [found[name] for name in empty] == [None] * len(empty)


def test_children_keep_their_order_and_files_their_identity() -> None:
    state = SessionState(
        "sensor",
        "s1",
        commands=[CommandSeen(1, AT, AT, 0, normalized=name) for name in ("b", "a")],
        files=[
            FileSeen(1, AT, AT, 0, how="download", shasum="x", url="u"),
            FileSeen(1, AT, AT, 0, how="upload", shasum="x", url="u"),
        ],
        sources={"00aa": 1},
    )
    assert [row[2:4] for row in rows.commands(state)] == [(0, "b"), (1, "a")]
    keys = [row[2] for row in rows.files(state)]
    state.files.reverse()
    assert len(set(keys)) == 2
    assert [row[2] for row in rows.files(state)] == keys[::-1]
    assert list(rows.session_sources(state)) == [("00aa", "sensor", "s1")]


@pytest.mark.parametrize(
    ("target", "of"),
    [(rows.COMMANDS, rows.commands), (rows.LOGINS, rows.logins), (rows.FILES, rows.files)],
    ids=["commands", "logins", "files"],
)
def test_rows_have_as_many_values_as_columns(target, of) -> None:  # type: ignore[no-untyped-def]
    state = SessionState(
        "sensor",
        "s1",
        commands=[CommandSeen(1, AT, AT, 0, normalized="a")],
        logins=[LoginSeen(1, AT, AT, 0, username="u", password="p", succeeded=True)],
        files=[FileSeen(1, AT, AT, 0, how="upload")],
    )
    assert [len(row) for row in of(state)] == [len(target.columns)]
