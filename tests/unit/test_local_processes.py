"""Processes of the local stack: detached, and known again by pid and time of creation."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tallystick.errors import ServiceError
from tallystick.local import processes
from tallystick.local.processes import Identity

SLEEP = "import time; time.sleep(120)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Identity]:
    """A detached process that is named by the argument `tmp_path`."""
    argv = [sys.executable, "-c", SLEEP, str(tmp_path)]
    identity = processes.start(argv, folder=tmp_path, log=tmp_path / "log")
    assert identity is not None
    yield identity
    if processes.is_alive(identity):
        os.kill(identity.pid, signal.SIGKILL)


def myself() -> Identity:
    identity = processes.identify(os.getpid())
    assert identity is not None
    return identity


@pytest.mark.parametrize(
    ("seconds_off", "alive"),
    [
        pytest.param(0.0, True, id="the same time of creation is the same process"),
        pytest.param(1.0, True, id="a corrected clock does not make another process of it"),
        pytest.param(-60.0, False, id="a pid that was given to a later process is dead"),
    ],
)
def test_a_process_is_its_pid_and_its_time_of_creation(tmp_path: Path, seconds_off: float, alive: bool) -> None:
    record = tmp_path / "server.pid"
    identity = Identity(pid=os.getpid(), created=myself().created + seconds_off)
    processes.remember(record, identity)
    assert processes.is_alive(identity) is alive
    assert processes.recorded(record) == (identity if alive else None)


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert processes.identify(child.pid) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="there is no pid file"),
        pytest.param(b"", id="it is empty"),
        pytest.param(b"12", id="it is something else"),
    ],
)
def test_without_a_pid_file_nothing_is_recorded(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "server.pid").write_bytes(content)
    assert processes.recorded(tmp_path / "server.pid") is None


def test_a_server_has_a_session_of_its_own_and_is_nobodys_child(server: Identity) -> None:
    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)
    assert psutil.Process(server.pid).ppid() != os.getpid()


def test_a_server_inherits_no_descriptor_and_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_DATABASE__URL", "postgresql://me:secret@host/name")
    show = "import os, sys; print(sys.stdin.read(), sorted(os.listdir('/dev/fd')), 'TALLY_DATABASE__URL' in os.environ)"
    log = tmp_path / "log"
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        processes.start([sys.executable, "-c", show], folder=tmp_path, log=log)
        assert processes.wait_until(lambda: log.read_text().endswith("\n"), seconds=20)
    # 3 is the descriptor of the listing itself.
    assert log.read_text().strip() == "['0', '1', '2', '3'] False"


def test_a_server_is_found_by_its_command_line_and_working_folder(server: Identity, tmp_path: Path) -> None:
    assert processes.wait_until(lambda: processes.find(SLEEP, str(tmp_path)) is not None, seconds=20)
    found = processes.find(SLEEP, str(tmp_path))
    assert found is not None
    assert found.pid == server.pid
    assert processes.find(SLEEP, str(tmp_path / "other")) is None
    assert [identity.pid for identity in processes.working_in(tmp_path)] == [server.pid]


def test_stopping_waits_for_the_end(server: Identity) -> None:
    processes.stop(server, name="server", how=signal.SIGTERM, seconds=20)
    assert not processes.is_alive(server)
    processes.stop(server, name="server", how=signal.SIGTERM, seconds=20)


def test_a_server_that_does_not_stop_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
    log = tmp_path / "log"
    identity = processes.start([sys.executable, "-c", deaf], folder=tmp_path, log=log)
    assert identity is not None
    try:
        assert processes.wait_until(lambda: "deaf" in log.read_text(), seconds=20)
        with pytest.raises(ServiceError, match=f"kill -9 {identity.pid}"):
            processes.stop(identity, name="server", how=signal.SIGTERM, seconds=0.2)
    finally:
        os.kill(identity.pid, signal.SIGKILL)


def test_a_long_log_is_put_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 10)
    log = tmp_path / "log"
    log.write_text("a line of the past\n")
    processes.start([sys.executable, "-c", "print('new')"], folder=tmp_path, log=log)
    assert processes.wait_until(lambda: log.read_text() == "new\n", seconds=20)
    assert (tmp_path / "log.1").read_text() == "a line of the past\n"


@pytest.mark.parametrize(
    ("content", "end"),
    [
        pytest.param(None, "", id="no log"),
        pytest.param("a\nb\nc\n", "  b\n  c", id="the last lines, indented"),
    ],
)
def test_the_end_of_a_log(tmp_path: Path, content: str | None, end: str) -> None:
    if content is not None:
        (tmp_path / "log").write_text(content)
    assert processes.tail(tmp_path / "log", lines=2) == end
