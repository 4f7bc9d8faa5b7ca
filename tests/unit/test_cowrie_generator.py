"""The generator of Cowrie logs, and the command around it."""

import bz2
import gzip
import ipaddress
import json
import re
import sys
import tracemalloc
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from producers.cowrie.generator import Plan, lines
from tallystick.cli import generate
from tallystick.contracts.cowrie import read_envelope
from tallystick.contracts.timestamps import seconds_between
from tallystick.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEST_NETS = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]

plans = st.builds(
    Plan,
    events=st.integers(0, 400),
    seed=st.integers(0, 2**64),
    sensor=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20),
    hours=st.none() | st.floats(0.001, 1000),
    interleave=st.integers(1, 50),
)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(Plan(sessions=2_000, seed=7))]


def by_session(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    sessions: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        sessions.setdefault(event["session"], []).append(event)
    return sessions


@given(plans)
@settings(max_examples=25, deadline=None)
def test_any_plan_gives_the_asked_number_of_whole_lines_in_the_order_of_time(plan: Plan) -> None:
    found = list(lines(plan))
    assert len(found) == plan.events
    envelopes = [read_envelope(line.removesuffix(b"\n")) for line in found]
    for line, envelope in zip(found, envelopes, strict=True):
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert json.loads(line)["timestamp"] == envelope.timestamp
        assert envelope.sensor == plan.sensor
        assert re.fullmatch("[0-9a-f]{12}", envelope.session)
    assert all(earlier.timestamp <= later.timestamp for earlier, later in pairwise(envelopes))


@given(plans)
@settings(max_examples=10, deadline=None)
def test_a_session_begins_with_its_connection_and_never_outlives_its_close(plan: Plan) -> None:
    for told in by_session([json.loads(line) for line in lines(plan)]).values():
        ids = [event["eventid"] for event in told]
        assert ids[0] == "cowrie.session.connect"
        assert ids.count("cowrie.session.connect") == 1
        assert "cowrie.session.closed" not in ids[:-1]


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert list(lines(Plan(events=2_000, seed=5))) == list(lines(Plan(events=2_000, seed=5)))


def test_a_log_asked_for_by_events_begins_like_a_longer_one() -> None:
    assert list(lines(Plan(events=500))) == list(islice(lines(Plan(events=2_000)), 500))


def test_another_seed_gives_other_sessions() -> None:
    one, other = (by_session([json.loads(line) for line in lines(Plan(sessions=50, seed=seed))]) for seed in (1, 2))
    assert not one.keys() & other.keys()


def test_every_session_is_told_to_its_end_under_a_name_of_its_own(events: list[dict[str, Any]]) -> None:
    sessions = by_session(events)
    assert len(sessions) == 2_000
    assert all(told[-1]["eventid"] == "cowrie.session.closed" for told in sessions.values())


def test_durations_say_how_long_it_took(events: list[dict[str, Any]]) -> None:
    for told in by_session(events).values():
        lasted = seconds_between(told[0]["timestamp"], told[-1]["timestamp"])
        assert told[-1]["duration_ms"] == pytest.approx(lasted * 1000, abs=1)
        assert told[-1]["message"] == f"Connection lost after {told[-1]['duration_ms']} milliseconds"


def test_it_has_the_shape_of_a_genuine_log(events: list[dict[str, Any]]) -> None:
    kinds = Counter(event["eventid"] for event in events)
    assert 9 < len(events) / 2_000 < 11
    assert kinds.keys() >= {
        f"cowrie.{kind}"
        for kind in (  # noqa: SIM905
            "session.connect session.closed session.params client.version client.kex client.size client.fingerprint "
            "login.success login.failed command.input command.failed command.chpasswd session.file_download "
            "session.file_download.failed session.file_upload direct-tcpip.request direct-tcpip.data "
            "direct-tcpip.ja4h log.closed"
        ).split()
    }
    assert {event["protocol"] for event in events} == {"ssh", "telnet"}
    assert any(len(event.get("input", "")) > 3_000 for event in events)


@pytest.mark.parametrize(
    ("eventid", "fields"),
    [
        pytest.param("cowrie.session.connect", "", id="connect has nothing of its own"),
        pytest.param("cowrie.login.success", "username password", id="logins name the credentials"),
        pytest.param("cowrie.command.input", "input", id="commands are whole"),
        pytest.param("cowrie.session.file_download", "url outfile shasum", id="downloads have a digest"),
        pytest.param("cowrie.log.closed", "ttylog size shasum duplicate duration_ms", id="terminal logs have a size"),
        pytest.param(
            "cowrie.client.kex",
            "hassh hasshAlgorithms kexAlgs keyAlgs encCS macCS compCS langCS",
            id="key exchanges list the algorithms",
        ),
    ],
)
def test_fields_stand_in_cowries_order(events: list[dict[str, Any]], eventid: str, fields: str) -> None:
    common = ["session", "protocol", "src_ip", "src_port", "dst_ip", "dst_port"]
    expected = [*common, *fields.split(), "eventid", "sensor", "uuid", "timestamp", "message"]
    assert list(next(event for event in events if event["eventid"] == eventid)) == expected


def test_a_tunnel_names_its_destination_where_the_honeypot_stood(events: list[dict[str, Any]]) -> None:
    asked = next(event for event in events if event["eventid"] == "cowrie.direct-tcpip.request")
    assert list(asked)[:8] == [
        "session",
        "protocol",
        "src_ip",
        "src_port",
        "dst_ip",
        "dst_port",
        "orig_ip",
        "orig_port",
    ]
    assert f"request to {asked['dst_ip']}:{asked['dst_port']} from" in asked["message"]


def test_attackers_come_from_test_networks_and_return(events: list[dict[str, Any]]) -> None:
    visits = Counter(event["src_ip"] for event in events if event["eventid"] == "cowrie.session.connect")
    for address in visits:
        assert any(ipaddress.ip_address(address) in net for net in TEST_NETS), address
    assert any(":" in address for address in visits)
    assert visits.most_common(1)[0][1] > 100


def test_credentials_are_unequally_popular(events: list[dict[str, Any]]) -> None:
    tried = Counter((event["username"], event["password"]) for event in events if "password" in event)
    (favourite, often), *_ = tried.most_common(1)
    assert favourite == ("root", "123456")
    assert often > 20 * tried.most_common()[len(tried) // 2][1]


def running_at_once(plan: Plan) -> int:
    open_, most = 0, 0
    for line in lines(plan):
        eventid = read_envelope(line).eventid
        open_ += (eventid == "cowrie.session.connect") - (eventid == "cowrie.session.closed")
        most = max(most, open_)
    return most


@pytest.mark.parametrize("interleave", [1, 5, 40])
def test_sessions_interleave_as_much_as_asked(interleave: int) -> None:
    assert 0.8 * interleave <= running_at_once(Plan(sessions=400, interleave=interleave)) <= interleave


@pytest.mark.parametrize("hours", [0.5, 24.0])
def test_a_log_spans_the_hours_asked_for(hours: float) -> None:
    stamps = [read_envelope(line).timestamp for line in lines(Plan(sessions=3_000, hours=hours))]
    assert stamps[0] == "2026-01-01T00:00:00.000000Z"
    assert seconds_between(stamps[0], stamps[-1]) / 3600 == pytest.approx(hours, rel=0.15)


def test_memory_does_not_grow_with_the_log() -> None:
    tracemalloc.start()
    log = lines(Plan(events=10_000))
    for _ in islice(log, 2_000):
        pass
    early = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in log:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < early + 500_000


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({}, "either", id="neither events nor sessions"),
        pytest.param({"events": 1, "sessions": 1}, "either", id="both events and sessions"),
        pytest.param({"events": -1}, "negative", id="fewer than no events"),
        pytest.param({"events": 1, "interleave": 0}, "interleave", id="no session at a time"),
        pytest.param({"events": 1, "hours": 0.0}, "hours", id="no time"),
        pytest.param({"events": 1, "hours": float("nan")}, "hours", id="hours that are no number"),
        pytest.param({"events": 1, "start": "yesterday"}, "start is no time", id="a start that is no time"),
        pytest.param({"events": 1, "start": "1969-12-31T23:59:59Z"}, "1970", id="a start before 1970"),
        pytest.param({"events": 1, "sensor": ""}, "sensor", id="a sensor without a name"),
        pytest.param({"events": 1, "sensor": "a\nb"}, "sensor", id="a sensor with a line end in its name"),
    ],
)
def test_a_plan_that_can_not_be_carried_out_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Plan(**wrong)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    generate.register(app)
    app.command("other")(lambda: None)
    return app


