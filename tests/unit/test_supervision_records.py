"""What is kept of tasks: how one stands after each start and end, in files, in Kafka's topic, and after a SIGKILL."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.cli.tasks import as_it_is, standing_as_dict, tasks_table
from tallystick.cli.terminal import console
from tallystick.contracts.tasks import TaskExit, decode
from tallystick.errors import ServiceError
from tallystick.kafka.publisher import Delivered
from tallystick.settings import Settings
from tallystick.supervision.exit_files import ExitFiles, file_name
from tallystick.supervision.exit_topic import RETRY_SECONDS, ExitTopic
from tallystick.supervision.exits import Exit, ExitReason
from tallystick.supervision.identity import ProcessIdentity, identify, is_gone
from tallystick.supervision.records import Records
from tallystick.supervision.restarting import Decision, Done, GiveUp, Restart, RoleSpec
from tallystick.supervision.standing import FOUND_OUT, Condition, TaskStanding, after, begun
from tests.support import eventually

TASK = "atproto/firehose/bsky.network"
SPEC = RoleSpec("firehose", ("firehose",), task=TASK)
ME = ProcessIdentity("host", 1, "1", "boot")
T = "2026-11-26T10:00:0{}.000000Z".format


def ended(code: int = 1, *, at: str = T(1), detail: str = "", tail: str = "") -> Exit:
    return Exit(
        role=SPEC.name,
        pid=7,
        reason=ExitReason.FAILED if code > 0 else ExitReason.KILLED if code else ExitReason.FINISHED,
        exit_code=code if code >= 0 else None,
        signal=signal.Signals(-code).name if code < 0 else "",
        at=at,
        ran_seconds=1.5,
        tail=tail,
        detail=detail,
    )


def exit_(at: str = T(1), task: str = TASK) -> TaskExit:
    return TaskExit(task=task, host="host", pid=7, reason="failed", at=at, ran_seconds=1.0, exit_code=1)


def running(**changes: Any) -> TaskStanding:
    return msgspec.structs.replace(begun(None, SPEC, ME, supervisor=ME, at=T(0)), **changes)


@pytest.mark.parametrize(
    ("follows", "condition", "restarts", "troubled_since"),
    [
        pytest.param(None, Condition.STOPPED, 0, "", id="asked to stop"),
        pytest.param(Done(), Condition.DONE, 0, "", id="a one-shot that is done is no fault"),
        pytest.param(Restart(0.2, 1), Condition.RESTARTING, 1, T(1), id="trouble begins with the first exit in a row"),
        pytest.param(GiveUp("why"), Condition.GIVEN_UP, 0, T(1), id="given up"),
    ],
)
def test_what_follows_an_exit_is_how_a_task_stands(
    follows: Decision | None, condition: Condition, restarts: int, troubled_since: str
) -> None:
    found = after(running(), exit_(), follows)
    assert (found.condition, found.restarts, found.troubled_since, found.since) == (
        condition,
        restarts,
        troubled_since,
        T(1),
    )
    assert found.last == exit_()


def test_trouble_lasts_over_restarts_and_begins_anew_after_a_steady_run() -> None:
    first = after(running(), exit_(T(1)), Restart(0.2, 1))
    again = begun(first, SPEC, ME, supervisor=ME, at=T(2))
    assert (again.condition, again.restarts, again.troubled_since, again.last) == ("running", 1, T(1), first.last)
    assert after(again, exit_(T(3)), Restart(0.4, 2)).troubled_since == T(1)
    assert after(again, exit_(T(4)), Restart(0.2, 1)).troubled_since == T(4)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param("load/reader", "load--reader", id="a path"),
        pytest.param("atproto/firehose/localhost:2583", "atproto--firehose--localhost_2583", id="a port"),
        pytest.param("a/xn--bcher-kva", "a--xn--bcher-kva-", id="what could be another path has a digest"),
        pytest.param("a/b_c", "a--b_c-", id="what could be a port has one"),
        pytest.param("../../etc", "etc-", id="no way out of the folder"),
        pytest.param("a/\n\x1b[31m", "a--__", id="control characters"),
        pytest.param("x" * 300, "x" * 81 + "-", id="a long name is cut"),
        pytest.param("/", "task-", id="nothing usable"),
    ],
)
def test_every_task_has_a_file_of_its_own(task: str, name: str) -> None:
    found = file_name(task)
    assert found.startswith(name)
    assert found == name or len(found) > len(name)
    assert len(found) <= 90
    assert "/" not in found
    assert found[0].isalnum()


class FakeKafka:
    """Takes records; acknowledges them once it is `there`; refuses while `refuses`."""

    def __init__(self, *, there: bool = True) -> None:
        self.there, self.refuses, self.clients = there, False, 0
        self.got: list[TaskExit] = []
        self._queue: list[tuple[bytes, Delivered | None]] = []

    def client(self, _settings: Settings) -> "FakeKafka":
        self.clients += 1
        return self

    def send(self, topic: str, *, key: bytes, value: bytes, on_delivery: Delivered | None = None) -> None:
        assert topic == "task.exits"
        assert decode(value).task.encode() == key
        self._queue.append((value, on_delivery))

    def poll(self, _seconds: float = 0.0) -> None:
        if self.refuses:
            self._queue.clear()
            raise ServiceError("Kafka refused a record")
        while self.there and self._queue:
            value, on_delivery = self._queue.pop(0)
            self.got.append(decode(value))
            if on_delivery:
                on_delivery(0, len(self.got))


def topic(kafka: FakeKafka, **options: Any) -> tuple[ExitTopic, list[list[TaskExit]]]:
    kept: list[list[TaskExit]] = []
    return ExitTopic(Settings.model_construct(), keep=kept.append, make=kafka.client, **options), kept


def test_exits_wait_for_a_kafka_that_is_away_and_only_so_many() -> None:
    kafka = FakeKafka(there=False)
    exits, kept = topic(kafka, most=2)
    for number in range(3):
        exits.send([exit_(T(number))])
    assert (exits.waiting, kafka.got) == (2, [])
    assert not exits.close(0.0)
    assert [e.at for e in kept[-1]] == [T(0), T(1)]
    kafka.there = True
    exits.look()
    assert ([e.at for e in kafka.got], kept[-1], kafka.clients) == ([T(0), T(1)], [], 1)
    assert exits.close(0.0)


def test_a_refusal_ends_nobody_and_is_tried_again_later() -> None:
    kafka, time = FakeKafka(), [0.0]
    kafka.refuses = True
    exits, _ = topic(kafka, clock=lambda: time[0])
    exits.send([exit_()])
    exits.look()
    assert (exits.waiting, kafka.clients) == (1, 1)
    kafka.refuses, time[0] = False, RETRY_SECONDS
    exits.look()
    assert (exits.waiting, kafka.clients, kafka.got) == (0, 2, [exit_()])


def test_nothing_connects_to_kafka_before_the_first_exit() -> None:
    kafka = FakeKafka()
    exits, _ = topic(kafka)
    exits.look()
    assert exits.close(0.0)
    assert kafka.clients == 0


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def standing_of(home: Settings) -> TaskStanding:
    [found] = ExitFiles.of(home).read()
    return found


def test_a_task_leaves_its_record_in_its_file_in_kafka_and_on_the_board(home: Settings) -> None:
    kafka = FakeKafka()
    with Records(home, make_publisher=kafka.client) as records:
        records.started(SPEC, os.getpid(), restarts=0)
        assert standing_of(home).condition is Condition.RUNNING
        error = '{"event": "role ended", "error": "Kafka is away"}'
        records.ended(SPEC, ended(1, detail="restart 1 in 0.2 s", tail=error), Restart(0.2, 1))
        records.started(SPEC, os.getpid(), restarts=1)
        board = records.board
        assert board.tasks == {TASK: standing_of(home)}
        assert (board.exits, board.restarts) == ({(TASK, "failed"): 1}, {TASK: 1})
        records.ended(SPEC, ended(-9, at=T(3)), Restart(0.2, 2))
    assert [(e.exit_code, e.signal, e.error, e.next) for e in kafka.got] == [
        (1, "", "Kafka is away", "restart 1 in 0.2 s"),
        (None, "SIGKILL", "killed", ""),
    ]
    standing = standing_of(home)
    assert (standing.condition, standing.last) == (Condition.STOPPED, kafka.got[-1]), "nobody restarts it any more"
    assert as_it_is(standing) == standing


def test_what_kafka_never_got_is_sent_by_the_next_supervisor(home: Settings) -> None:
    files = ExitFiles.of(home)
    with files.held():
        files.keep_unsent([exit_()])
    kafka = FakeKafka()
    with Records(home, make_publisher=kafka.client):
        pass
    assert kafka.got == [exit_()]
    assert not list(files.folder.glob("unsent-*"))


@pytest.mark.parametrize(
    ("condition", "exits"),
    [
        pytest.param(Condition.RUNNING, 1, id="a task that ran"),
        pytest.param(Condition.RESTARTING, 0, id="a task that waited has ended before, which is known"),
        pytest.param(Condition.STOPPED, 0, id="a task that was stopped"),
    ],
)
def test_ends_that_nobody_saw_are_found_out_at_the_next_start(home: Settings, condition: Condition, exits: int) -> None:
    files, kafka = ExitFiles.of(home), FakeKafka()
    files.folder.mkdir(parents=True)
    files.write(running(condition=condition, restarts=3))
    with Records(home, make_publisher=kafka.client, gone=lambda _: True) as records:
        assert records.board.tasks == {}
        records.started(SPEC, os.getpid(), restarts=0)
        assert records.board.tasks[TASK].restarts == 0, "a new supervisor has restarted nothing yet"
    assert [(e.task, e.pid, e.reason, e.error) for e in kafka.got] == [(TASK, ME.pid, "killed", FOUND_OUT)] * exits
    assert standing_of(home).last == (kafka.got[0] if exits else None)


def test_a_process_that_outlives_its_supervisor_is_recorded_once_it_is_gone(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.supervision.records.ORPHANS_SECONDS", 0.0)
    files, kafka, supervisor = ExitFiles.of(home), FakeKafka(), ProcessIdentity("host", 2)
    files.folder.mkdir(parents=True)
    files.write(running(supervisor=supervisor))
    gone = {supervisor}
    with Records(home, make_publisher=kafka.client, gone=gone.__contains__) as records:
        records.look()
        records.started(SPEC, os.getpid(), restarts=0)
        assert kafka.got == []
        gone.add(ME)
        records.look()
        assert [e.error for e in kafka.got] == [FOUND_OUT]
        standing = records.board.tasks[TASK]
        assert (standing.condition, standing.process.pid, standing.last) == ("running", os.getpid(), kafka.got[0])


def test_of_two_supervisors_with_one_task_the_file_tells_of_the_one_that_runs(home: Settings) -> None:
    kafka = FakeKafka()
    with Records(home, make_publisher=kafka.client) as records:
        records.started(SPEC, os.getpid(), restarts=0)
        ExitFiles.of(home).write(running())
        records.ended(SPEC, ended(0), None)
    standing = standing_of(home)
    assert (standing.condition, standing.supervisor, standing.last) == (Condition.RUNNING, ME, kafka.got[0])


def test_a_supervisor_that_was_killed_is_found_out(home: Settings) -> None:
    script = f"""
