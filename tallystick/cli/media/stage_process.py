"""The process of one stage: started, listened to, killed where it hangs; and what came of it."""

import signal
import sys
import time
from collections.abc import Callable

import msgspec

from producers.media.claiming import StageClaim, decode_told
from tallystick.cli.warm import nursery
from tallystick.contracts.media import CLAIMING
from tallystick.contracts.stages import Command
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit, ExitReason, last_words
from tallystick.supervision.restarting import RoleSpec
from tallystick.supervision.supervisor import Supervisor

log = get_logger(__name__)

LOOK_SECONDS = 0.2
LEASE = "stage"
"""What the lease of who works on a medium is called."""
_UNEXPECTED = 70


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


def run_process(settings: Settings, worker: str, argv: tuple[str, ...], mind: Callable[[], None]) -> Ended:
    """Run a stage's process to its end, and return what came of it.

    `worker` names its log. `mind` is called often meanwhile; what it raises stops the process.
    """
    said = _Said()
    exits: list[Exit] = []
    spec = RoleSpec(f"media-stage-{worker}", argv, one_shot=True, max_restarts=0)
    started = time.monotonic()
    hung = False
    with Supervisor(
        on_exit=exits.append, on_line=said.take, log_dir=settings.home / "logs", nursery=nursery()
    ) as supervisor:
        supervisor.start(spec)
        while not exits and not hung:
            supervisor.poll(LOOK_SECONDS)
            mind()
            hung = time.monotonic() - said.moved_at > settings.media.silence_seconds
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
