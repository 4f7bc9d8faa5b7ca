"""Inside a role's process: one flag that says when to stop, whoever asks for it, and a lifeline to the supervisor."""

import contextvars
import os
import select
import signal
import threading
import time
from types import FrameType

from tallystick.errors import ConfigurationError
from tallystick.logs import get_logger

LIFELINE_VARIABLE = "TALLY_LIFELINE_FD"
"""The environment variable that holds the number of the inherited pipe; nothing is written to it, only its end counts.

The supervisor alone holds the pipe's other end, so that it is closed however the supervisor dies.
"""
TASK_VARIABLE = "TALLY_TASK"
"""The environment variable that holds what the process is called in the records of its ends (`RoleSpec.path`)."""
OVERDUE_CODE = 70
GRACE_SECONDS = 20.0

log = get_logger(__name__)


class StopFlag:
    """Tells whether the process has been asked to stop: `while not stop(): …`.

    A pipe rather than `threading.Event`, whose lock a signal handler must not take.
    """

    def __init__(self) -> None:
        self._reason, self._signal = "", signal.SIGTERM
        self._asked, self._ask = os.pipe()

    def __call__(self) -> bool:
        """Return True once somebody has asked."""
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Who asked, in words; empty before that."""
        return self._reason

    @property
    def exit_code(self) -> int:
        """The exit code that says that the process stopped because it was asked to: 143, or 130 after Ctrl-C."""
        return 128 + self._signal

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; return True as soon as somebody has asked. Any thread may wait."""
        poller = select.poll()
        poller.register(self._asked, select.POLLIN)
        return bool(poller.poll(max(seconds, 0) * 1000))

    def request(self, reason: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to stop; the first reason stays. Safe in a signal handler and in any thread."""
        if not self._reason:
            self._reason, self._signal = reason, number
            os.write(self._ask, b".")


def install(*, grace_seconds: float = GRACE_SECONDS) -> StopFlag:
    """Return the stop flag of this process, which SIGTERM, SIGINT and the end of the supervisor set. Main thread only.

    When the supervisor ends, this process sends itself SIGTERM, for those who have replaced the handler; if it still
    runs `grace_seconds` later it ends at once with exit code 70. A second Ctrl-C raises KeyboardInterrupt as usual.
    Raises ConfigurationError where the environment names a lifeline that is not open.
    """
    flag = StopFlag()

    def asked(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number)
        flag.request(name.name, name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    # Not for this process's own children: the number means nothing to them.
    if (inherited := os.environ.pop(LIFELINE_VARIABLE, None)) is not None:
        lifeline = _open_lifeline(inherited)
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(_watch, lifeline, flag, grace_seconds), name="lifeline", daemon=True
        ).start()
    return flag


def own_task(otherwise: str) -> str:
    """Return what this process is called in the records of its ends; `otherwise` where nobody supervises it."""
    return os.environ.get(TASK_VARIABLE) or otherwise


def _open_lifeline(inherited: str) -> int:
    try:
        lifeline = int(inherited)
        os.set_inheritable(lifeline, False)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{LIFELINE_VARIABLE}={inherited} is not an open pipe; unset it: {error}") from error
    return lifeline


def _watch(lifeline: int, flag: StopFlag, grace_seconds: float) -> None:
    while os.read(lifeline, 1):
        pass
    os.close(lifeline)
    flag.request("the supervisor has ended")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    try:
        log.error("role overdue", reason=flag.reason, waited_seconds=grace_seconds, exit_code=OVERDUE_CODE)
    finally:  # even where nobody is left to read the log
        os._exit(OVERDUE_CODE)
