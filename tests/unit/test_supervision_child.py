"""The other side: the stop flag, the lifeline, and the last line of every role, in real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tallystick.supervision.child import LIFELINE_VARIABLE, StopFlag

SECONDS = 30.0
WORKS = {
    "returns": "return None",
    "returns a code": "return 3",
    "usage": "raise UsageError('no such path')",
    "configuration": "raise ConfigurationError('no database')",
    "service": "raise ServiceError('Kafka is away')",
    "bug": "return 1 // 0",
    "exits": "raise SystemExit('by itself')",
    "asked to stop": "os.kill(os.getpid(), signal.SIGTERM); assert stop.wait(30)",
    "Ctrl-C": "os.kill(os.getpid(), signal.SIGINT); assert stop.wait(30)",
    "Ctrl-C twice": "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); stop.wait(30)",
    "wrong settings": "return None",
    "wrong lifeline": "return None",
}
ENVIRONMENTS = {"wrong settings": {"TALLY_LOG_LEVEL": "loud"}, "wrong lifeline": {LIFELINE_VARIABLE: "999"}}


def python(script: str, **options: Any) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | options.pop("env", {}),
        **options,
    )


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return code and last log line of each work: one process runs each of them in a child that it forks."""
    script = f"""
import json, os, signal, sys
from tallystick.errors import ConfigurationError, ServiceError, UsageError
from tallystick.supervision.roles import run_role
for number, (name, body) in enumerate({WORKS!r}.items()):
    if not (child := os.fork()):
        os.environ.update({ENVIRONMENTS!r}.get(name, {{}}))
        os.dup2(os.open(str(number), os.O_CREAT | os.O_WRONLY), 2)
        exec("def work(stop):\\n    " + body)
        os._exit(run_role("tester", work))
    print(json.dumps([name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]))
"""
    folder = tmp_path_factory.mktemp("ends")
    out, err = python(script, cwd=folder).communicate(timeout=SECONDS)
    assert not err
    codes = [json.loads(line) for line in out.splitlines()]
    return {
        name: (code, json.loads((folder / str(number)).read_text().splitlines()[-1]))
        for number, (name, code) in enumerate(codes)
    }


@pytest.mark.parametrize(
    ("work", "code", "reason", "words"),
    [
        pytest.param("returns", 0, "finished", "", id="work that returns has finished"),
        pytest.param("returns a code", 3, "failed", "", id="work may choose its exit code"),
        pytest.param("usage", 2, "failed", "no such path", id="a usage error is 2"),
        pytest.param("configuration", 78, "failed", "no database", id="a configuration error is 78"),
        pytest.param("service", 1, "failed", "Kafka is away", id="another error of ours is 1"),
        pytest.param("bug", 70, "failed", "division", id="an unexpected error is 70"),
        pytest.param("exits", 1, "failed", "by itself", id="SystemExit is told as well"),
        pytest.param("asked to stop", 143, "cancelled", "", id="work that was asked to stop says so"),
        pytest.param("Ctrl-C", 130, "cancelled", "", id="Ctrl-C asks to stop"),
        pytest.param("Ctrl-C twice", 130, "cancelled", "", id="a second Ctrl-C interrupts"),
        pytest.param("wrong settings", 78, "failed", "log_level", id="settings are read within the frame"),
        pytest.param("wrong lifeline", 78, "failed", LIFELINE_VARIABLE, id="a lifeline that is not open is told"),
    ],
)
def test_every_role_ends_with_a_line_that_says_why(
    ends: dict[str, tuple[int, dict[str, Any]]], work: str, code: int, reason: str, words: str
) -> None:
    found, line = ends[work]
    assert found == code
    assert (line["event"], line["role"], line["reason"], line["exit_code"]) == ("role ended", "tester", reason, code)
    assert 0 <= line["seconds"] < SECONDS
    assert words in line["error"]


def test_only_what_was_not_expected_comes_with_a_traceback(ends: dict[str, tuple[int, dict[str, Any]]]) -> None:
    assert {work for work, (_, line) in ends.items() if "Traceback" in line.get("exception", "")} == {"bug"}


def test_the_line_says_who_asked(ends: dict[str, tuple[int, dict[str, Any]]]) -> None:
    asked = {work: line["asked_by"] for work, (_, line) in ends.items() if line["asked_by"]}
    assert asked == {"asked to stop": "SIGTERM", "Ctrl-C": "SIGINT", "Ctrl-C twice": "SIGINT"}


def supervising(child: str, log_dir: Path) -> str:
    return f"""
from pathlib import Path
import sys
from tallystick.supervision.restarting import RoleSpec
from tallystick.supervision.supervisor import Supervisor
supervisor = Supervisor(on_exit=print, on_line=lambda _, line: print(line), log_dir=Path({str(log_dir)!r}))
supervisor.start(RoleSpec("role", (sys.executable, "-c", {child!r})))
while True:
    supervisor.poll(10)
"""


@pytest.mark.parametrize(
    ("child", "last_words"),
    [
        pytest.param(
            "while not stop.wait(10): pass\nprint(stop.reason, file=sys.stderr)",
            "the supervisor has ended",
            id="a child that listens stops by itself",
        ),
        pytest.param("threading.Event().wait()", '"exit_code":70', id="a child that does not listen is ended"),
        pytest.param("sys.stderr.close()\nthreading.Event().wait()", "", id="even where it can't say so"),
    ],
)
def test_a_role_does_not_outlive_a_supervisor_that_was_killed(tmp_path: Path, child: str, last_words: str) -> None:
    os.mkfifo(alive := tmp_path / "alive")
    script = f"""
import sys, threading
from tallystick import logs
from tallystick.settings import Settings
from tallystick.supervision.child import install
logs.configure(Settings.model_construct(), role="role")
stop = install(grace_seconds=0.1)
alive = open({str(alive)!r}, "w")
print("ready")
{child}
"""
    with python(supervising(script, tmp_path)) as parent, alive.open() as end:
        assert parent.stdout is not None
        assert any("ready" in line for line in parent.stdout)
        parent.kill()
        assert end.read() == ""  # returns once the child has gone
    assert last_words in (tmp_path / "role.log").read_text()


def test_the_first_to_ask_gives_the_reason() -> None:
    stop = StopFlag()
    assert (stop(), stop.reason, stop.wait(0)) == (False, "", False)
    stop.request("SIGINT", signal.SIGINT)
    stop.request("the supervisor has ended")
    assert (stop(), stop.reason, stop.wait(SECONDS), stop.exit_code) == (True, "SIGINT", True, 130)


def test_whoever_waits_is_woken() -> None:
    stop, woken = StopFlag(), []
    waiting = [threading.Thread(target=lambda: woken.append(stop.wait(SECONDS))) for _ in range(2)]
    for thread in waiting:
        thread.start()
    stop.request("test")
    for thread in waiting:
        thread.join(SECONDS)
    assert woken == [True, True]
