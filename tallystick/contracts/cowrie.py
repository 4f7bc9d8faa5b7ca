"""Cowrie: its events, its topics, and the session that is folded from them.

An event stays the line that Cowrie wrote. Only what decides where it goes is decoded here (`Envelope`); everything
else is read by whoever needs it, because any field may be missing or of another type in some version of Cowrie.
"""

import json
import re
import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, tzinfo
from itertools import repeat
from typing import Annotated, Any

import msgspec
import xxhash

from tallystick.contracts import timestamps
from tallystick.contracts.pipelines import Balance, Chain, Pipeline, Recount, Stage, Tally
from tallystick.contracts.topics import DEAD_LETTERS, Topic
from tallystick.errors import TallyError

KIND = "cowrie.log"
IMPORT_KIND = "cowrie.import"
"""A table of a database that another program has filled from logs."""
KAFKA_KIND = "cowrie.kafka"
"""A partition of a topic that Cowrie's own Kafka output writes to: an endless source, unless it is read to an end."""
RETRY_KIND = "cowrie.retry"
"""Dead letters whose content goes into the log once more."""
SCHEMA = b"cowrie/1"

EVENTS = Topic(
    name="cowrie.events",
    key='["sensor","session"]',
    value="Slice of JSON lines as Cowrie wrote them",
    owner="producers/cowrie",
    summary="Every event of every honeypot log, as it was read, by session.",
)
SESSIONS = Topic(
    name="cowrie.sessions",
    key='["sensor","session"]',
    value="SessionState",
    owner="streams/sessions",
    summary="The newest state of every session; also the changelog that the sessions agent recovers from.",
    cleanup="compact",
)
TOPICS = (EVENTS, SESSIONS)


def _pipeline(kind: str, *, first: str, endless: bool = False) -> Pipeline:
    return Pipeline(
        kind=kind,
        stages=(
            Stage(first, Balance()),
            Stage(
                "persisted",
                Tally(
                    claim=first,
                    observers=(("raw_events", EVENTS.name, "events"), ("dead_letters", DEAD_LETTERS.name, "dead")),
                    recorded_by="sources",
                ),
            ),
            Stage("aggregated", Chain(claim=first, agent="sessions", topic=EVENTS.name, sink="session_summaries")),
            Stage("derived", Chain(claim=first, agent="sessions", topic=EVENTS.name, sink="inventories")),
            Stage("verified", Recount()),
        ),
        endless=endless,
    )


PIPELINE = _pipeline(KIND, first="read")
IMPORT_PIPELINE = _pipeline(IMPORT_KIND, first="read")
KAFKA_PIPELINE = _pipeline(KAFKA_KIND, first="followed", endless=True)
RETRY_PIPELINE = _pipeline(RETRY_KIND, first="read")

MAX_SESSION_CHARS = 64
MAX_NAME_CHARS = 255
UNKNOWN_SENSOR = "unknown"


class UnreadableLine(TallyError):
    """A line can't be taken as a Cowrie event. `reason` is one of a few fixed phrases, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What every event must have: where it belongs, what it is, when it happened; and what was typed, where it was.

    `session` is empty for events of the sensor itself. `read_envelope` returns `timestamp` canonical and `sensor` set.
    """

    eventid: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    timestamp: str
    session: Annotated[str, msgspec.Meta(max_length=MAX_SESSION_CHARS)] = ""
    sensor: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    input: str = ""


