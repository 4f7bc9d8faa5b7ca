"""Which files of which sensors are read: the configured ones, as far as their content is recent enough."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from producers.cowrie.discovery import LogFile, Problem, discover
from tallystick.contracts.cowrie import UNKNOWN_SENSOR
from tallystick.contracts.timestamps import zone_named
from tallystick.errors import UsageError
from tallystick.settings import ALL_SENSORS, SensorSettings

LIVE = "cowrie.json"
"""The name of the file that Cowrie writes to: it is never too old."""

_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)")


class Job(msgspec.Struct, frozen=True):
    """Files that are read alike. `sensor` is that of events that name none; times that name no zone are in `zone`."""

    files: tuple[LogFile | Problem, ...]
    sensor: str = UNKNOWN_SENSOR
    zone: str = ""
    format: str = "auto"
    too_old: int = 0
    """How many files were left out."""


def choose(sensors: Sequence[SensorSettings], asked: str) -> list[SensorSettings]:
    """Return the sensors that `asked` names, separated by commas, in its order; `all` stands for every one.

    Raises UsageError for a name that is not configured, with the list of those that are.
    """
    if not sensors:
        raise UsageError("no sensor is configured: add [[sensor]] tables to tallystick.toml, or name the files to read")
    if asked == ALL_SENSORS:
        return list(sensors)
    known = {sensor.name: sensor for sensor in sensors}
    names = list(dict.fromkeys(name.strip() for name in asked.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"no such sensor: {', '.join(map(repr, unknown))}; configured are {', '.join(map(repr, known))}"
        )
    return [known[name] for name in names]


def select(sensors: Iterable[SensorSettings], *, days: int | None, now: datetime) -> list[Job]:
    """Return one job a sensor: all its files, or those whose content is at most `days` days old at `now`.

    A path that can't be read stays in, as the problem that it is.
    """
    return [_job(sensor, days, now) for sensor in sensors]


def job_of_paths(sensors: Iterable[SensorSettings], paths: Sequence[str], *, sensor: str | None) -> Job:
    """Return the job of files that were named themselves; `sensor` lends its zone and format where it is configured."""
    name = sensor or UNKNOWN_SENSOR
    files = tuple(discover(paths))
    known = next((one for one in sensors if one.name == name), None)
    return Job(files, name) if known is None else Job(files, name, _header(known), known.format)


def is_recent(name: str, changed: float, *, days: int, now: datetime) -> bool:
    """Return whether the content of a file is at most `days` days old at `now`.

    An archive is told by the last date in its `name`, such as `cowrie.json.2026-03-01.gz`, `cowrie.2026-03-01.json` or
    `cowrie.json-20260301`; whole days are counted, on the clock of `now`. Any other file is as old as its last change
    (`changed`, seconds since 1970), and the one that Cowrie writes to is always recent.
    """
    if name == LIVE:
        return True
    if (day := day_of(name)) is not None:
        return (now.date() - day).days <= days
    return now.timestamp() - changed <= timedelta(days=days).total_seconds()


def day_of(name: str) -> date | None:
    """Return the last date in the name of a file; None where there is none."""
    found = None
    for year, month, day in _DATE.findall(name):
        try:
            found = date(int(year), int(month), int(day))
        except ValueError:
            continue
    return found


def _job(sensor: SensorSettings, days: int | None, now: datetime) -> Job:
    files = tuple(discover(sensor.paths))
    local = now.astimezone(zone_named(sensor.time_zone))
    kept = files if days is None else tuple(_recent(files, days, local))
    return Job(kept, sensor.name, _header(sensor), sensor.format, too_old=len(files) - len(kept))


def _recent(files: Iterable[LogFile | Problem], days: int, now: datetime) -> Iterator[LogFile | Problem]:
    for file in files:
        if isinstance(file, Problem):
            yield file
            continue
        path = Path(file.path)
        try:
            changed = path.stat().st_mtime
        except OSError:
            # Whoever reads it says why it can't be read.
            yield file
            continue
        if is_recent(path.name, changed, days=days, now=now):
            yield file


def _header(sensor: SensorSettings) -> str:
    """Return the zone as slices carry it: nothing for UTC."""
    return "" if zone_named(sensor.time_zone) is UTC else sensor.time_zone
