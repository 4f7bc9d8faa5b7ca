"""The reading of one file, from its first byte that is new to its claim.

1. `started` is acknowledged
2. windows are read and their records sent; each checkpoint follows the acknowledgement of its window
3. the unfinished last line, where there is one, is sent
4. all of it is acknowledged, and the last checkpoint too
5. the claim is sent, `failed` after it where the content is damaged, and both are acknowledged
6. a checkpoint says that the source is claimed
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from producers.checkpoints import Checkpoints
from producers.claims import Attempt
from producers.cowrie.decompression import CHUNK_BYTES, Content, DamagedStream
from producers.cowrie.discovery import why_unreadable
from producers.cowrie.growth import Growth
from producers.cowrie.identity import Identity
from producers.cowrie.lines import Framer
from producers.cowrie.progress import FileOutcome, Progress, State, Throttle
from producers.cowrie.windows import Window, runs, sort_lines
from producers.outlet import Outlet, Record
from tallystick.contracts import dead_letters, slices, timestamps
from tallystick.contracts.cowrie import EVENTS, KIND, SCHEMA
from tallystick.contracts.sources import Checkpoint
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STAGE = "read"
UNFINISHED, TRUNCATED = "unfinished last line", "truncated"
MAX_WINDOW_LINES = 100_000
"""About where windows of very short lines are cut: a line costs memory, however short it is."""

_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Tools:
    """What every file of one run is read with. `sensor` is that of events that name none."""

    settings: Settings
    publisher: Publisher
    checkpoints: Checkpoints
    sensor: str
    stop: Callable[[], bool]
    on_progress: Callable[[Progress], None]


class Reading:
    """Reads one open file, called `name`, that has been recognised. Use it once."""

    def __init__(self, tools: Tools, name: str, found: Identity, content: Content, growth: Growth) -> None:
        self._tools, self._name, self._content, self._growth = tools, name, content, growth
        self._digest = found.digest
        self._known = found.checkpoint
        self._changed = found.changed
        before = found.checkpoint or _nothing_read(found)
        self._counted_letter = before.position if before.unfinished else -1
        self._at = msgspec.structs.replace(
            before, name=name, attempt=before.attempt + 1, claimed=False, unfinished=0, whole=""
        )
        self._framer = Framer(found.position, max_line_bytes=tools.settings.reader.max_line_bytes)
        self._throttle = Throttle(_PROGRESS_SECONDS)

    def run(self) -> FileOutcome:
        """Read what is new, and claim; what is already claimed is only claimed again.

        Raises ServiceError, and OSError only where nothing was new.
        """
        if self._known is not None and self._known.claimed and not self._changed:
            return self._claim_again(self._known)
        attempt = _attempt(self._tools, self._at)

        def on_wait() -> None:
            attempt.beat()
            if self._throttle.due():
                self._tell("reading")

        outlet = Outlet(
            self._tools.settings,
            self._tools.publisher,
            self._tools.checkpoints,
            ends=self._at.ends,
            stop=self._tools.stop,
            on_wait=on_wait,
        )
        self._tell("reading")
        attempt.start()
        if not outlet.settle():
            return self._end("interrupted")
        try:
            finished = self._send_windows(outlet)
        except OSError as error:
            outlet.settle()
            attempt.fail(f"{self._name}: {why_unreadable(error)}")
            return self._end("failed", why_unreadable(error))
        damage = self._content.damage()
        if finished:
            self._send_last_line(outlet, TRUNCATED if damage else UNFINISHED)
        if not outlet.settle() or not finished:
            return self._end("interrupted")
        self._at = msgspec.structs.replace(self._at, ends=outlet.ends)
        return self._claim(attempt, outlet, damage)