class _Unchecked(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An envelope whose bounds nobody has checked yet; in the order in which Cowrie writes, which is found faster."""

    session: str = ""
    eventid: str
    sensor: str = ""
    timestamp: str


_decode_unchecked = msgspec.json.Decoder(_Unchecked).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(tuple[str, str]).decode
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def read_envelope(line: bytes, default_sensor: str = UNKNOWN_SENSOR, zone: tzinfo = UTC) -> Envelope:
    """Return the envelope of one line, tolerating everything in the fields that it does not need.

    The sensor is the event's own, else `default_sensor`; a timestamp without a zone is in `zone`. NaN, lone surrogates,
    NUL and invalid UTF-8 in other fields are no reason to refuse an event.
    Raises UnreadableLine.
    """
    try:
        found = _decode_envelope(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _read_tolerantly(line)
    # `isprintable` refuses more than is meant, but is fast, and true for nearly every name.
    if not (found.eventid.isprintable() and found.session.isprintable() and found.sensor.isprintable()):
        _check_characters(found)
    try:
        timestamp = timestamps.canonical(found.timestamp, zone)
    except ValueError as error:
        raise UnreadableLine("timestamp is not usable", str(error)) from error
    if found.sensor and timestamp is found.timestamp:
        return found
    return Envelope(found.eventid, timestamp, found.session, found.sensor or default_sensor, found.input)


def read_envelopes(lines: Sequence[bytes], default_sensor: str = UNKNOWN_SENSOR) -> list[Envelope] | None:
    """Return the envelope of each line as `read_envelope` does, in two thirds of the time; None where one is unusual.

    None says nothing about which line that is, nor that it is wrong: read them one by one. Those that are read hold no
    NaN and no infinity, while text in other fields may be anything.
    """
    try:
        found = list(map(_decode_envelope, lines))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    sensors = {envelope.sensor for envelope in found}
    names = [*sensors, *[envelope.eventid for envelope in found], *[envelope.session for envelope in found]]
    if not ("".join(names).isprintable() and timestamps.are_canonical([envelope.timestamp for envelope in found])):
        return None
    if "" not in sensors:
        return found
    return [msgspec.structs.replace(envelope, sensor=envelope.sensor or default_sensor) for envelope in found]


def read_places(lines: Sequence[bytes], default_sensor: str = UNKNOWN_SENSOR) -> list[tuple[str, str]] | None:
    """Return (sensor, session) of each line as `read_envelope` does, in half the time; None where any line is unusual.

    None says nothing about which line that is, nor that it is wrong: read them one by one.
    """
    try:
        found = list(map(_decode_unchecked, lines))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    eventids, sensors = {envelope.eventid for envelope in found}, {envelope.sensor for envelope in found}
    sessions = [envelope.session for envelope in found]
    if not (
        "" not in eventids
        and max(map(len, eventids | sensors), default=0) <= MAX_NAME_CHARS
        and max(map(len, sessions), default=0) <= MAX_SESSION_CHARS
        and "".join((*eventids, *sensors, *sessions)).isprintable()
        and timestamps.are_canonical([envelope.timestamp for envelope in found])
    ):
        return None
    if len(sensors) == 1:
        return [*zip(repeat(sensors.pop() or default_sensor), sessions, strict=False)]
    return [(envelope.sensor or default_sensor, envelope.session) for envelope in found]


def parse_tolerantly(line: bytes) -> dict[str, Any]:
    """Return all fields of one line. Invalid UTF-8 becomes lone surrogates (`surrogateescape`), NaN stays NaN.

    Raises UnreadableLine where the line is no JSON object.
    """
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise UnreadableLine("nested too deep") from None
    except ValueError as error:
        raise UnreadableLine("not JSON", str(error)[:200]) from error
    if not isinstance(value, dict):
        raise UnreadableLine("not a JSON object", type(value).__name__)
    return value


def _read_tolerantly(line: bytes) -> Envelope:
    fields = parse_tolerantly(line)
    if (eventid := fields.get("eventid")) is None:
        raise UnreadableLine("eventid is missing")
    stamp = fields.get("timestamp")
    if stamp is None and (stamp := fields.get("time")) is None:
        raise UnreadableLine("timestamp is missing")
    found = {"eventid": eventid, "session": fields.get("session"), "sensor": fields.get("sensor")}
    for name, most in (("eventid", MAX_NAME_CHARS), ("session", MAX_SESSION_CHARS), ("sensor", MAX_NAME_CHARS)):
        value = "" if found[name] is None else found[name]
        if not isinstance(value, str):
            raise UnreadableLine(f"{name} is not text", type(value).__name__)
        if len(value) > most:
            raise UnreadableLine(f"{name} is not usable", repr(value[:80]))
        found[name] = value
    if not eventid:
        raise UnreadableLine("eventid is not usable", "''")
    typed = fields.get("input")
    return Envelope(eventid, stamp, found["session"], found["sensor"], typed if isinstance(typed, str) else "")


def _check_characters(found: Envelope) -> None:
    for name, value in (("eventid", found.eventid), ("session", found.session), ("sensor", found.sensor)):
        if _UNPRINTABLE.search(value):
            raise UnreadableLine(f"{name} is not usable", repr(value[:80]))


def session_key(sensor: str, session: str) -> bytes:
    """Return the record key of a session: a JSON array, so that no character of either name can be mistaken."""
    return _encode((sensor, session))


def read_session_key(key: bytes) -> tuple[str, str]:
    """Return (sensor, session) of a record key. Raises msgspec.DecodeError."""
    return _decode_key(key)


def event_digest(line: bytes) -> int:
    """Return the identity of an event within its session: xxh3-64 of the line without its end, as a signed integer."""
    return int.from_bytes(packed_digest(line), "big", signed=True)


packed_digest = xxhash.xxh3_64_digest
"""Returns the same as eight bytes, the highest first."""


def event_digests(lines: Sequence[bytes]) -> Sequence[int]:
    """Return the `event_digest` of each line, in less time."""
    digests = array("q", b"".join(map(packed_digest, lines)))
    if sys.byteorder == "little":  # xxHash's canonical form is big-endian
        digests.byteswap()
    return digests


class First(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A value together with the event time of the earliest event that held it; ties go to the smaller value.

    Text is cut to `MAX_NAME_CHARS`.
    """

    at: str
    value: str | int


class Seen(msgspec.Struct, omit_defaults=True, gc=False):
    """Something distinct that occurred in a session: how often, and from when to when.

    `position` is the lowest one that an event of the time `first` had in its source. Texts are storable (`printable`)
    and cut; `cut_chars`, where a list has it, says by how many characters at most.
    """

    occurrences: int
    first: str
    last: str
    position: int


class CommandSeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """A command line, or a part of one that Cowrie reported on, with its whitespace collapsed.

    Cowrie logs a line that fails twice, as `command.input` and as `command.failed`, and a failing part of a line only
    as `command.failed`. So `typed` counts the inputs, `reported` all other events about the command, `failed` those of
    them that say that it failed, and `occurrences` is the greater of `typed` and `reported`.
    """

    normalized: str
    typed: int = 0
    reported: int = 0
    failed: int = 0
    high_risk: bool = False
    cut_chars: int = 0


class LoginSeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """One set of credentials and how it ended. `fingerprint` is that of the public key, where one was used."""

    username: str
    password: str
    succeeded: bool
    fingerprint: str = ""
    cut_chars: int = 0


class FileSeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """A file that was fetched or brought. `how` is download, download_failed or upload; `size` is in bytes."""

    how: str
    shasum: str = ""
    url: str = ""
    filename: str = ""
    size: int | None = None
    cut_chars: int = 0


class TunnelSeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """A direct-tcpip request: where it wanted to go."""

    dst_ip: str
    dst_port: int | None = None


class KeySeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """A public key that was offered; every event that showed it counts, so an attempt and its outcome are two."""

    fingerprint: str
    type: str = ""
    username: str = ""


class InjectedSeen(Seen, omit_defaults=True, kw_only=True, gc=False):
    """A public key that a command would add to somebody's `authorized_keys`, by `method` and to `path`.

    `blob` is the base64 of its content. Where that is cut short, the key is not `complete`, and `bits` is None.
    """

    type: str
    blob: str
    fingerprint: str
    comment: str = ""
    method: str = ""
    path: str = ""
    bits: int | None = None
    complete: bool = True


class SessionState(msgspec.Struct, omit_defaults=True, gc=False):
    """A session, as far as its events are known: the value of `cowrie.sessions`, always under 1 MB when encoded.

    `revision` is the number of distinct events folded, and so is `event_count`: the same events make the same state.
    Counts are exact; lists hold distinct things ordered by (first event time, position, content) and are bounded.
    `risk` is the greatest score of an event (`contracts/risk.py`).
    `cut` counts, by name of the list, the events whose thing a bound kept out; `limits` holds the rank from which on
    things are kept out. `sources` holds the highest position folded of each source. `digests` holds the identities of
    the folded events, 8 bytes each, little-endian, ascending; once there are too many, the lowest are kept,
    `digests_complete` is False and the watermarks in `sources` decide about those that are not among them.
    """

    sensor: str
    session: str
    revision: int = 0
    event_count: int = 0
    first_event_at: str = ""
    last_event_at: str = ""
    closed_at: str = ""
    kinds: dict[str, int] = {}
    risk: int = 0
    src_ip: First | None = None
    src_port: First | None = None
    dst_ip: First | None = None
    dst_port: First | None = None
    protocol: First | None = None
    client_version: First | None = None
    hassh: First | None = None
    arch: First | None = None
    duration_ms: First | None = None
    login_attempts: int = 0
    login_failed: int = 0
    login_succeeded: int = 0
    command_count: int = 0
    command_failed: int = 0
    downloads: int = 0
    downloads_failed: int = 0
    uploads: int = 0
    tunnel_count: int = 0
    logins: list[LoginSeen] = []
    commands: list[CommandSeen] = []
    files: list[FileSeen] = []
    tunnels: list[TunnelSeen] = []
    keys: list[KeySeen] = []
    injected: list[InjectedSeen] = []
    cut: dict[str, int] = {}
    limits: dict[str, int] = {}
    sources: dict[str, int] = {}
    digests: bytes = b""
    digests_complete: bool = True


encode_state = msgspec.json.Encoder(order="deterministic").encode
decode_state = msgspec.json.Decoder(SessionState).decode
