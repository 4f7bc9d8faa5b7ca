"""One source that is followed: where its file is, how far it has been read, and since when it has been quiet."""

import time
from collections.abc import Callable
from pathlib import Path

from producers.cowrie.discovery import as_text
from producers.cowrie.following.arrivals import Arrivals
from producers.cowrie.following.live import LiveContent
from producers.cowrie.following.names import is_archive
from producers.cowrie.following.recognition import Opened
from producers.cowrie.following.steps import FileId, Stamp
from producers.cowrie.following.views import folder_device, is_gone
from producers.cowrie.limits import TooManyDeadLetters
from producers.cowrie.reading import Reading, Tools
from producers.progress import FileOutcome
from tallystick.contracts import timestamps
from tallystick.contracts.stages import Reach


class Tail:
    """A followed source. `stamp` is its file as it was seen last; `dirty` says that there may be more to read.

    It is read with `tools`. `began_at` is the path under which it was found, `read_at` when something was read last, by
    `clock`. Once its file is gone or holds something else it is `lost`. Methods that read raise OSError, and then may
    be called again; all raise ServiceError for what Kafka refuses.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        path: str,
        stamp: Stamp,
        opened: Opened,
        clock: Callable[[], float],
    ) -> None:
        """Take over what was `opened` at `path`."""
        content, found = opened.content, opened.found
        self.tools = tools
        self.began_at = self.path = path
        self.stamp = stamp
        self.lost = False
        self.dirty = True
        self._folder_device = folder_device(path)
        self._clock, self._file, self._content = clock, opened.file, content
        self._arrivals = Arrivals(found.position)
        self._size = stamp.size
        now = clock()
        self.read_at = now
        self._changed_at = now - max(time.time() - stamp.modified / 1e9, 0.0)
        self._note(stamp)
        live = not is_archive(path) and isinstance(content, LiveContent)
        self._reading = Reading(
            tools,
            as_text(path),
            found,
            content,
            size=lambda: self._size,
            reach=self._reach if live else None,
            checkpoint_seconds=tools.settings.follow.checkpoint_seconds,
        )

    @property
    def source(self) -> str:
        """The source's id."""
        return self._reading.source

    @property
    def file(self) -> FileId | None:
        """The file that holds the source; None where it is lost."""
        return None if self.lost else self.stamp.file

    @property
    def is_archive(self) -> bool:
        """Whether its file is one that is complete."""
        return is_archive(self.path) or not isinstance(self._content, LiveContent)

    @property
    def is_gone(self) -> bool:
        """Whether its file is certainly not at its path any more."""
        return is_gone(self.path, self.stamp.file, self._folder_device)

    @property
    def is_acknowledged(self) -> bool:
        """Whether Kafka has all that was sent."""
        return self._reading.is_acknowledged

    @property
    def holds_a_file(self) -> bool:
        """Whether a file is held open that may be closed."""
        return isinstance(self._content, LiveContent) and self._content.is_open

    def begin(self) -> bool:
        """Begin the attempt; False where the reader was told to stop meanwhile."""
        return self._reading.begin()

    def see(self, path: str, stamp: Stamp) -> None:
        """Take note of where its file is, and how it looks."""
        if isinstance(self._content, LiveContent) and stamp.size < self._content.position:
            self.lose()
            return
        if path != self.path:
            # Whoever writes to it may go on for a while.
            self.dirty, self._changed_at = True, self._clock()
            self._reading.rename(as_text(path))
        if stamp != self.stamp:
            self.dirty = True
            self._changed_at = self._clock()
            self._note(stamp)
        self.path, self.stamp = path, stamp

    def lose(self) -> None:
        """Take note that its file is not there any more, or holds something else. What is held open is read on."""
        if not self.lost:
            self.lost = self.dirty = True
            self._changed_at = self._clock()

    def read_on(self) -> bool:
        """Read a window, if there is one; False where there is nothing to read now, or no room.

        Raises TooManyDeadLetters, after which it may only be refused.
        """
        if isinstance(self._content, LiveContent) and not self._content.is_open:
            if self.lost:
                self.dirty = False
                return False
            self._content.reopen(Path(self.path).open("rb", buffering=0))  # noqa: SIM115 - it stays open
        if self._reading.read_on():
            self.read_at = self._clock()
            if self.lost:
                self._changed_at = self.read_at
            return True
        if isinstance(self._content, LiveContent) and self._content.replaced:
            self.lose()
        self.dirty = not self._reading.has_room
        return False

    def keep_up(self) -> None:
        """Move the checkpoint behind what Kafka has acknowledged, and send a heartbeat where one is due."""
        self._reading.advance()

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing has changed for `seconds`."""
        return self._clock() - self._changed_at >= seconds

    def is_idle(self, seconds: float) -> bool:
        """Whether nothing has been read for `seconds`."""
        return self._clock() - self.read_at >= seconds

    def let_go(self) -> None:
        """Close the file until there is something to read; where that can't be had again, keep it."""
        if isinstance(self._content, LiveContent) and not self.lost:
            self._content.close()

    def refuse(self, error: TooManyDeadLetters) -> FileOutcome:
        """End with a failure, since so much of it is no events, and close the file."""
        try:
            return self._reading.refuse(error)
        finally:
            self._close()

    def conclude(self) -> FileOutcome:
        """Send the unfinished last line, where there is one, claim the source, and close the file.

        Raises TooManyDeadLetters.
        """
        try:
            return self._reading.conclude()
        finally:
            self._close()

    def settle(self) -> bool:
        """Wait until Kafka has acknowledged what was sent; False where the reader was told to stop before."""
        return self._reading.settle()

    def leave(self) -> FileOutcome:
        """End without a claim, and close the file."""
        try:
            return self._reading.leave()
        finally:
            self._close()

    def _close(self) -> None:
        self._file.close()
        if isinstance(self._content, LiveContent):
            self._content.close()

    def _note(self, stamp: Stamp) -> None:
        self._size = stamp.size
        if isinstance(self._content, LiveContent):
            modified = timestamps.canonical(min(stamp.modified / 1e9, time.time()))
            self._arrivals.note(stamp.size, modified)

    def _reach(self) -> Reach:
        position = self._reading.acknowledged
        return Reach(position=position, end=max(self._size, position), since=self._arrivals.since(position))