@pytest.mark.parametrize(
    ("name", "unpack"),
    [
        pytest.param("log.json", bytes, id="plain"),
        pytest.param("log.json.gz", gzip.decompress, id="gzip"),
        pytest.param("log.json.bz2", bz2.decompress, id="bzip2"),
        pytest.param("log.json.zst", zstd.decompress, id="zstd"),
    ],
)
def test_the_file_is_compressed_as_its_name_says_and_always_the_same(
    app: typer.Typer, tmp_path: Path, name: str, unpack: Any
) -> None:
    written = []
    for folder in ("a", "b"):
        path = tmp_path / folder / name
        path.parent.mkdir()
        result = CliRunner().invoke(app, ["generate", "cowrie", "--events", "300", "--output", str(path)])
        assert result.exit_code == 0, result.output
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert unpack(written[0]) == b"".join(lines(Plan(events=300)))


@pytest.mark.parametrize("arguments", [[], ["--output", "-"]])
def test_a_thousand_sessions_go_to_stdout_unless_told_otherwise(app: typer.Typer, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["generate", "cowrie", *arguments])
    assert result.exit_code == 0
    assert result.stdout_bytes == b"".join(lines(Plan(sessions=1_000)))


def test_a_folder_that_does_not_exist_is_a_usage_error(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["generate", "cowrie", "--output", str(tmp_path / "absent" / "log.json")])
    assert isinstance(result.exception, UsageError)
    assert "can't write" in str(result.exception)
