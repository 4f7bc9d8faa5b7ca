"""What comes over a stream's connections, frame by frame: what is passed on, and what is done about all else.

Nothing is left out without a word: what is missing, refused or unreadable is a `Notice`, with the numbers before and
after it. No sockets here; what ends a connection is raised. Source: https://atproto.com/specs/event-stream
"""

from typing import NoReturn, Protocol

import xxhash

from producers.atproto.live.measures import Measure
from producers.atproto.live.reconnecting import Answer, Unreadable
from producers.atproto.live.sequences import Sequence, Step
from producers.atproto.live.stream import Stream
from producers.atproto.live.watermark import Entry
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.framing import FrameError
from producers.atproto.protocol.messages import (
    CONSUMER_TOO_SLOW,
    FUTURE_CURSOR,
    OUTDATED_CURSOR,
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    LabelsMessage,
    Message,
    SyncMessage,
    UnknownMessage,
    read_message,
    seq_of,
)
from tallystick.contracts.atproto import NoticeKind
from tallystick.errors import ConfigurationError, ServiceError
from tallystick.settings import AtprotoSettings

Event = CommitMessage | SyncMessage | IdentityMessage | AccountMessage | LabelsMessage
"""The messages that have a number."""
_TYPES: dict[type, str] = {
    CommitMessage: "commit",
    SyncMessage: "sync",
    IdentityMessage: "identity",
    AccountMessage: "account",
    LabelsMessage: "labels",
}


class CursorAhead(ConfigurationError):
    """The host has not come as far as the cursor, and the policy is to halt: a person has to decide."""


class Dropped(Exception):
    """A connection is over. `kind` and `detail` are what its notice says, unless it was told of already (`told`).

    `wait` are the seconds that the host asks to wait for.
    """

    def __init__(self, kind: NoticeKind, detail: str, *, wait: float = 0.0, told: bool = False) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.wait, self.told = kind, detail, wait, told


class Handler(Protocol):
    """Who takes the messages of a stream."""

    async def take(self, entry: Entry, message: Message, frame: bytes) -> bool:
        """Take a message, and release its entry once it is dealt with; False, at once, for one of another stream."""

    def lost(self) -> None:
        """Take note that events are missing."""


