"""The process of one stage: started, listened to, killed where it hangs; and what came of it."""

import signal
import sys
import time
from collections.abc import Callable

import msgspec

from producers.media.claiming import StageClaim, decode_told
from tallystick.cli.warm import nursery
from tallystick.contracts.media import CLAIMING, ExitCode
from tallystick.contracts.stages import Command
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit, ExitReason, last_words
from tallystick.supervision.restarting import Decision, Done, GiveUp, RoleSpec
from tallystick.supervision.standing import Watcher
from tallystick.supervision.supervisor import Supervisor

log = get_logger(__name__)

LOOK_SECONDS = 0.2
LEASE = "stage"
"""What the lease of who works on a medium is called."""
_UNEXPECTED = 70
_MEANINGS = {
    ExitCode.USAGE: "its command line is wrong",
    ExitCode.PRECONDITION: "something is missing that it needs",
    ExitCode.LOCKED: "another run has taken the medium over",
    ExitCode.UNVERIFIED: "what was claimed was not found",
    ExitCode.MALFORMED: "what it reads is malformed",
}
"""What a stage says by the exit codes with which it has failed; see `ExitCode`."""

Argv = Callable[[Command, int], tuple[str, ...]]


def stage_argv(command: Command, run: int) -> tuple[str, ...]:
    """Return the command line of a stage's process."""
    return (
        sys.executable,
        "-m",
        "tallystick.cli.run",
        "media-stage",
        command.stage,
        command.source,
        f"--attempt={command.attempt}",
        f"--run={run}",
    )


class Ended(msgspec.Struct, frozen=True):
    """How the process of a stage ended: its exit code (negative for a signal), its claim, and why it failed."""

    code: int
    seconds: float
    claim: StageClaim | None
    reason: str
    hung: bool = False
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether it ended as a stage does that has done its work, and has claimed what it did."""
        return self.claim is not None and self.code in CLAIMING and not self.hung

    @property
    def may_help(self) -> bool:
        """Whether another try may end otherwise."""
        return self.hung or self.code < 0 or self.code == _UNEXPECTED


def stage_spec(worker: str, argv: tuple[str, ...], *, task: str) -> RoleSpec:
    """Return the role of a stage's process; `worker` names its log, `task` is what the records of its ends call it."""
    return RoleSpec(f"media-stage-{worker}", argv, one_shot=True, task=task, done_codes=CLAIMING)


def run_process(
    settings: Settings, spec: RoleSpec, mind: Callable[[], None], *, watcher: Watcher, tries_left: int
) -> Ended:
    """Run a stage's process to its end, and return what came of it.

    `mind` is called often meanwhile; what it raises stops the process. `watcher` is told of start and end, and that
    another try may follow where some are left.
    """
    said = _Said()
    exits: list[Exit] = []
    started = time.monotonic()
    hung = False
    with Supervisor(
        on_exit=exits.append,
        on_line=said.take,
        log_dir=settings.home / "logs",
        nursery=nursery(),
        policy=_Ends(said, tries_left),
        watcher=watcher,
    ) as supervisor:
        supervisor.start(spec)
        while not exits and not hung:
            supervisor.poll(LOOK_SECONDS)
            mind()
            hung = time.monotonic() - said.moved_at > settings.media.silence_seconds
        if hung:
            supervisor.stop(why=f"stopped, as nothing new came of it for {settings.media.silence_seconds:g} s")
    return _ended(exits[0], said, time.monotonic() - started, hung=hung)


class _Said:
    """What a stage's process has said so far."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self.claim: StageClaim | None = None
        self._at = -1

    def take(self, _role: str, line: str) -> None:
        try:
            told = decode_told(line)
        except msgspec.MsgspecError:
            log.warning("a stage's process printed what is no word of a stage", line=line[:200])
            return
        self.claim = told.claim or self.claim
        if told.at != self._at:
            self._at, self.moved_at = told.at, time.monotonic()


class _Ends:
    """Tells what follows the end of a stage's process; its worker sees to it, with a lease of its own for each try."""

    def __init__(self, said: _Said, tries_left: int) -> None:
        self._said, self._tries_left = said, tries_left

    def decide(self, spec: RoleSpec, ended: Exit, *, restarts: int, jitter: float) -> Decision:  # noqa: ARG002
        """See `Policy`."""
        found = _ended(ended, self._said, ended.ran_seconds, hung=False)
        if found.succeeded:
            return Done()
        if found.may_help and self._tries_left:
            return GiveUp(f"another try follows, {self._tries_left} at most")
        meaning = found.reason if found.code in CLAIMING else _MEANINGS.get(found.code, "")
        return GiveUp(f"the stage has failed: {meaning}" if meaning else "the stage has failed")


def _ended(found: Exit, said: _Said, seconds: float, *, hung: bool) -> Ended:
    code = found.exit_code if found.exit_code is not None else -_number(found.signal)
    if hung:
        reason = f"timeout: nothing new for {seconds:.0f} s, so its process was killed"
    elif code in CLAIMING:
        reason = "" if said.claim else f"exit code {code}, but it claimed nothing"
    else:
        how = f"killed by {found.signal}" if found.signal else f"exit code {code}"
        reason = f"{how}: {last_words(found)}"
    return Ended(
        code, seconds, said.claim, reason, hung=hung, cancelled=found.reason is ExitReason.CANCELLED and not hung
    )


def _number(name: str) -> int:
    return signal.Signals[name].value if name in signal.Signals.__members__ else 0
