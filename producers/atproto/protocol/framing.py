"""One binary WebSocket message: two CBOR items, a header and a body.

The header is read leniently, because emitters differ in the order of its two keys, and one of the orders is not
canonical; the body strictly. Source: https://atproto.com/specs/event-stream#framing
"""

from enum import StrEnum

import cbor2
import msgspec

from producers.atproto.protocol.cbor import CborError, decode, skim
from producers.atproto.protocol.faults import Refusal, shown

MAX_FRAME_BYTES = 5 * 1024 * 1024
"""The protocol's limit is 5 MB; whether that means 1000 or 1024 is left to the emitter."""
MAX_HEADER_BYTES = 1024

MESSAGE, ERROR = 1, -1
"""What `op` may be."""


class FrameReason(StrEnum):
    """Why a message is no frame."""

    TOO_LARGE = "frame_too_large"
    HEADER = "header_unreadable"
    BODY = "body_unreadable"
    FIELD = "field_unusable"


class FrameError(Refusal[FrameReason]):
    """A binary message can't be taken as a frame."""

    @property
    def breaks_stream(self) -> bool:
        """Whether the framing itself is wrong: then the protocol wants the connection dropped, else one message."""
        return self.reason is not FrameReason.FIELD


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame whose body has not been read yet: its `op`, its type (such as `#commit`, empty for errors), the rest."""

    op: int
    type: str
    body: bytes


_TYPES = tuple(f"#{name}" for name in ("commit", "sync", "identity", "account", "info", "labels"))
_HEADERS = {
    header: (op, type_)
    for type_ in _TYPES
    for op, text in ((MESSAGE, bytes((0x60 + len(type_),)) + type_.encode()),)
    for header in (b"\xa2\x61t" + text + b"\x62op\x01", b"\xa2\x62op\x01\x61t" + text)
} | {b"\xa1\x62op\x20": (ERROR, "")}
"""The headers of all emitters that are known, as bytes: {t, op}, {op, t}, and that of an error."""


def split_frame(message: bytes) -> Frame:
    """Return the frame that a binary message is. Its body may still be unreadable.

    Unknown fields of the header are left out; unknown `op` and `t` are returned as they are. Raises FrameError.
    """
    if len(message) > MAX_FRAME_BYTES:
        raise FrameError(FrameReason.TOO_LARGE, f"{len(message)} bytes")
    end = _length_of_usual_header(message)
    if known := _HEADERS.get(message[:end]):
        return Frame(*known, message[end:])
    try:
        end = skim(message[:MAX_HEADER_BYTES], max_items=64, max_depth=8)
        header = cbor2.loads(message[:end])
    except (CborError, cbor2.CBORDecodeError) as error:
        raise FrameError(FrameReason.HEADER, str(error)[:200]) from error
    if not isinstance(header, dict):
        raise FrameError(FrameReason.HEADER, f"a map is expected, not {type(header).__name__}")
    op, type_ = header.get("op"), header.get("t", "")
    if not isinstance(op, int) or isinstance(op, bool):
        raise FrameError(FrameReason.HEADER, f"op is no number: {shown(op)}")
    if not isinstance(type_, str):
        raise FrameError(FrameReason.HEADER, f"t is no text: {shown(type_)}")
    return Frame(op, type_, message[end:])


def _length_of_usual_header(message: bytes) -> int:
    if message[1:3] == b"\x61t":
        return 8 + (message[3] & 31) if len(message) > 3 else 0
    if message[4:7] == b"\x01\x61t":
        return 8 + (message[7] & 31) if len(message) > 7 else 0
    return 5


def read_body(frame: Frame) -> dict[str, object]:
    """Return the body of a frame, links being the bytes of their CIDs. Raises FrameError."""
    try:
        body = decode(frame.body)
    except CborError as error:
        raise FrameError(FrameReason.BODY, str(error)) from error
    if not isinstance(body, dict):
        raise FrameError(FrameReason.BODY, f"a map is expected, not {type(body).__name__}")
    return body