import sys
from pathlib import Path
from tallystick.settings import Settings
from tallystick.supervision.records import Records
from tallystick.supervision.restarting import RoleSpec
from tallystick.supervision.supervisor import Supervisor
home = Settings(home=Path({str(home.home)!r}))
with Records(home) as records, Supervisor(
    on_exit=print, on_line=lambda _, line: print(line, flush=True), log_dir=home.home, watcher=records
) as supervisor:
    child = "import sys, os; print('ready', flush=True); os.read(int(os.environ['TALLY_LIFELINE_FD']), 1)"
    supervisor.start(RoleSpec("firehose", (sys.executable, "-c", child), task={TASK!r}))
    while True:
        supervisor.poll(10)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("ready" in line for line in process.stdout)
        process.kill()
        process.wait(20)
    before = standing_of(home)
    assert (before.condition, as_it_is(before).condition) == (Condition.RUNNING, Condition.LOST)
    eventually(lambda: is_gone(before.process))
    kafka = FakeKafka()
    with Records(home, make_publisher=kafka.client):
        pass
    [told] = kafka.got
    assert (told.task, told.pid, told.reason, told.error) == (TASK, before.process.pid, "killed", FOUND_OUT)
    assert standing_of(home).condition is Condition.LOST


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        pytest.param({}, False, id="it lives"),
        pytest.param({"started": "1"}, True, id="another process has its pid now"),
        pytest.param({"boot": "another"}, True, id="the machine was started again"),
        pytest.param({"host": "another"}, False, id="nothing is known of another host"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_process_is_known_again(change: dict[str, str], gone: bool) -> None:
    assert is_gone(msgspec.structs.replace(identify(os.getpid()), **change)) is gone


def test_a_process_that_is_not_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        identity = identify(process.pid)
        eventually(lambda: is_gone(identity))


@pytest.mark.parametrize("content", [b"", b"{", b'{"task": 1}'], ids=["empty", "cut", "wrong"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(home: Settings, content: bytes) -> None:
    files = ExitFiles.of(home)
    files.folder.mkdir(parents=True)
    (files.folder / f"{file_name(TASK)}.json").write_bytes(content)
    assert (files.read(), files.find(TASK)) == ([], None)


def test_a_home_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "exits").write_text("")
    with pytest.raises(ServiceError, match="TALLY_HOME"), Records(Settings(home=tmp_path)):
        pass


def test_a_file_that_cannot_be_written_ends_no_supervisor(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Records(home, make_publisher=FakeKafka().client) as records:
        monkeypatch.setattr(ExitFiles, "_replace", full)
        records.started(SPEC, os.getpid(), restarts=0)
        records.ended(SPEC, ended(0), Done())
        assert records.board.tasks[TASK].condition is Condition.DONE


def test_tasks_are_shown_with_escapes_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = msgspec.structs.replace(exit_(), error="\x1b[31mred\n" + "x" * 300, next="given up")
    standings = [running(), running(task="b\x1b", last=hostile, condition=Condition.GIVEN_UP)]
    console().print(tasks_table(standings))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [TASK, "running", "2026-11-26", "10:00:00Z", *["-"] * 6]
    assert "b\\x1b" in lines[2]
    assert "\\x1b[31mred\\nxxx" in lines[2]
    assert "…  given up" in lines[2]
    found = standing_as_dict(standings[1])
    assert (found["running"], found["condition"]) == (False, "given_up")
    assert found["last_exit"]["error"] == hostile.error  # type: ignore[index]
