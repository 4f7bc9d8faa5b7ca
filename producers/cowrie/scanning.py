"""Where a JSON object ends, and where the next one begins when it is broken. No I/O.

Nothing is validated here but what tells objects apart; whether an object is an event is for whoever reads it. Two facts
make it possible to find the next object after any damage: a string holds no raw line feed, and within a string every
quote is escaped, so that `{"name":` can only be the beginning of an object.
"""

import re

import msgspec

START_BYTES = 512
"""No more of an object than this must be seen for `next_start` to find it."""

MAX_DEPTH = 100_000
"""What is nested deeper counts as broken: each level costs memory."""

_WS = rb"[ \t\r\n]*+"
_FEW = rb"[ \t\r\n]{0,64}+"
_STRING = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
_SCALAR = rb'[^ \t\r\n"{}\[\],:]++'
_PLAIN = rb"(?:%s|%s)" % (_STRING, _SCALAR)
_ARRAY = rb"\[%s(?:%s%s(?:,%s%s%s)*+)?+\]" % (_WS, _PLAIN, _WS, _WS, _PLAIN, _WS)
_MEMBER = rb"%s%s:%s(?:%s|%s)%s" % (_STRING, _WS, _WS, _PLAIN, _ARRAY, _WS)
_FLAT = re.compile(rb"\{%s(?:%s(?:,%s%s)*+)?+\}" % (_WS, _MEMBER, _WS, _MEMBER))
_TOKEN = re.compile(rb'%s(?:(%s)|([{}\[\]:,])|(%s)|("))' % (_WS, _STRING, _SCALAR))
_BODY = re.compile(rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+')
_KEYED = re.compile(rb'\{%s"[^"\\\n]{0,255}+"%s:' % (_FEW, _FEW))
_OPENS_AT_END = re.compile(rb"\{[ \t\r]{0,64}+\Z")
_OPENS_BEFORE_QUOTE = re.compile(rb'\{[ \t\r]{0,64}+"\Z')
_SPACE = re.compile(_WS)
_INK = re.compile(rb'(?:%s|[^ \t\r\n"]++)++' % _STRING)
_TAIL = 72

_BRACE, _BRACKET = 0x7B, 0x5B
_BEFORE_VALUE = {_BRACE: (b":",), _BRACKET: (b"[", b",")}


class Whole(msgspec.Struct, frozen=True, gc=False):
    """An object that ends before `end`."""

    end: int


class Broken(msgspec.Struct, frozen=True, gc=False):
    """What began as an object is none; the next begins at `next`, or, where that is None, at `searched` or later."""

    searched: int
    next: int | None = None


class Glued(msgspec.Struct, frozen=True, gc=False):
    """An object was cut off, and the whole event at `start`, which ends before `end`, took the place of a value."""

    start: int
    end: int


Found = Whole | Broken | Glued


def skip_space(data: bytes, at: int) -> int:
    """Return the place of the first byte from `at` on that is no white space of JSON."""
    found = _SPACE.match(data, at)
    return found.end() if found else at


def next_start(data: bytes, at: int) -> int | None:
    """Return where the next object begins whose first name can be seen, from `at` on."""
    found = _KEYED.search(data, at)
    return found.start() if found else None


def compacted(data: bytes) -> bytes:
    """Return valid JSON without the white space that means nothing; every token stays as it is, byte for byte.

    NaN, lone surrogates and whatever else a tolerant reader takes for valid stay as well.
    """
    try:
        return msgspec.json.format(data, indent=-1)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return without_space(data)


def without_space(data: bytes) -> bytes:
    """Do what `compacted` does, several times slower, for what need not be valid."""
    return b"".join(_INK.findall(data))


def find_end(data: bytes, start: int) -> Found | None:
    """Return how the object that begins at `start` ends; None where `data` ends before that can be told."""
    found = _FLAT.match(data, start)
    return Whole(found.end()) if found else _Walk(data, start).run()


class _Walk:
    """Token by token through an object that is nested, cut off or broken."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self._open = bytearray()
        self._starts: list[int] = []
        self._events: list[bool] = []
        self._last = b""
        self._key = b""

    def run(self) -> Found | None:
        at = self._start
        while token := _TOKEN.match(self._data, at):
            string, mark, scalar, _ = token.groups()
            place = token.start(token.lastindex or 0)
            if mark:
                found = self._take_mark(mark, place)
            elif string or scalar:
                found = self._take_value(string or b"", place, after=at)
            else:
                return self._end_in_string(place)
            if found is not None:
                return found
            at = token.end()
        return None

    def _take_mark(self, mark: bytes, place: int) -> Found | None:
        if mark in b"{[":
            return self._enter(mark, place)
        if mark == b":":
            if self._key == b'"eventid"' and self._open[-1] == _BRACE:
                self._events[-1] = True
        elif mark == b"]":
            if self._open[-1] != _BRACKET:
                return Broken(place)
            self._open.pop()
        elif mark == b"}":
            return self._leave(place)
        self._last, self._key = mark if mark in b":," else b"v", b""
        return None

    def _enter(self, mark: bytes, place: int) -> Found | None:
        if len(self._open) >= MAX_DEPTH:
            return Broken(place)
        if mark == b"{":
            if self._open and self._last not in _BEFORE_VALUE[self._open[-1]]:
                return Broken(place)
            self._starts.append(place)
            self._events.append(False)
        self._open += mark
        self._last, self._key = mark, b""
        return None

    def _leave(self, place: int) -> Found | None:
        while self._open.pop() != _BRACE:
            pass  # an array that was never closed
        start, is_event = self._starts.pop(), self._events.pop()
        if not self._open:
            return Whole(place + 1)
        self._last, self._key = b"v", b""
        return Glued(start, place + 1) if is_event else None

    def _take_value(self, string: bytes, place: int, *, after: int) -> Found | None:
        if place == after and self._last == b"v":
            opened = self._opened_before(place, _OPENS_BEFORE_QUOTE)
            if opened is not None:
                return Broken(place, next=opened)
        self._last, self._key = b"v", string
        return None

    def _end_in_string(self, place: int) -> Found | None:
        body = _BODY.match(self._data, place)
        end = body.end() if body else place + 1
        if self._data[end : end + 1] == b"\\":
            end += 1
        if end >= len(self._data):
            return None
        return Broken(end, next=self._opened_before(end, _OPENS_AT_END))

    def _opened_before(self, place: int, pattern: re.Pattern[bytes]) -> int | None:
        """Return where, before `place`, the beginning of another object stands in a string that was cut off."""
        first = max(self._start + 1, place - _TAIL)
        found = pattern.search(self._data[first:place])
        return first + found.start() if found else None
