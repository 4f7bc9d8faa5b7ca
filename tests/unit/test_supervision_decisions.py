"""What an exit is called, and what follows it: the tables."""

import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.supervision.exits import Exit, ExitReason, classify, signal_name
from tallystick.supervision.memory import OutOfMemoryKills
from tallystick.supervision.restarting import Decision, Done, GiveUp, Restart, RestartPolicy, RoleSpec

POLICY = RestartPolicy(first_seconds=0.2, longest_seconds=10.0, steady_seconds=60.0)
ENDLESS = RoleSpec("sink", ("sink",), max_restarts=3)
ONE_SHOT = RoleSpec("reader", ("reader",), one_shot=True, max_restarts=3)


def ended(code: int, *, ran: float = 1.0, reason: ExitReason | None = None) -> Exit:
    return Exit(
        role="role",
        pid=1,
        reason=reason or classify(code, asked=False, out_of_memory=False),
        exit_code=code if code >= 0 else None,
        signal=signal_name(code),
        at="2024-01-01T00:00:00.000000Z",
        ran_seconds=ran,
        tail="",
    )


@pytest.mark.parametrize(
    ("code", "asked", "out_of_memory", "reason"),
    [
        pytest.param(0, False, False, "finished", id="a return nobody asked for is finished"),
        pytest.param(1, False, False, "failed", id="another exit code is a failure"),
        pytest.param(70, True, False, "failed", id="a failure while it was being stopped stays a failure"),
        pytest.param(0, True, False, "cancelled", id="asked, and returned"),
        pytest.param(-signal.SIGTERM, True, False, "cancelled", id="asked, and ended by the signal that asked"),
        pytest.param(143, False, False, "cancelled", id="asked by somebody else, and says so by 143"),
        pytest.param(130, False, False, "cancelled", id="asked by Ctrl-C, and says so by 130"),
        pytest.param(-signal.SIGTERM, False, False, "killed", id="a signal from somebody else kills"),
        pytest.param(-signal.SIGSEGV, True, False, "killed", id="a crash is no answer to being asked"),
        pytest.param(-signal.SIGKILL, True, False, "killed", id="SIGKILL after being asked"),
        pytest.param(-signal.SIGKILL, False, True, "out_of_memory", id="SIGKILL that the kernel counted"),
        pytest.param(-signal.SIGTERM, False, True, "killed", id="only SIGKILL can be for want of memory"),
    ],
)
def test_the_reason_of_an_exit(code: int, asked: bool, out_of_memory: bool, reason: str) -> None:
    assert classify(code, asked=asked, out_of_memory=out_of_memory) == reason


@pytest.mark.parametrize(
    ("code", "asked", "reason"),
    [
        pytest.param(0, False, "finished", id="done"),
        pytest.param(3, False, "finished", id="done, and says more by its code"),
        pytest.param(3, True, "cancelled", id="asked, and came to its end"),
        pytest.param(4, False, "failed", id="another code"),
    ],
)
def test_a_role_may_have_several_codes_for_being_done(code: int, asked: bool, reason: str) -> None:
    assert classify(code, asked=asked, out_of_memory=False, done_codes=(0, 3)) == reason


@pytest.mark.parametrize(
    ("spec", "exit_", "restarts", "expected"),
    [
        pytest.param(ONE_SHOT, ended(0), 0, Done(), id="a one-shot that has finished is done"),
        pytest.param(ENDLESS, ended(0), 0, Restart(0.2, 1), id="an endless role that returns cleanly is started again"),
        pytest.param(ONE_SHOT, ended(1), 0, Restart(0.2, 1), id="a one-shot that failed is started again"),
        pytest.param(ONE_SHOT, ended(143), 0, Restart(0.2, 1), id="a one-shot that somebody else stopped is not done"),
        pytest.param(ENDLESS, ended(-9), 1, Restart(0.4, 2), id="the wait doubles"),
        pytest.param(ENDLESS, ended(1), 3, GiveUp("given up after 3 restarts"), id="restarts in a row are bounded"),
        pytest.param(ENDLESS, ended(1, ran=60.0), 3, Restart(0.2, 1), id="a role that ran steadily starts over"),
        pytest.param(
            RoleSpec("r", ("r",), max_restarts=9), ended(1), 8, Restart(5.0, 9), id="the wait is bounded as well"
        ),
        pytest.param(
            RoleSpec("r", ("r",), max_restarts=None),
            ended(1),
            10_000,
            Restart(5.0, 10_001),
            id="without a limit it is never given up",
        ),
    ],
)
def test_what_follows_an_exit(spec: RoleSpec, exit_: Exit, restarts: int, expected: Decision) -> None:
    assert POLICY.decide(spec, exit_, restarts=restarts, jitter=0.0) == expected


@pytest.mark.parametrize("code", [pytest.param(2, id="usage"), pytest.param(78, id="configuration")])
@pytest.mark.parametrize("spec", [pytest.param(ONE_SHOT, id="one-shot"), pytest.param(ENDLESS, id="endless")])
def test_what_another_try_cannot_help_is_final(spec: RoleSpec, code: int) -> None:
    decision = POLICY.decide(spec, ended(code), restarts=0, jitter=0.0)
    assert isinstance(decision, GiveUp)
    assert f"exit code {code}" in decision.reason


@settings(max_examples=50)
@given(restarts=st.integers(0, 99), jitter=st.floats(0, 1))
def test_every_wait_lies_between_the_first_and_the_longest(restarts: int, jitter: float) -> None:
    spec = RoleSpec("r", ("r",), max_restarts=100)
    decision = POLICY.decide(spec, ended(1), restarts=restarts, jitter=jitter)
    assert isinstance(decision, Restart)
    assert 0.2 <= decision.after_seconds <= 10.0


def test_each_out_of_memory_kill_is_attributed_once(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 3\n")
    kills = OutOfMemoryKills(events)
    assert not kills.attribute()
    events.write_text("low 0\noom 5\noom_kill 5\n")
    assert [kills.attribute() for _ in range(3)] == [True, True, False]


def test_nothing_is_attributed_where_the_kernel_does_not_count(tmp_path: Path) -> None:
    assert not OutOfMemoryKills(tmp_path / "absent").attribute()
