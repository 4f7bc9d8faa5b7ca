"""Event time in one canonical form: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, UTC, always 27 characters.

As text of fixed width it sorts as time does, so folds compare strings and never parse twice.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

_CANONICAL = re.compile(
    r"(?!0000)\d{4}-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z",
    re.ASCII,
)
_CANONICAL_LINES = re.compile(f"(?:{_CANONICAL.pattern}\n)*+", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_OF_THE_HOST = {"localtime", "posixrules"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def zone_named(name: str) -> tzinfo:
    """Return the time zone with an IANA name such as `Europe/Berlin`; an empty name stands for UTC.

    Raises ValueError where there is none of that name, or what it stands for differs from host to host.
    """
    if name in {"", "UTC"}:
        return UTC
    try:
        if name in _OF_THE_HOST:
            raise LookupError(name)
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(
            f"no time zone is called {name[:64]!r}; give a name of the IANA database, such as Europe/Berlin"
        ) from error


def canonical(value: object, zone: tzinfo = UTC) -> str:
    """Return `value` in canonical form.

    Takes ISO 8601 text with `Z`, an offset (`+02:00`, `+0200`, `+02`) or none (then it is the clock of `zone`), and
    seconds since 1970 as a number or as digits. Digits past the microsecond are cut. Of the hour that a clock shows
    twice in autumn the first one is meant; one that it leaves out in spring goes on with the offset of before.
    Raises ValueError with the reason where `value` is no time between the years 1 and 9999.
    """
    if isinstance(value, str):
        if _CANONICAL.fullmatch(value):
            return value
        if found := _ISO.fullmatch(value.strip()):
            year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
            micro = int((found[7] or "0")[:6].ljust(6, "0"))
            try:
                moment = datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC if found[8] else zone)
                return render(moment - _offset(found[8]))
            except OverflowError as error:
                raise ValueError(f"time out of range: {value!r}") from error
        if not re.fullmatch(r"\d{1,12}(\.\d+)?", value, re.ASCII):
            raise ValueError(f"not a time: {value[:64]!r}")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a time: {type(value).__name__}")
    try:
        return render(_EPOCH + timedelta(microseconds=round(value * 1_000_000)))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"time out of range: {value!r}") from error


def are_canonical(values: Sequence[Any]) -> TypeGuard[Sequence[str]]:
    """Return whether each of `values` is text in canonical form: one search for all, as many are read at once."""
    if not values:
        return True
    try:
        lines = "\n".join(values) + "\n"
    except TypeError:
        return False
    # The length tells of a value that has a line end within.
    return len(lines) == 28 * len(values) and _CANONICAL_LINES.fullmatch(lines) is not None


def render(moment: datetime) -> str:
    """Return an aware `moment` in canonical form."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def now() -> str:
    """Return the present time in canonical form."""
    return render(datetime.now(UTC))


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one canonical time to another."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        raise ValueError(f"not an offset: {zone!r}")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
