"""Roles that are forked from a template are processes like those that an interpreter of their own runs."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tallystick.cli import warm
from tallystick.errors import ServiceError
from tallystick.supervision.exits import Exit, ExitReason
from tallystick.supervision.nursery import Nursery
from tallystick.supervision.restarting import RestartPolicy, RoleSpec
from tallystick.supervision.supervisor import Supervisor
from tests.support import eventually
from tests.warm import made

SECONDS = 20.0
MODULE = "forked_by_a_test"
SOURCE = """
import json, os, random, signal, sys, threading, time
from tallystick.supervision.child import install

IMPORTED_BY = os.getpid()

def main():
    exec(sys.argv[1])

def told():
    print(json.dumps({
        "pid": os.getpid(), "session": os.getsid(0), "imported_by": IMPORTED_BY, "folder": os.getcwd(),
        "arguments": sys.argv[2:], "environment": dict(os.environ), "random": random.random(),
        "files": sorted(map(int, os.listdir("/proc/self/fd")))[:-1], "threads": len(os.listdir("/proc/self/task")),
        "masked": [str(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)],
        "interrupts": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
    }))

def until_asked():
    stop = install()
    print("ready")
    stop.wait(60)
    sys.exit(stop.exit_code)

if __name__ == "__main__":
    main()
