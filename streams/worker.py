"""The Faust worker as a role: runs the agents until it is told to stop, and says by its exit code if it crashed."""

import logging
from typing import Any

import faust

from streams.app import make_app
from tallystick.settings import Settings


class _Worker(faust.Worker):
    """Faust's worker without its logging set-up: Tallystick has one logger, and it is configured already."""

    def _setup_logging(self) -> None:
        for name in ("faust", "aiokafka", "mode"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def _say(self, message: str, **_: Any) -> None:
        logging.getLogger("faust").info(message)


def run_agents(settings: Settings) -> int:
    """Run the agents until SIGTERM or SIGINT; return the exit code: 0 after a stop, 1 after a crash."""
    worker = _Worker(make_app(settings), quiet=True, redirect_stdouts=False)
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as done:
        return int(done.code or 0)
