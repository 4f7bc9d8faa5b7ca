"""`subscribeLabels`: from messages to labels, each checked on its own."""

import asyncio

import msgspec
from libipld import encode_dag_cbor

from producers.atproto.directory import Identity, Unresolvable
from producers.atproto.live.lanes import Lanes
from producers.atproto.live.standings import Standings
from producers.atproto.live.stream import Stream
from producers.atproto.live.watermark import Entry
from producers.atproto.protocol.failures import Failure
from producers.atproto.protocol.labels import LabelError, label_problem, read_label
from producers.atproto.protocol.messages import LabelsMessage, Message
from producers.atproto.protocol.validation import Level
from tallystick.contracts.atproto import LABELS, Label, encode
from tallystick.settings import AtprotoSettings

PATH = "/xrpc/com.atproto.label.subscribeLabels"
_AT_ONCE = 200
"""After how many labels others get their turn: one frame may have tens of thousands."""


class _Work(msgspec.Struct, frozen=True, gc=False):
    """One label on its way, with the fields that it was read from."""

    entry: Entry
    label: Label
    fields: dict[str, object]


class Labeler:
    """Takes the messages of one labeler's stream. Who signs the labels (`src`) is asked for as accounts are."""

    def __init__(self, stream: Stream, standings: Standings, settings: AtprotoSettings) -> None:
        self._stream, self._standings = stream, standings
        self._is_signature_wanted = Level[settings.validation.upper()] >= Level.SIGNATURE
        self._lanes: Lanes[_Work] = Lanes(self._attempt, self._finish)

    async def take(self, entry: Entry, message: Message, frame: bytes) -> bool:  # noqa: ARG002 - as all handlers have it
        """Take a message, and release its entry once all its labels are dealt with. False for one of another kind."""
        if not isinstance(message, LabelsMessage):
            return False
        if not message.labels:
            entry.blank += 1
        for number, fields in enumerate(message.labels, 1):
            self._stream.hold(entry)
            try:
                label = read_label(fields, host=self._stream.host.name, seq=message.seq)
            except LabelError as error:
                self._reject(entry, fields, error.reason.value, error.detail)
            else:
                self._lanes.take(label.src, _Work(entry, label, fields))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self._stream.release(entry)
        return True

    def lost(self) -> None:
        """Take note that events are missing, which changes nothing for those to come."""

    def check(self) -> None:
        """Raise what has gone wrong: nothing that is expected."""
        self._lanes.check()

    async def close(self) -> None:
        """Give up what waits for an identity; the cursor stays before it."""
        await self._lanes.close()

    def _attempt(self, work: _Work) -> bool:
        if not self._is_signature_wanted:
            self._send(work)
            return True
        if (identity := self._standings.known(work.label.src)) is None:
            return False
        return self._judge(work, identity, is_last=not self._standings.may_refresh(work.label.src))

    async def _finish(self, work: _Work) -> None:
        known = self._standings.known(work.label.src)
        answer = await self._standings.ask(work.label.src, fresh=known is not None)
        if isinstance(answer, Unresolvable):
            self._reject(work.entry, work.fields, Failure.IDENTITY_UNRESOLVED.value, str(answer))
        else:
            self._judge(work, answer, is_last=True)

    def _judge(self, work: _Work, identity: Identity, *, is_last: bool) -> bool:
        """Check the signature and send what became of it; False where another identity might change that."""
        key = identity.labeler_key
        problem = label_problem(work.label, key) if key else None
        if key and problem is None:
            self._send(work)
        elif not is_last:
            return False
        elif problem is None:
            detail = identity.problem or "its document has no key for labels"
            self._reject(work.entry, work.fields, Failure.IDENTITY_UNRESOLVED.value, detail)
        else:
            self._reject(work.entry, work.fields, Failure.SIGNATURE.value, problem.value)
        return True

    def _send(self, work: _Work) -> None:
        self._stream.send(work.entry, LABELS, key=work.label.uri, value=encode(work.label))
        work.entry.events += 1
        self._stream.release(work.entry)

    def _reject(self, entry: Entry, fields: dict[str, object], reason: str, detail: str) -> None:
        self._stream.bury(entry, reason=reason, detail=detail, payload=encode_dag_cbor(fields))
        self._stream.release(entry)