class Arrivals:
    """Takes the frames of one stream, over all its connections.

    A `begin` of `oldest` or a number only counts where the stream was never read; else it goes on behind the cursor.
    """

    def __init__(self, stream: Stream, handler: Handler, settings: AtprotoSettings, *, begin: str | int) -> None:
        self._stream, self._handler, self._settings = stream, handler, settings
        given = begin if isinstance(begin, int) else 0
        self._sequence = Sequence(last=stream.position or given, oldest=begin in ("oldest", 0))
        self._unreadable = Unreadable()
        self._is_outdated = False

    def cursor(self) -> int | None:
        """Return what to ask for with a new connection."""
        return self._sequence.cursor(skip=self._unreadable.skip)

    async def take(self, frame: bytes) -> bool:
        """Take one binary message; return whether it was an event.

        Raises Dropped where the connection is over by it, CursorAhead where the stream is, and ServiceError where the
        host again and again sends what is no frame.
        """
        count = self._stream.measures.count
        count(Measure.BYTES, len(frame))
        try:
            message = read_message(frame)
        except FrameError as error:
            count(Measure.FRAMES, type="unreadable")
            if error.breaks_stream:
                self.drop_unreadable(error, frame)
            self._bury(error, frame)
            return True
        match message:
            case ErrorMessage():
                count(Measure.FRAMES, type="error")
                self._fail(message)
            case InfoMessage():
                count(Measure.FRAMES, type="info")
                self._inform(message)
                return False
            case UnknownMessage():
                self._leave_out(frame)
            case _:
                count(Measure.FRAMES, type=_TYPES[type(message)])
                await self._hand_over(message, frame)
        return True

    def leave_out_text(self) -> None:
        """Ignore a text message, as the protocol wants it."""
        self._stream.measures.count(Measure.FRAMES, type="text")
        self._stream.measures.count(Measure.IGNORED, reason="text")

    def drop_unreadable(self, error: FrameError, frame: bytes) -> NoReturn:
        """Drop the connection, as the protocol wants it, and see to it that the stream gets past what is no frame."""
        last, digest = self._sequence.last, xxhash.xxh3_64_intdigest(frame)
        if not self._unreadable.is_known(last, digest):
            entry = self._stream.begin(last, size=len(frame))
            self._stream.bury(entry, reason=error.reason.value, detail=error.detail, payload=frame)
            self._stream.release(entry)
        detail = str(error)
        match self._unreadable.failed(last, digest):
            case Answer.GIVE_UP:
                self.tell(Dropped(NoticeKind.FRAMING, detail), "ends")
                raise ServiceError(
                    f"{self._stream.host.name} has sent what is no frame {self._unreadable.times} times in a row after"
                    f" the number {last}: {error}; look at its dead letter, and ask whoever runs the host"
                )
            case Answer.SKIP:
                detail = f"{detail}; asks from {last + self._unreadable.skip} on"
        raise Dropped(NoticeKind.FRAMING, detail)

    def tell(self, dropped: Dropped, action: str) -> None:
        """Tell of a connection that is over, and of what is done about it."""
        if self._is_outdated:
            self._tell_outdated(after=0)
        if not dropped.told:
            self._stream.notify(dropped.kind, action=action, before=self._sequence.last, detail=dropped.detail)

    async def _hand_over(self, message: Event, frame: bytes) -> None:
        if not self._admit(message.seq):
            return
        entry = self._stream.begin(message.seq, size=len(frame))
        if not await self._handler.take(entry, message, frame):
            self._stream.measures.count(Measure.IGNORED, reason="misplaced")
            entry.blank += 1
            self._stream.release(entry)
        elif not isinstance(message, LabelsMessage):
            self._stream.event_time = message.time

    def _admit(self, seq: int) -> bool:
        """Take a number, and tell of what is missing before it; False for one that was taken before."""
        before = self._sequence.last
        match self._sequence.step(seq):
            case Step.REPEAT:
                self._stream.measures.count(Measure.IGNORED, reason="repeat")
                return False
            case Step.BEHIND:
                self._go_on_ahead(f"the first event has the number {seq}", after=seq)
                self._stream.begin_anew(seq)
            case Step.START:
                self._stream.begin_anew(seq)
            case Step.GAP if not self._is_outdated:
                self._handler.lost()
                self._stream.gap(before, seq)
        if self._is_outdated:
            self._tell_outdated(after=seq)
        self._sequence.take(seq)
        return True

    def _leave_out(self, frame: bytes) -> None:
        """Ignore a message of a kind that a later version of the protocol may have, but take its number."""
        self._stream.measures.count(Measure.FRAMES, type="unknown")
        self._stream.measures.count(Measure.IGNORED, reason="unknown")
        if (seq := seq_of(frame)) and self._admit(seq):
            entry = self._stream.begin(seq, size=0)
            entry.blank += 1
            self._stream.release(entry)

    def _bury(self, error: FrameError, frame: bytes) -> None:
        """Make a dead letter of one message of which a field can't be used; the others go on."""
        if (seq := seq_of(frame)) and not self._admit(seq):
            return
        entry = self._stream.begin(seq or self._sequence.last, size=len(frame))
        self._stream.bury(entry, reason=error.reason.value, detail=error.detail, payload=frame)
        self._stream.release(entry)

    def _fail(self, message: ErrorMessage) -> NoReturn:
        """Do what the policy is for the error that ends a stream."""
        detail = shown(message.error) + (f": {shown(message.message)}" if message.message else "")
        if message.error == FUTURE_CURSOR:
            self._go_on_ahead(detail, after=0)
            raise Dropped(NoticeKind.FUTURE_CURSOR, detail, told=True)
        kind = NoticeKind.TOO_SLOW if message.error == CONSUMER_TOO_SLOW else NoticeKind.DISCONNECTED
        raise Dropped(kind, detail)

    def _go_on_ahead(self, detail: str, *, after: int) -> None:
        """Do what the policy is where the host has not come as far as the cursor.

        Returns where the stream goes on with what happens now; raises Dropped where an event (`after`) has come and
        the oldest one is to be asked for, CursorAhead to halt.
        """
        policy, cursor = self._settings.future_cursor, self._sequence.last
        self._handler.lost()
        action = {"halt": "halts", "live": "goes on with what happens now", "oldest": "goes on with the oldest event"}
        self._stream.notify(NoticeKind.FUTURE_CURSOR, action=action[policy], before=cursor, after=after, detail=detail)
        if policy == "halt":
            raise CursorAhead(
                f"{self._stream.host.name} has not come as far as the cursor {cursor}: {detail}; its numbers may have"
                " been reset. To go on, set atproto.future_cursor to live or to oldest"
            )
        self._sequence.restart(oldest=policy == "oldest")
        if policy == "oldest" and after:
            raise Dropped(NoticeKind.FUTURE_CURSOR, detail, told=True)

    def _inform(self, message: InfoMessage) -> None:
        if message.name == OUTDATED_CURSOR:
            # What is missing is known with the next event.
            self._is_outdated = True
        else:
            self._stream.measures.count(Measure.IGNORED, reason="info")

    def _tell_outdated(self, *, after: int) -> None:
        self._is_outdated = False
        self._handler.lost()
        self._stream.notify(
            NoticeKind.OUTDATED_CURSOR,
            action="goes on with the oldest event" if after else "connects again",
            before=self._sequence.last,
            after=after,
            detail="the host no longer has what came between them",
        )
