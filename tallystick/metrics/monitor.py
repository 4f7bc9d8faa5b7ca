"""What is served of a service: the pages, and what its supervisor tells them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from tallystick.contracts import timestamps
from tallystick.logs import get_logger
from tallystick.metrics.exposition import CONTENT_TYPE, exposition
from tallystick.metrics.health import Health, Phase, health_of
from tallystick.metrics.measures import Measures
from tallystick.metrics.server import Answer, PageServer
from tallystick.settings import Settings
from tallystick.supervision.records import Board

_JSON = "application/json"
_NOT_WELL = 503

log = get_logger(__name__)


class Monitor:
    """The pages of one service. Its supervisor sets `phase`, and gives `measures` the lines of its roles."""

    def __init__(self, board: Callable[[], Board]) -> None:
        self.phase = Phase.STARTING
        self.measures = Measures()
        self._board = board
        self._started_at = time.time()

    @contextmanager
    def served(self, settings: Settings) -> Iterator[int | None]:
        """Serve the pages within, where the settings want it, and give the port. Raises ConfigurationError."""
        if settings.metrics.port is None:
            yield None
            return
        pages = {"/metrics": self.metrics, "/health": self.health, "/ready": self.ready}
        with PageServer(settings.metrics.address, settings.metrics.port, pages) as server:
            address = settings.metrics.address
            shown = f"[{address}]" if ":" in address else address
            log.info("metrics are served", url=f"http://{shown}:{server.port}/metrics")
            yield server.port

    def metrics(self) -> Answer:
        """Return the page for Prometheus."""
        return Answer(exposition(self._board(), self.measures.told(), started_at=self._started_at), CONTENT_TYPE)

    def health(self) -> Answer:
        """Return how the service is; 503 where a task is not well."""
        found = self._health()
        return Answer(_document(found), _JSON, 200 if found.status == "ok" else _NOT_WELL)

    def ready(self) -> Answer:
        """Return whether it works; 503 before all roles have been started, and once it is to stop."""
        ready = self.phase is Phase.READY
        body = msgspec.json.encode({"ready": ready, "phase": self.phase}) + b"\n"
        return Answer(body, _JSON, 200 if ready else _NOT_WELL)

    def _health(self) -> Health:
        return health_of(self._board().tasks, self.measures.told(), phase=self.phase, now=timestamps.now())


def _document(health: Health) -> bytes:
    return msgspec.json.format(msgspec.json.encode(health)) + b"\n"
