"""The frame of every role's process: logging, the stop flag, and one line at the end that says why it ended."""

import faulthandler
import gc
import time
from collections.abc import Callable, Collection

from tallystick import logs
from tallystick.errors import ConfigurationError, TallyError, UsageError
from tallystick.settings import Settings, load_settings
from tallystick.supervision.child import StopFlag, install
from tallystick.supervision.exits import ExitReason, classify
from tallystick.supervision.restarting import CONFIGURATION_CODE, USAGE_CODE

ERROR_CODE = 1
INTERRUPTED_CODE = 130
UNEXPECTED_CODE = 70

Work = Callable[[StopFlag], int | None]

log = logs.get_logger(__name__)


def run_role(role: str, work: Work, *, done_codes: Collection[int] = (0,)) -> int:
    """Run `work` as `role` in this process, and return the exit code to end with. Never raises.

    `work` returns its exit code, or None: 0 where it came to its end, and where it was asked to stop 143 (130 after
    Ctrl-C), so that a supervisor never takes a one-shot that was stopped for one that is done.
    `done_codes` are those with which it has done its work; any other is told as a failure.
    UsageError becomes 2, ConfigurationError 78, any other TallyError 1, anything else 70 with its traceback in the log.
    The last line of the log is always `role ended`, with reason, exit code and seconds.
    """
    faulthandler.enable()
    _relieve_collector()
    started = time.monotonic()
    stop: StopFlag | None = None
    error: BaseException | None = None
    try:
        # Until the settings are known, so that the words about wrong settings are written as every other line.
        logs.configure(Settings.model_construct(), role=role)
        logs.configure(load_settings(), role=role)
        stop = install()
        code = _code(work(stop), stop)
    except SystemExit as stopped:
        code = _system_exit_code(stopped)
        error = stopped if isinstance(stopped.code, str) else None
    except BaseException as raised:  # noqa: BLE001  (the last frame: what passes here would end without a word)
        code, error = error_code(raised), raised
    reason = classify(code, asked=bool(stop and stop()), out_of_memory=False, done_codes=done_codes)
    tell = log.info if reason in {ExitReason.FINISHED, ExitReason.CANCELLED} else log.error
    tell(
        "role ended",
        reason=str(reason),
        exit_code=code,
        seconds=round(time.monotonic() - started, 3),
        asked_by=stop.reason if stop else "",
        error=str(error or ""),
        exc_info=error if code == UNEXPECTED_CODE else None,
    )
    return code


def error_code(error: BaseException) -> int:
    """Return the exit code that stands for `error`."""
    if isinstance(error, UsageError):
        return USAGE_CODE
    if isinstance(error, ConfigurationError):
        return CONFIGURATION_CODE
    if isinstance(error, TallyError):
        return ERROR_CODE
    return INTERRUPTED_CODE if isinstance(error, KeyboardInterrupt) else UNEXPECTED_CODE


def _relieve_collector() -> None:
    """Let the garbage collector look more rarely, and never at what has been imported so far.

    A batch is hundreds of thousands of objects, none of them in a cycle: the collector, which looks at them again for
    every 700 new ones, would cost as much as their decoding.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _code(returned: int | None, stop: StopFlag) -> int:
    if returned is not None:
        return returned
    return stop.exit_code if stop() else 0


def _system_exit_code(stopped: SystemExit) -> int:
    if isinstance(stopped.code, int):
        return stopped.code
    return 0 if stopped.code is None else ERROR_CODE
