"""What a service tells of itself: measures that roles tell, the text for Prometheus, health, and the server."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tallystick.contracts.measures import Sample
from tallystick.contracts.tasks import TaskExit
from tallystick.errors import ConfigurationError
from tallystick.metrics.exposition import exposition
from tallystick.metrics.health import Phase, health_of, problem_of
from tallystick.metrics.measures import MAX_LABEL_CHARS, Measures, Told
from tallystick.metrics.monitor import Monitor
from tallystick.metrics.names import SERVICE_METRICS
from tallystick.metrics.server import Answer, PageServer
from tallystick.settings import MetricsSettings, Settings
from tallystick.supervision.identity import ProcessIdentity
from tallystick.supervision.records import Board
from tallystick.supervision.standing import Condition, TaskStanding

TASK = "atproto/firehose/bsky.network"
ME = ProcessIdentity("host", 1)
NOW = "2026-11-26T10:10:00.000000Z"


def line(*samples: dict[str, Any]) -> str:
    return json.dumps({"measures": samples})


def sample(name: str = "x_total", value: float = 1, kind: str = "counter", **labels: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "labels": labels, "kind": kind}


def exit_(**changes: Any) -> TaskExit:
    last = TaskExit(TASK, "host", 7, "failed", "2026-11-26T10:00:00.000000Z", 1.0, 1, error="away", next="given up: so")
    return msgspec.structs.replace(last, **changes)


def standing(condition: Condition = Condition.RUNNING, **changes: Any) -> TaskStanding:
    known = TaskStanding(TASK, condition, "2026-11-26T10:00:00.000000Z", ME, ME)
    return msgspec.structs.replace(known, **changes)


def test_the_newest_of_each_series_counts_over_several_lines() -> None:
    measures = Measures()
    for text in (
        line(sample(host="a"), sample(host="b")),
        line(sample(value=5, host="a")),
        line(sample("up", 1, "gauge")),
    ):
        assert measures.take(TASK, text)
    assert {(s.name, s.labels.get("host"), s.value) for s in measures.told().samples[TASK]} == {
        ("x_total", "a", 5),
        ("x_total", "b", 1),
        ("up", None, 1),
    }
    measures.forget(TASK)
    assert measures.told() == Told()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"measures": [', id="a part of a line"),
        pytest.param('{"measures": 1}', id="no list"),
        pytest.param(line({"name": "x_total"}), id="no value"),
        pytest.param(line(sample("x total")), id="no name of a metric"),
        pytest.param(line(sample("x")), id="a counter without its end"),
        pytest.param(line(sample("x_total", kind="gauge")), id="a gauge with a counter's end"),
        pytest.param(line(sample(task="another")), id="the label that is ours"),
        pytest.param(line({**sample(), "labels": {"a-b": "c"}}), id="no name of a label"),
        pytest.param(line({**sample(), "labels": {f"l{n}": "" for n in range(11)}}), id="too many labels"),
        pytest.param('{"measures": [{"name": "x_total", "value": 1e999}]}', id="no number"),
    ],
)
def test_what_cannot_be_taken_is_counted_and_nothing_else(text: str) -> None:
    measures = Measures()
    assert measures.take(TASK, text)
    assert measures.take(TASK, line(sample()))
    told = measures.told()
    assert (told.malformed, len(told.samples[TASK])) == ({TASK: 1}, 1)


def test_lines_of_something_else_are_left_to_others() -> None:
    measures = Measures()
    assert not measures.take(TASK, '{"progress": {}}')
    assert not measures.take(TASK, "measures")
    assert measures.told() == Told()


def test_series_and_labels_are_bounded() -> None:
    measures = Measures(most_series=2)
    measures.take(TASK, line(*(sample(host=f"{n}" + "x" * 1000) for n in range(5))))
    measures.take(TASK, line(sample(value=9, host="0" + "x" * 1000)))
    told = measures.told()
    assert told.dropped == {TASK: 3}
    assert [(s.value, len(s.labels["host"])) for s in told.samples[TASK]] == [
        (9, MAX_LABEL_CHARS),
        (1, MAX_LABEL_CHARS),
    ]


def shown(board: Board, told: Told = Told()) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:  # noqa: B008
    text = exposition(board, told, started_at=5.0).decode()
    return {
        (found.name, tuple(sorted(found.labels.items()))): found.value
        for family in text_string_to_metric_families(text)
        for found in family.samples
    }


def test_the_text_tells_how_tasks_stand_and_what_they_told() -> None:
    hostile = 'bsky"\n\\network'
    board = Board(
        {TASK: standing(last=exit_(exit_code=None, signal="SIGKILL"))},
        exits={(TASK, "killed"): 3},
        restarts={TASK: 2},
        unsent=1,
    )
    told = Told(
        {TASK: (Sample("tally_atproto_frames_total", 7, {"host": hostile}), Sample("tally_task_up", 5, kind="gauge"))},
        malformed={TASK: 1},
        dropped={TASK: 4},
    )
    found = shown(board, told)
    task = (("task", TASK),)
    assert found["tally_task_exits_total", (("reason", "killed"), *task)] == 3
    assert found["tally_task_restarts_total", task] == 2
    assert found["tally_task_up", task] == 1, "a task can't say so of itself"
    assert found["tally_task_last_exit_timestamp_seconds", task] == 1795687200
    assert found["tally_task_last_exit_code", task] == -9
    assert found["tally_task_exits_unsent", ()] == 1
    assert found["tally_measures_malformed_total", task] == 1
    assert found["tally_measures_dropped_total", task] == 4
    assert found["process_start_time_seconds", ()] == 5
    assert found["tally_atproto_frames_total", (("host", hostile), *task)] == 7
    assert {name for name, _ in found} == {metric.name for metric in SERVICE_METRICS} | {"tally_atproto_frames_total"}


def test_one_name_has_one_kind_even_where_tasks_disagree() -> None:
    told = Told({"a": (Sample("x", 1, kind="gauge"),), "b": (Sample("x", 2, kind="gauge"),)})
    text = exposition(Board(), told, started_at=0).decode()
    assert text.count("# TYPE x gauge") == 1
    assert {value for (name, _), value in shown(Board(), told).items() if name == "x"} == {1, 2}


TROUBLED: dict[str, Any] = {"restarts": 9, "troubled_since": "2026-11-26T10:04:59.000000Z", "last": exit_()}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        pytest.param(standing(), "", id="it runs"),
        pytest.param(standing(Condition.DONE), "", id="it was to end, and has"),
        pytest.param(standing(Condition.STOPPED), "", id="it was stopped"),
        pytest.param(standing(Condition.GIVEN_UP, last=exit_()), "given up: given up: so", id="it was given up"),
        pytest.param(standing(Condition.RESTARTING, **TROUBLED), "restarted again and again", id="trouble for long"),
        pytest.param(
            standing(Condition.RESTARTING, **{**TROUBLED, "troubled_since": "2026-11-26T10:05:01.000000Z"}),
            "",
            id="trouble since lately",
        ),
        pytest.param(
            standing(**{**TROUBLED, "since": "2026-11-26T10:09:30.000000Z"}),
            "restarted again and again",
            id="it runs, but has not proved yet that it will",
        ),
        pytest.param(standing(**TROUBLED), "", id="it has run steadily since"),
    ],
)
def test_a_task_is_not_well_once_it_is_given_up_or_restarted_for_long(found: TaskStanding, problem: str) -> None:
    said = problem_of(found, now=NOW)
    assert said.startswith(problem)
    assert bool(said) == bool(problem)


def test_health_tells_of_each_task_its_last_error_and_its_lag() -> None:
    lags = tuple(Sample("tally_atproto_lag_seconds", lag, {"host": str(lag)}, kind="gauge") for lag in (2.0, 8.0))
    found = health_of({TASK: standing(last=exit_())}, Told({TASK: lags}), phase=Phase.READY, now=NOW)
    [task] = found.tasks
    assert (found.status, found.lag_seconds, found.phase) == ("ok", 8.0, "ready")
    assert (task.state, task.last_error, task.seconds_since_exit, task.lag_seconds) == ("running", "away", 600.0, 8.0)
    failing = health_of({TASK: standing(Condition.GIVEN_UP)}, Told(), phase=Phase.READY, now=NOW)
    assert (failing.status, failing.lag_seconds) == ("failing", None)


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def served(port: int | None) -> Settings:
    return Settings.model_construct(metrics=MetricsSettings(port=port))


def test_the_pages_follow_the_service() -> None:
    board = {TASK: standing()}
    monitor = Monitor(lambda: Board(dict(board)))
    with monitor.served(served(0)) as port:
        assert port
        status, content_type, body = get(port, "/metrics?x=1")
        assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b'tally_task_up{task="atproto/firehose/bsky.network"} 1.0' in body
        assert get(port, "/ready")[0] == 503
        monitor.phase = Phase.READY
        assert get(port, "/ready")[::2] == (200, b'{"ready":true,"phase":"ready"}\n')
        assert get(port, "/health")[0] == 200
        board[TASK] = standing(Condition.GIVEN_UP, last=exit_())
        status, content_type, body = get(port, "/health")
        assert (status, content_type, json.loads(body)["status"]) == (503, "application/json", "failing")
        assert get(port, "/health", "HEAD") == (503, "application/json", b"")
        monitor.phase = Phase.STOPPING
        assert get(port, "/ready")[0] == 503
        assert get(port, "/")[0] == 404
        assert get(port, "/metrics", "POST")[0] == 501
    with pytest.raises(urllib.error.URLError):
        get(port, "/metrics")


def test_nothing_is_served_where_no_port_is_set() -> None:
    with Monitor(Board).served(served(None)) as port:
        assert port is None


def test_a_port_in_use_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127.0.0.1:{port}: .*--metrics-port"):
            PageServer("127.0.0.1", port, {})


def test_a_client_that_says_nothing_keeps_nobody_else_waiting() -> None:
    pages = {"/": lambda: Answer(b"here", "text/plain")}
    with PageServer("127.0.0.1", 0, pages) as server, socket.create_connection(("127.0.0.1", server.port)):
        began = time.monotonic()
        assert get(server.port, "/")[2] == b"here"
        assert time.monotonic() - began < 5


ROOT = Path(__file__).parents[2]


def test_every_metric_of_the_code_is_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    assert {metric.name for metric in SERVICE_METRICS} <= rows
    code = "\n".join(path.read_text() for path in (ROOT / "producers" / "atproto").rglob("*.py"))
    told = set(re.findall(r'"(tally_atproto_[a-z_]+[a-z])"', code))
    told |= {f"tally_atproto_{name}" for name in re.findall(r'\b(?:count|show)\("([a-z_]+)"', code)}
    assert told <= rows
