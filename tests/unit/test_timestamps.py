"""Event time: what is understood, and that what comes out sorts as time does."""

from typing import Any

import pytest

from tallystick.contracts import timestamps

UNDERSTOOD = [
    pytest.param("2026-11-23T03:43:43.270739Z", "2026-11-23T03:43:43.270739Z", id="canonical text stays as it is"),
    pytest.param("2026-11-23T03:43:43Z", "2026-11-23T03:43:43.000000Z", id="whole seconds get six digits"),
    pytest.param("2026-11-23T03:43:43.5Z", "2026-11-23T03:43:43.500000Z", id="a short fraction is filled up"),
    pytest.param("2026-11-23T03:43:43.123456789Z", "2026-11-23T03:43:43.123456Z", id="nanoseconds are cut"),
    pytest.param("2026-11-23T03:43:43,250Z", "2026-11-23T03:43:43.250000Z", id="a comma may part the fraction"),
    pytest.param("2026-11-23 03:43:43.270739", "2026-11-23T03:43:43.270739Z", id="no zone is UTC, a blank is a T"),
    pytest.param("2026-11-23T03:43:43.270739z", "2026-11-23T03:43:43.270739Z", id="a small z is UTC too"),
    pytest.param("2026-11-23T03:43:43+0200", "2026-11-23T01:43:43.000000Z", id="an offset without a colon"),
    pytest.param("2026-11-23T03:43:43+02:00", "2026-11-23T01:43:43.000000Z", id="an offset with a colon"),
    pytest.param("2026-11-23T03:43:43+02", "2026-11-23T01:43:43.000000Z", id="an offset of hours"),
    pytest.param("2026-12-31T23:30:00-0130", "2027-01-01T01:00:00.000000Z", id="a western offset, over the year's end"),
    pytest.param("2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000000Z", id="a leap day"),
    pytest.param("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", id="the first year keeps its four digits"),
    pytest.param(" 2026-11-23T03:43:43Z\n", "2026-11-23T03:43:43.000000Z", id="blanks around are ignored"),
    pytest.param(1_700_000_000, "2023-11-14T22:13:20.000000Z", id="whole seconds since 1970"),
    pytest.param(1_700_000_000.123456, "2023-11-14T22:13:20.123456Z", id="a float of seconds keeps its microseconds"),
    pytest.param("1700000000.5", "2023-11-14T22:13:20.500000Z", id="seconds as digits"),
    pytest.param(-1, "1969-12-31T23:59:59.000000Z", id="before 1970"),
]
REFUSED = [
    pytest.param("", id="empty text"),
    pytest.param("yesterday", id="words"),
    pytest.param("2026-13-01T00:00:00Z", id="month 13"),
    pytest.param("2027-02-29T00:00:00Z", id="a leap day in a common year"),
    pytest.param("2026-11-23T24:00:00.000000Z", id="hour 24"),
    pytest.param("2026-11-23T03:43:60.000000Z", id="second 60"),
    pytest.param("0000-01-01T00:00:00.000000Z", id="year 0"),
    pytest.param("0001-01-01T00:00:00+01:00", id="before the first year, by its offset"),
    pytest.param("9999-12-31T23:59:59-01:00", id="after the last year, by its offset"),
    pytest.param("2026-11-23T03:43:43+02:60", id="an offset of sixty minutes"),
    pytest.param("2026-11-23T03:43:43+24:00", id="an offset of a day"),
    pytest.param("٢٠٢٦-11-23T03:43:43.270739Z", id="digits of another script"),
    pytest.param("9" * 400, id="more digits than a time can have"),
    pytest.param(float("nan"), id="not a number"),
    pytest.param(float("inf"), id="infinity"),
    pytest.param(10**400, id="a number beyond all years"),
    pytest.param(True, id="a boolean is no number of seconds"),
    pytest.param(None, id="nothing"),
    pytest.param(["2026-11-23T03:43:43Z"], id="a list"),
]


@pytest.mark.parametrize(("value", "expected"), UNDERSTOOD)
def test_a_time_becomes_canonical(value: object, expected: str) -> None:
    assert timestamps.canonical(value) == expected


@pytest.mark.parametrize("value", REFUSED)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        timestamps.canonical(value)


AT = "2026-11-23T03:43:43.270739Z"
SEVERAL = [
    pytest.param([], True, id="none"),
    pytest.param([AT, "2028-01-31T23:59:59.999999Z", "0001-12-30T00:00:00.000000Z"], True, id="all are"),
    pytest.param([AT, "2026-11-23T03:43:43Z"], False, id="one is a time, but not in this form"),
    pytest.param([AT, "2026-11-31T00:00:00.000000Z"], False, id="one is a day that is none"),
    pytest.param([f"{AT}\n{AT}"], False, id="two in one text"),
    pytest.param([AT[:10], AT[10:]], False, id="one in two texts"),
    pytest.param([f"{AT}\n{AT[:10]}", AT[11:]], False, id="two in two texts that are parted elsewhere"),
    pytest.param([""], False, id="an empty text"),
    pytest.param([AT, None], False, id="one is missing"),
    pytest.param([1_764_000_000], False, id="one is a number"),
]


@pytest.mark.parametrize(("values", "expected"), SEVERAL)
def test_several_are_canonical_where_each_of_them_is(values: list[Any], expected: bool) -> None:
    assert timestamps.are_canonical(values) is expected


def test_seconds_between_two_times() -> None:
    assert timestamps.seconds_between("2026-11-23T23:59:59.500000Z", "2026-11-24T00:00:01.000000Z") == 1.5


def test_the_present_is_canonical() -> None:
    present = timestamps.now()
    assert timestamps.canonical(present) is present


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("2026-07-01T12:00:00", "2026-07-01T10:00:00.000000Z", id="no zone, in summer"),
        pytest.param("2026-01-01T12:00:00.5", "2026-01-01T11:00:00.500000Z", id="no zone, in winter"),
        pytest.param("2026-10-25T02:30:00", "2026-10-25T00:30:00.000000Z", id="the hour that comes twice: the first"),
        pytest.param("2026-03-29T02:30:00", "2026-03-29T01:30:00.000000Z", id="the hour that is left out"),
        pytest.param("2026-07-01T12:00:00Z", "2026-07-01T12:00:00.000000Z", id="Z is stronger than the zone"),
        pytest.param("2026-07-01T12:00:00.000000Z", "2026-07-01T12:00:00.000000Z", id="and so in canonical text"),
        pytest.param("2026-07-01T12:00:00-0500", "2026-07-01T17:00:00.000000Z", id="an offset is stronger too"),
        pytest.param(1_700_000_000, "2023-11-14T22:13:20.000000Z", id="seconds since 1970 have no zone"),
    ],
)
def test_a_time_without_a_zone_is_read_on_the_clock_of_the_given_one(value: object, expected: str) -> None:
    assert timestamps.canonical(value, timestamps.zone_named("Europe/Berlin")) == expected


def test_a_time_that_its_zone_puts_before_the_first_year_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        timestamps.canonical("0001-01-01T00:00:00", timestamps.zone_named("Europe/Berlin"))


@pytest.mark.parametrize(
    "name", ["Europe", "Nowhere/Land", "../../etc/passwd", "/etc/localtime", "localtime", "a\0b", "x" * 5_000]
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone is called"):
        timestamps.zone_named(name)
