"""One attempt at a source that is no file: what an import and a retry do alike around what they send.

1. `started` is acknowledged, and a checkpoint that takes the attempt's number: none has the number of another
2. what the source holds is sent; checkpoints follow the acknowledgement
3. all of it is acknowledged, and the last checkpoint too; the claim is sent and acknowledged
4. a checkpoint says that the source is claimed
"""

from typing import Literal

import msgspec

from producers.cowrie.reading import Tools, attempt_of
from producers.outlet import Outlet
from producers.progress import FileOutcome, Progress, State, Throttle
from tallystick.contracts import timestamps
from tallystick.contracts.sources import Checkpoint

PROGRESS_SECONDS = 0.2


class Sending:
    """Steps 1, 3 and 4; who sends moves `_at` in step 2. Every method may raise ServiceError. Use it once.

    `known` is how far the source had come, `size` the position at which it ends, as far as is known.
    """

    def __init__(self, tools: Tools, *, known: Checkpoint, name: str, size: int) -> None:
        self._tools, self._known, self._size = tools, known, size
        self._at = msgspec.structs.replace(known, name=name, attempt=known.attempt + 1, claimed=False)
        self._attempt = attempt_of(tools, self._at)
        self._outlet = Outlet(
            tools.settings,
            tools.publisher,
            tools.checkpoints,
            ends=known.ends,
            stop=tools.stop,
            on_wait=self._on_wait,
        )
        self._throttle = Throttle(PROGRESS_SECONDS)

    def _begin(self) -> bool:
        """Say that the attempt has begun; False where it was told to stop before that was acknowledged."""
        self._tell("reading")
        self._attempt.start()
        self._tools.checkpoints.save(self._at)
        return self._outlet.settle()

    def _conclude(self, *, digest: str) -> bool:
        """Claim what was sent, all of which is acknowledged; False where the claim was not in time."""
        self._at = msgspec.structs.replace(self._at, ends=self._outlet.ends, at=timestamps.now())
        self._claim(digest)
        if not self._outlet.settle():
            return False
        self._at = msgspec.structs.replace(self._at, claimed=True)
        self._tools.checkpoints.save(self._at)
        return True

    def _claim_again(self, *, digest: str) -> FileOutcome:
        """Say of a source in which nothing has changed what was said of it last."""
        self._at = self._known
        self._attempt = attempt_of(self._tools, self._at)
        self._claim(digest)
        return self._end("claimed")

    def _claim(self, digest: str) -> None:
        self._attempt.claim(counts=self._at.counts, ends=self._at.ends, digest=digest)

    def _on_wait(self) -> None:
        self._attempt.beat()
        if self._throttle.due():
            self._tell("reading")

    def _end(self, state: State) -> FileOutcome:
        self._tell(state)
        at = self._at
        return FileOutcome(at.name, at.source, at.attempt, state, at.counts, claimed=at.claimed)

    def _tell(self, state: Literal["reading"] | State) -> None:
        at = self._at
        self._tools.on_progress(
            Progress(
                path=at.name,
                source=at.source,
                attempt=at.attempt,
                position=at.position,
                bytes_read=max(at.position, 0),
                size=max(self._size, at.position),
                lines=at.lines,
                events=at.events,
                dead=at.dead,
                state=state,
            )
        )