"""


def role(code: str, *arguments: str, name: str = "role", **options: Any) -> RoleSpec:
    return RoleSpec(name, (sys.executable, "-m", MODULE, code, *arguments), **options)


class World:
    """A nursery, a supervisor that uses it, and what that has told."""

    def __init__(self, folder: Path) -> None:
        folder.joinpath(f"{MODULE}.py").write_text(SOURCE)
        self.nursery = made([MODULE], folder=folder)
        self.template = psutil.Process(self.nursery.pid)
        self.exits: list[Exit] = []
        self.lines: list[str] = []
        self.logs = folder / "logs"
        self.supervisor = Supervisor(
            on_exit=self.exits.append,
            on_line=lambda _, line: self.lines.append(line),
            log_dir=self.logs,
            nursery=self.nursery,
            policy=RestartPolicy(first_seconds=0.01, longest_seconds=0.02),
        )

    def run(self, code: str, *arguments: str, **options: Any) -> Exit:
        self.lines.clear()
        self.supervisor.start(role(code, *arguments, one_shot=True, max_restarts=0, **options))
        (told,) = self.supervisor.poll(SECONDS)
        return told

    def start(self, spec: RoleSpec) -> psutil.Process:
        """Start a role that says when it is ready, and wait until it does."""
        self.lines.clear()
        self.supervisor.start(spec)
        self.until_ready()
        return psutil.Process(self.supervisor.running()[spec.name])

    def until_ready(self) -> None:
        eventually(lambda: self.supervisor.poll(0.01) or self.lines, until=lambda _: "ready" in self.lines)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.supervisor.stop(0)
    world.nursery.close()


def test_every_exit_is_told_as_of_any_process(world: World) -> None:
    ends = {
        "": (ExitReason.FINISHED, 0, ""),
        "sys.exit(3)": (ExitReason.FAILED, 3, ""),
        "sys.exit('by itself')": (ExitReason.FAILED, 1, ""),
        "1 / 0": (ExitReason.FAILED, 1, ""),
        "threading.Thread(target=lambda: (time.sleep(0.1), os._exit(4))).start()": (ExitReason.FAILED, 4, ""),
        "os.kill(os.getpid(), 9)": (ExitReason.KILLED, None, "SIGKILL"),
        "os.kill(os.getpid(), 11)": (ExitReason.KILLED, None, "SIGSEGV"),
        "os.kill(os.getpid(), 15)": (ExitReason.KILLED, None, "SIGTERM"),
    }
    told = [(code, world.run(code)) for code in ends]
    assert {code: (ended.reason, ended.exit_code, ended.signal) for code, ended in told} == ends
    tails = {code: ended.tail for code, ended in told if ended.tail}
    assert list(tails) == ["sys.exit('by itself')", "1 / 0"]
    assert tails["sys.exit('by itself')"] == "by itself"
    assert tails["1 / 0"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("end", ["sys.exit(3)", "1 / 0", ""])
def test_what_is_registered_for_its_end_is_done_however_it_ends(world: World, end: str) -> None:
    world.run(f"import atexit; atexit.register(print, 'the last word'); {end}")
    assert world.lines[-1:] == ["the last word"]


def test_it_is_a_process_as_if_newly_started_but_has_its_modules(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAID", "gr\udcffn")
    ended = world.run("told()", "an argument", "ü\udcff", env={"GIVEN": "x"}, yields=3)
    first = json.loads(world.lines[0])
    world.run("told()")
    second = json.loads(world.lines[0])
    assert first["imported_by"] == second["imported_by"] == world.nursery.pid
    assert first["pid"] == first["session"] == ended.pid
    assert first["arguments"] == ["an argument", "ü\udcff"]
    assert (first["environment"]["SAID"], first["environment"]["GIVEN"]) == ("gr\udcffn", "x")
    assert ("GIVEN" in second["environment"], second["niceness"]) == (False, first["niceness"] - 3)
    assert first["folder"] == str(tmp_path)
    assert len(first["files"]) == 4, "the standard ones, and the lifeline"
    assert (first["threads"], first["masked"], first["interrupts"]) == (1, [], True)
    assert set(first["signals"]) == {str(signal.Handlers.SIG_DFL)}
    assert first["random"] != second["random"]


@pytest.mark.parametrize("length", [1, 100_000], ids=["as it is", "as far as there is room"])
def test_lists_of_processes_show_what_it_runs(world: World, length: int) -> None:
    process = world.start(role("until_asked()", "x" * length))
    assert f"{sys.executable} -m {MODULE} until_asked() x" in " ".join(process.cmdline())


def test_it_stops_when_it_is_asked_and_its_session_is_killed_with_it(world: World) -> None:
    process = world.start(role("os.fork() and until_asked() or time.sleep(60)"))
    (helper,) = process.children()
    (ended,) = world.supervisor.stop(SECONDS)
    assert (ended.reason, ended.exit_code) == (ExitReason.CANCELLED, 128 + signal.SIGTERM)
    eventually(helper.is_running, until=lambda alive: not alive)


def test_it_ends_with_its_supervisor_and_so_does_the_template(world: World) -> None:
    process = world.start(role("until_asked()"))
    lifeline = world.supervisor._lifeline_held
    os.dup2(os.open(os.devnull, os.O_RDONLY), lifeline)  # closes it, as the kernel does when the supervisor dies
    (ended,) = world.supervisor.poll(SECONDS)
    assert (ended.pid, ended.exit_code) == (process.pid, 128 + signal.SIGTERM)
    world.nursery.close()
    assert not world.template.is_running()


def test_signals_to_all_leave_the_template_to_its_supervisor(world: World) -> None:
    world.run("")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        world.template.send_signal(number)
    assert world.run("").exit_code == 0


def test_where_the_template_is_killed_its_roles_are_too_and_are_started_again_without_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    process = world.start(role("until_asked()"))
    world.lines.clear()
    world.template.kill()
    (ended,) = world.supervisor.poll(SECONDS)
    assert (ended.pid, ended.reason, ended.signal) == (process.pid, ExitReason.KILLED, "SIGKILL")
    assert "restart 1" in ended.detail
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "never two at a time"
    world.until_ready()
    successor = psutil.Process(world.supervisor.running()["role"])
    assert successor.parent() == psutil.Process()


def test_where_the_template_is_killed_before_the_first_role_that_starts_without_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    world.template.kill()
    eventually(lambda: world.template.status() == psutil.STATUS_ZOMBIE)
    for name in ("one", "other"):
        process = world.start(role("until_asked()", name=name))
        assert process.parent() == psutil.Process()


def test_a_process_that_the_system_refuses_is_told_and_the_template_goes_on(world: World) -> None:
    process = world.start(role("until_asked()"))
    limits = world.template.rlimit(psutil.RLIMIT_NOFILE)
    world.template.rlimit(psutil.RLIMIT_NOFILE, (3, limits[1]))
    with pytest.raises(ServiceError, match="can't be started"):
        world.supervisor.start(role("", name="other"))
    world.template.rlimit(psutil.RLIMIT_NOFILE, limits)
    other = world.start(role("until_asked()", name="other"))
    assert process.parent() == other.parent() == world.template


def test_where_there_is_a_second_thread_nothing_is_forked() -> None:
    end = threading.Event()
    (second := threading.Thread(target=end.wait)).start()
    assert Nursery.fork([MODULE]) is None
    end.set()
    second.join()


def test_what_the_commands_let_a_template_import_starts_no_thread_and_opens_no_file() -> None:
    script = (
        "import importlib, os, sys; held = os.listdir('/proc/self/fd')\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')), os.listdir('/proc/self/fd') == held)"
    )
    modules = ("tallystick.cli.load", *warm.IMPORTED, *warm.IMPORTED_FOR_MEDIA)
    done = subprocess.run([sys.executable, "-c", script, *modules], capture_output=True, text=True, check=False)
    assert done.stdout == "1 True\n", done.stderr


def test_only_its_modules_are_started(world: World) -> None:
    argv = role("").argv
    assert world.nursery.starts(argv)
    assert not world.nursery.starts((sys.executable, "-m", "tallystick.cli.run"))
    assert not world.nursery.starts((sys.executable, "-c", ""))
    assert not world.nursery.starts(("/bin/python", *argv[1:]))
