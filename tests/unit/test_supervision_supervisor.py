"""The supervisor on real, small child processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tallystick.errors import ServiceError, UsageError
from tallystick.supervision.child import TASK_VARIABLE
from tallystick.supervision.exits import Exit, ExitReason
from tallystick.supervision.memory import OutOfMemoryKills
from tallystick.supervision.process import MAX_LOG_BYTES
from tallystick.supervision.restarting import RestartPolicy, RoleSpec
from tallystick.supervision.supervisor import Supervisor

DEADLINE = 20.0
READY = "print('ready', flush=True)\n"
UNTIL_KILLED = READY + "import signal\nwhile True: signal.pause()\n"
UNTIL_ASKED = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + UNTIL_KILLED
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + UNTIL_KILLED


def role(script: str, name: str = "role", **options: Any) -> RoleSpec:
    return RoleSpec(name, (sys.executable, "-I", "-S", "-c", script), **options)


class Stage:
    """A supervisor, and what it has told."""

    def __init__(self, log_dir: Path, **options: Any) -> None:
        self.exits: list[Exit] = []
        self.lines: list[tuple[str, str]] = []
        self.log_dir = log_dir
        self.supervisor = Supervisor(
            on_exit=self.exits.append,
            on_line=lambda role, line: self.lines.append((role, line)),
            log_dir=log_dir,
            policy=RestartPolicy(first_seconds=0.01, longest_seconds=0.02),
            **options,
        )

    def until(self, met: Callable[[], bool]) -> list[Exit]:
        found, deadline = [], time.monotonic() + DEADLINE
        while not met():
            assert time.monotonic() < deadline, f"not met; exits {self.exits}, lines {self.lines}"
            found += self.supervisor.poll(0.02)
        return found

    def until_ready(self, count: int = 1) -> None:
        self.until(lambda: sum(line == "ready" for _, line in self.lines) >= count)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "logs")
    yield stage
    stage.supervisor.stop(0)


@pytest.mark.parametrize(
    ("script", "reason", "exit_code", "signal_"),
    [
        pytest.param("", ExitReason.FINISHED, 0, "", id="a one-shot that returns"),
        pytest.param("raise SystemExit(3)", ExitReason.FAILED, 3, "", id="an exit code"),
        pytest.param("1 / 0", ExitReason.FAILED, 1, "", id="an exception"),
        pytest.param("raise SystemExit(78)", ExitReason.FAILED, 78, "", id="a wrong configuration"),
        pytest.param("import os; os.kill(os.getpid(), 9)", ExitReason.KILLED, None, "SIGKILL", id="SIGKILL"),
        pytest.param("import os; os.kill(os.getpid(), 11)", ExitReason.KILLED, None, "SIGSEGV", id="a crash"),
    ],
)
def test_every_exit_is_told(stage: Stage, script: str, reason: ExitReason, exit_code: int | None, signal_: str) -> None:
    stage.supervisor.start(role(script, one_shot=True, max_restarts=0))
    pid = stage.supervisor.running()["role"]
    (told,) = stage.supervisor.poll(DEADLINE)
    assert (told.role, told.pid, told.reason, told.exit_code, told.signal) == ("role", pid, reason, exit_code, signal_)
    assert stage.exits == [told]
    assert stage.supervisor.running() == {}
    assert stage.supervisor.failed() == ({} if reason is ExitReason.FINISHED else {"role": told})


@pytest.mark.parametrize(
    ("counted", "reason"),
    [
        pytest.param(1, ExitReason.OUT_OF_MEMORY, id="the kernel counted a kill"),
        pytest.param(0, ExitReason.KILLED, id="the kernel counted none"),
    ],
)
def test_out_of_memory_is_said_only_where_the_counter_rose(tmp_path: Path, counted: int, reason: ExitReason) -> None:
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 0\n")
    stage = Stage(tmp_path, kills=OutOfMemoryKills(events))
    with stage.supervisor as supervisor:
        supervisor.start(role(UNTIL_KILLED, max_restarts=0))
        stage.until_ready()
        events.write_text(f"oom_kill {counted}\n")
        os.kill(supervisor.running()["role"], signal.SIGKILL)
        assert [told.reason for told in supervisor.poll(DEADLINE)] == [reason]


def test_a_failing_role_is_restarted_until_it_has_used_its_restarts_up(stage: Stage) -> None:
    stage.supervisor.start(role("raise SystemExit(1)", max_restarts=2))
    stage.until(lambda: bool(stage.supervisor.failed()))
    assert len({told.pid for told in stage.exits}) == 3
    assert [told.detail.split(" in ")[0] for told in stage.exits] == [
        "restart 1 of 2",
        "restart 2 of 2",
        "given up after 2 restarts",
    ]
    assert stage.supervisor.failed() == {"role": stage.exits[-1]}


def test_an_endless_role_that_returns_cleanly_is_restarted(stage: Stage) -> None:
    stage.supervisor.start(role(READY, max_restarts=1))
    stage.until_ready(2)
    stage.until(lambda: bool(stage.supervisor.failed()))
    assert [told.reason for told in stage.exits] == [ExitReason.FINISHED] * 2


def test_a_killed_role_comes_back_while_others_run_on(stage: Stage) -> None:
    stage.supervisor.start(role(UNTIL_KILLED, "first"))
    stage.supervisor.start(role(UNTIL_KILLED, "second"))
    stage.until_ready(2)
    before = stage.supervisor.running()
    os.kill(before["first"], signal.SIGKILL)
    stage.until_ready(3)
    after = stage.supervisor.running()
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]


def test_a_command_that_has_vanished_at_its_restart_is_an_exit_too(stage: Stage, tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text(f"#!{sys.executable} -IS\nimport os\nos.unlink(__file__)\nraise SystemExit(1)\n")
    command.chmod(0o700)
    stage.supervisor.start(RoleSpec("role", (str(command),), max_restarts=1))
    stage.until(lambda: bool(stage.supervisor.failed()))
    last = stage.exits[-1]
    assert (last.pid, last.reason, last.exit_code) == (0, ExitReason.FAILED, None)
    assert "can't be started" in last.tail


def test_lines_of_standard_output_come_in_order_and_before_the_exit(stage: Stage) -> None:
    stage.supervisor.start(role("for n in range(3000): print(n)\nprint('é', end='')", one_shot=True))
    stage.until(lambda: bool(stage.exits))
    assert stage.lines == [("role", str(n)) for n in range(3000)] + [("role", "é")]


def test_the_exit_holds_the_last_lines_of_standard_error_and_the_log_all(stage: Stage) -> None:
    script = "import sys\nfor n in range(50): print('said', n, file=sys.stderr)\n"
    secret = "print('postgresql://me:secret@host/db', file=sys.stderr)\nraise SystemExit(1)"
    stage.supervisor.start(role(script + secret, max_restarts=1))
    stage.until(lambda: bool(stage.supervisor.failed()))
    last_words = [f"said {n}" for n in range(31, 50)] + ["postgresql://me:***@host/db"]
    assert [told.tail.splitlines() for told in stage.exits] == [last_words] * 2
    assert (stage.log_dir / "role.log").read_text().count("said 49\n") == 2


def test_the_last_words_are_those_of_the_process_that_ended(stage: Stage) -> None:
    for script in ("import sys; print('first', file=sys.stderr)", "pass"):
        stage.supervisor.start(role(script, one_shot=True))
        stage.supervisor.poll(DEADLINE)
    assert [told.tail for told in stage.exits] == ["first", ""]


def test_a_log_that_has_grown_large_is_set_aside(stage: Stage) -> None:
    stage.log_dir.mkdir()
    with (stage.log_dir / "role.log").open("wb") as log:
        log.truncate(MAX_LOG_BYTES + 1)
    stage.supervisor.start(role("import sys; print('new', file=sys.stderr)", one_shot=True))
    stage.until(lambda: bool(stage.exits))
    assert (stage.log_dir / "role.log").read_text() == "new\n"
    assert (stage.log_dir / "role.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_a_process_knows_what_the_records_of_its_ends_call_it(stage: Stage) -> None:
    script = f"import os; print(os.environ[{TASK_VARIABLE!r}])"
    stage.supervisor.start(role(script, "named", one_shot=True, task="load/named"))
    stage.supervisor.start(role(script, "nameless", one_shot=True))
    stage.until(lambda: len(stage.exits) == 2)
    assert sorted(stage.lines) == [("named", "load/named"), ("nameless", "nameless")]


def test_stop_asks_and_says_who_did_not_listen(stage: Stage) -> None:
    stage.supervisor.start(role(UNTIL_ASKED, "obedient"))
    stage.supervisor.start(role(UNTIL_KILLED, "simple"))
    stage.supervisor.start(role(DEAF, "deaf"))
    stage.until_ready(3)
    told = {exit_.role: exit_ for exit_ in stage.supervisor.stop(0.5, why="enough")}
    assert (told["obedient"].reason, told["obedient"].exit_code) == (ExitReason.CANCELLED, 0)
    assert (told["simple"].reason, told["simple"].signal) == (ExitReason.CANCELLED, "SIGTERM")
    assert (told["deaf"].reason, told["deaf"].signal) == (ExitReason.KILLED, "SIGKILL")
    assert (told["obedient"].detail, told["simple"].detail) == ("enough", "enough")
    assert told["deaf"].detail.startswith("enough; killed, as it had not stopped")
    assert (stage.supervisor.running(), stage.supervisor.failed()) == ({}, {})
    assert stage.supervisor.stop() == []


def test_stop_restarts_nothing(stage: Stage) -> None:
    stage.supervisor.start(role(READY + "raise SystemExit(1)"))
    stage.until(lambda: bool(stage.exits))
    stage.supervisor.stop()
    before = len(stage.exits)
    assert stage.supervisor.poll(0.1) == []
    assert (stage.supervisor.running(), len(stage.exits)) == ({}, before)


def test_an_exception_on_the_way_out_still_stops_all(stage: Stage) -> None:
    def leave() -> None:
        with stage.supervisor:
            stage.supervisor.start(role(UNTIL_ASKED))
            stage.until_ready()
            raise KeyError("passing")

    with pytest.raises(KeyError):
        leave()
    assert [told.reason for told in stage.exits] == [ExitReason.CANCELLED]


def test_a_second_interrupt_kills_at_once(tmp_path: Path) -> None:
    lines: list[str] = []

    def interrupt(_role: str, line: str) -> None:
        lines.append(line)
        if line == "asked":
            raise KeyboardInterrupt

    supervisor = Supervisor(on_exit=lambda _: None, on_line=interrupt, log_dir=tmp_path)
    supervisor.start(
        role("import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os.write(1, b'asked\\n'))\n" + UNTIL_KILLED)
    )
    started = time.monotonic()
    while not lines:
        supervisor.poll(0.02)
    with pytest.raises(KeyboardInterrupt):
        supervisor.stop(DEADLINE)
    assert supervisor.running() == {}
    assert time.monotonic() - started < DEADLINE / 2


def test_children_do_not_get_the_terminals_interrupt(stage: Stage) -> None:
    stage.supervisor.start(role(UNTIL_ASKED))
    pid = stage.supervisor.running()["role"]
    assert os.getpgid(pid) == os.getsid(pid) == pid


def test_what_a_role_leaves_behind_is_killed_with_it(stage: Stage) -> None:
    helper = f"import os, sys\nos.execv({sys.executable!r}, ['python', '-ISc', {UNTIL_KILLED!r}])"
    stage.supervisor.start(
        role(f"import os, signal\nif not os.fork():\n exec({helper!r})\nsignal.pause()", max_restarts=0)
    )
    stage.until_ready()
    os.kill(stage.supervisor.running()["role"], signal.SIGKILL)
    # The helper holds the standard output; its end shows in the thread that reads it.
    stage.until(lambda: bool(stage.exits))
    assert not [t for t in threading.enumerate() if t.name.endswith(" lines")]


def test_neither_zombies_nor_descriptors_nor_threads_are_left(tmp_path: Path) -> None:
    def held() -> tuple[int, int, list[psutil.Process]]:
        return len(os.listdir("/dev/fd")), threading.active_count(), psutil.Process().children()  # noqa: PTH208

    before = held()
    with Stage(tmp_path).supervisor as supervisor:
        supervisor.start(role("raise SystemExit(1)", "failing", max_restarts=3))
        supervisor.start(role(UNTIL_KILLED, "running"))
        supervisor.start(role(DEAF, "deaf"))
        while "failing" not in supervisor.failed():
            supervisor.poll(DEADLINE)
        supervisor.stop(0.1)
    for thread in threading.enumerate():
        if thread.name.startswith("role "):
            thread.join(DEADLINE)
    assert held() == before


def test_a_role_runs_once_at_a_time_and_never_after_stop(stage: Stage) -> None:
    stage.supervisor.start(role(UNTIL_KILLED))
    with pytest.raises(UsageError, match="it runs already"):
        stage.supervisor.start(role(UNTIL_KILLED))
    stage.supervisor.stop()
    with pytest.raises(UsageError, match="has stopped"):
        stage.supervisor.start(role(UNTIL_KILLED, "another"))


def test_a_one_shot_that_is_done_can_be_started_again(stage: Stage) -> None:
    for count in (1, 2):
        stage.supervisor.start(role(READY, one_shot=True))
        stage.until(lambda count=count: len(stage.exits) == count)  # type: ignore[misc]
    assert stage.lines == [("role", "ready")] * 2


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        pytest.param(RoleSpec("role", ("/no/such/command",)), ServiceError, id="no such command"),
        pytest.param(RoleSpec("../role", ("true",)), UsageError, id="a name that is no file name"),
    ],
)
def test_what_cannot_be_started_is_refused(stage: Stage, spec: RoleSpec, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"role"):
        stage.supervisor.start(spec)
    assert stage.supervisor.running() == {}


def test_a_role_sees_the_environment_and_its_own_additions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "one")
    script = "import os; print(os.environ['INHERITED'], os.environ['ADDED'])"
    stage.supervisor.start(role(script, one_shot=True, env={"ADDED": "two"}))
    stage.until(lambda: bool(stage.exits))
    assert stage.lines == [("role", "one two")]


def test_a_role_that_yields_runs_at_a_lower_priority(stage: Stage) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    waits = (
        f"import os\nwhile os.getpriority(os.PRIO_PROCESS, 0) == {mine}: pass\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    stage.supervisor.start(role(waits, one_shot=True, yields=5))
    stage.until(lambda: bool(stage.exits))
    assert stage.lines == [("role", str(mine + 5))]
