"""The one retry policy: exponential back-off with jitter, for as long as the caller allows, every try logged."""

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from tallystick.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")


def retry(
    work: Callable[[], T],
    *,
    what: str,
    on: Callable[[BaseException], bool],
    longest_wait: float = 10.0,
    give_up_after: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `work` returns, trying again while `on` says that its exception is transient.

    Waits 0.1 s, then up to twice as long each time, at most `longest_wait` seconds. Raises the last exception where it
    is not transient, where `give_up_after` seconds have passed, or once `stop` returns True. `sleep` is called with
    the seconds to wait, for those that have something to keep alive meanwhile.
    """

    def give_up(state: tenacity.RetryCallState) -> bool:
        return stop() or (give_up_after is not None and (state.seconds_since_start or 0) >= give_up_after)

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("retrying", what=what, attempt=state.attempt_number, error=str(error).strip()[:500])

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(on),
        wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=longest_wait, jitter=0.1),
        stop=give_up,
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )(work)
