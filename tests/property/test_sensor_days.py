"""Which day a file is of, and which moment a timestamp without a zone is: the same as the calendar says."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from producers.cowrie.selection import day_of, is_recent
from tallystick.contracts.timestamps import canonical, render, zone_named

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Australia/Perth"]
)
FORMS = st.sampled_from(
    [
        "cowrie.json.{0}",
        "cowrie.json.{0}.gz",
        "cowrie.{0}.json",
        "cowrie.json-{1}",
        "hp7_{0}.json.bz2",
        "cowrie.json.{2}",
    ]
)
days_of_use = st.dates(date(1990, 1, 1), date(2099, 12, 31))
moments = st.floats(631_152_000, 4_102_444_799).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(days_of_use, FORMS, moments, ZONES, st.integers(0, 40_000), st.floats(0, 4e9))
def test_a_dated_file_is_kept_for_as_many_days_as_the_calendar_has_between(
    day: date, form: str, now: datetime, zone: str, days: int, changed: float
) -> None:
    name = form.format(day.isoformat(), day.strftime("%Y%m%d"), day.strftime("%Y_%m_%d"))
    local = now.astimezone(zone_named(zone))
    assert day_of(name) == day
    assert is_recent(name, changed, days=days, now=local) == (local.date() <= day + timedelta(days=days))


@given(moments, moments, ZONES, st.integers(0, 40_000))
def test_more_days_never_leave_out_more(changed: datetime, now: datetime, zone: str, days: int) -> None:
    local = now.astimezone(zone_named(zone))
    if is_recent("cowrie.json", changed.timestamp(), days=days, now=local):
        assert is_recent("cowrie.json", changed.timestamp(), days=days + 1, now=local)
    assert is_recent("cowrie.json", now.timestamp(), days=0, now=local)


@given(moments, st.sampled_from(sorted(zoneinfo.available_timezones())))
def test_what_a_clock_shows_is_read_as_the_moment_at_which_it_showed_it(moment: datetime, name: str) -> None:
    zone = zone_named(name)
    shown = moment.astimezone(zone)
    assume(shown.fold == 0)
    assert canonical(shown.replace(tzinfo=None).isoformat(), zone) == render(moment)
    assert (
        canonical(shown.isoformat(timespec="microseconds"), zone) == canonical(render(moment), zone) == render(moment)
    )
