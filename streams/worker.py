"""The Faust worker as a role: runs the agents until it is told to stop, and says by its exit code if it crashed."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import IO, Any

import faust
import uvloop

from streams.app import make_app
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STOP_SECONDS = 5.0
"""How long a stop may take. Faust hangs when it is told to stop while it starts or recovers."""


class _Worker(faust.Worker):
    """Faust's worker with Tallystick's logging instead of its own, and with a stop that comes to an end.

    Leaving at once is safe at any moment: what has not been acknowledged is repeated by whoever holds the
    partitions next.
    """

    def __init__(self, app: faust.App, *, stop: Callable[[], bool]) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, loop=asyncio.get_event_loop())
        self.spinner = None
        self._asked_to_stop = stop

    async def on_first_start(self) -> None:
        """Start, and heed a request to stop that came before Faust's own signal handlers were there."""
        await super().on_first_start()
        if self._asked_to_stop():
            self._schedule_shutdown(signal.SIGTERM)

    def _setup_logging(self) -> None:
        for name in ("faust", "aiokafka", "mode"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def _say(self, msg: str, file: IO[Any] | None = None, end: str = "\n", **_: Any) -> None:  # noqa: ARG002
        logging.getLogger("faust").info(msg)

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.loop.call_later(STOP_SECONDS, _leave)
        super()._schedule_shutdown(signal)


def _leave() -> None:
    log.warning("left without a full stop", seconds=STOP_SECONDS)
    os._exit(0)


def run_agents(settings: Settings, stop: Callable[[], bool]) -> int:
    """Run the agents until SIGTERM or SIGINT; return the exit code: 0 after a stop, 1 after a crash.

    `stop` tells of a request that came before Faust listens to signals itself.
    """
    asyncio.set_event_loop(uvloop.new_event_loop())
    try:
        worker = _Worker(make_app(settings), stop=stop)
        worker.execute_from_commandline()
    except SystemExit as done:
        return int(done.code or 0)
