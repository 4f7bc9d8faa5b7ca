"""What follows an exit: a pure decision, so that it can be read and tested as a table."""

from typing import Protocol

import msgspec

from tallystick.supervision.exits import Exit, ExitReason

USAGE_CODE = 2
PARTIAL_CODE = 3
"""The exit code of a one-shot that has done its work, and whose outcomes name what failed."""
CONFIGURATION_CODE = 78
_FINAL = {
    PARTIAL_CODE: "exit code 3: done, with failures that its outcomes name",
    USAGE_CODE: "exit code 2: the command line is wrong, so another try can't help",
    CONFIGURATION_CODE: "exit code 78: the configuration is wrong, so another try can't help",
}


_MOST_DOUBLINGS = 30


class RoleSpec(msgspec.Struct, frozen=True):
    """One role: what to run, and how often it may be restarted in a row; without a limit where that is None.

    A `one_shot` is done once it returns with one of its `done_codes`; any other role has to run until it is stopped,
    and is restarted whatever its exit code. `env` is added to the environment of the supervisor. `yields` is added to
    its niceness (0 to 19): how far the role steps back where processors are short. `task` is what it is called in
    records of its ends, a path such as `load/reader`; its name where that is empty.
    """

    name: str
    argv: tuple[str, ...]
    one_shot: bool = False
    max_restarts: int | None = 5
    env: dict[str, str] = {}
    yields: int = 0
    task: str = ""
    done_codes: tuple[int, ...] = (0,)

    @property
    def path(self) -> str:
        """What the role is called in records of its ends."""
        return self.task or self.name


class Done(msgspec.Struct, frozen=True):
    """The role has done what it had to; nothing follows."""


class Restart(msgspec.Struct, frozen=True):
    """Start the role again in `after_seconds`; it is the `number`th restart in a row, from 1."""

    after_seconds: float
    number: int


class GiveUp(msgspec.Struct, frozen=True):
    """The role is not started again. `reason` is a sentence for people."""

    reason: str


Decision = Done | Restart | GiveUp


class Policy(Protocol):
    """Decides what follows the end of a process that nobody had asked to stop."""

    def decide(self, spec: RoleSpec, ended: Exit, *, restarts: int, jitter: float) -> Decision:
        """Return what follows `ended` after `restarts` restarts in a row; `jitter` is random, from 0 to 1."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """Exponential back-off with jitter: each wait is drawn between half of a bound and the bound, which doubles.

    The first wait is at least `first_seconds`, none is above `longest_seconds`. A role that has run for
    `steady_seconds` starts over with its count of restarts.
    """

    first_seconds: float = 0.2
    longest_seconds: float = 10.0
    steady_seconds: float = 60.0

    def decide(self, spec: RoleSpec, ended: Exit, *, restarts: int, jitter: float) -> Decision:
        """See `Policy`."""
        if ended.reason is ExitReason.FINISHED and spec.one_shot:
            return Done()
        if ended.exit_code in _FINAL:
            return GiveUp(_FINAL[ended.exit_code])
        used = 0 if ended.ran_seconds >= self.steady_seconds else restarts
        if spec.max_restarts is not None and used >= spec.max_restarts:
            return GiveUp(f"given up after {used} restarts")
        bound = min(self.longest_seconds, self.first_seconds * 2 ** min(used + 1, _MOST_DOUBLINGS))
        return Restart(after_seconds=bound * (1 + jitter) / 2, number=used + 1)


SERVICE_POLICY = RestartPolicy(longest_seconds=60.0)
"""How roles are restarted that are never given up: what they lack may be away for long."""
