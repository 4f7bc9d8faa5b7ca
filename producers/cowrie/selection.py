"""Which files of which sensors are read: those of configured sensors, as far as their content is recent enough."""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from producers.cowrie.discovery import LogFile, Problem, discover
from producers.cowrie.formats import Format
from tallystick.contracts.cowrie import UNKNOWN_SENSOR
from tallystick.contracts.timestamps import zone_named
from tallystick.errors import UsageError
from tallystick.settings import ALL_SENSORS, SensorSettings

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")

FOLLOWED = frozenset({Format.AUTO, Format.LINES})
"""The formats that can be followed while they are written: all others end an event only with what comes after it."""


class Job(msgspec.Struct, frozen=True):
    """Files that are read alike. `sensor` is that of events that name none; times that name no zone are in `zone`."""

    files: tuple[LogFile | Problem, ...]
    sensor: str = UNKNOWN_SENSOR
    form: Format = Format.AUTO
    zone: str = ""
    too_old: int = 0
    """How many files were left out for their age."""
    taken: int = 0
    """How many were left out because a sensor before this one has them already."""


class Followed(msgspec.Struct, frozen=True):
    """Files that are followed alike; see `Job`. `paths` are what `discover` takes."""

    paths: tuple[str, ...]
    sensor: str = UNKNOWN_SENSOR
    zone: str = ""


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

    A file that several sensors have belongs to the first one, so that none is read twice. A path that can't be read
    stays in, as the problem that it is.
    """
    jobs, seen = [], set[str]()
    for sensor in sensors:
        files = list(discover(sensor.paths))
        own = [file for file in files if isinstance(file, Problem) or os.path.realpath(file.path) not in seen]
        seen.update(os.path.realpath(file.path) for file in own)
        local = now.astimezone(zone_named(sensor.time_zone))
        kept = tuple(file for file in own if days is None or _is_recent(file, days, local))
        jobs.append(
            Job(
                kept,
                sensor.name,
                Format(sensor.format),
                _header(sensor),
                too_old=len(own) - len(kept),
                taken=len(files) - len(own),
            )
        )
    return jobs


def job_of_paths(
    sensors: Iterable[SensorSettings], paths: Sequence[str], *, sensor: str | None, form: Format | None = None
) -> Job:
    """Return the job of files that were named themselves.

    Where `sensor` is configured, its zone goes with it, and its format unless another `form` is given.
    """
    files, name = tuple(discover(paths)), sensor or UNKNOWN_SENSOR
    known = _known(sensors, name)
    if known is None:
        return Job(files, name, form or Format.AUTO)
    return Job(files, name, form or Format(known.format), _header(known))


def follow(sensors: Iterable[SensorSettings]) -> list[Followed]:
    """Return how `sensors` are followed. Raises UsageError for one whose format can't be."""
    return [_followed(sensor, sensor.paths) for sensor in sensors]


def follow_paths(sensors: Iterable[SensorSettings], paths: Sequence[str], *, sensor: str | None) -> Followed:
    """Return how files that were named themselves are followed; a configured `sensor` lends its zone.

    Raises UsageError where its format can't be followed.
    """
    name = sensor or UNKNOWN_SENSOR
    known = _known(sensors, name)
    return Followed(tuple(paths), name) if known is None else _followed(known, paths)


def is_recent(name: str, changed: float, *, days: int, now: datetime) -> bool:
    """Return whether the content of a file is at most `days` days old at `now`.

    Its day is the last date in its `name`, such as in `cowrie.json.2026-03-01.gz`, `cowrie.2026-03-01.json` or
    `cowrie.json-20260301`, else that of its last change (`changed`, seconds since 1970). Whole days are counted, on the
    clock of `now`; 0 is today.
    """
    day = day_of(name) or datetime.fromtimestamp(changed, now.tzinfo).date()
    return (now.date() - day).days <= days


def day_of(name: str) -> date | None:
    """Return the last date in the name of a file; None where there is none."""
    found = None
    for year, _, month, day in _DATE.findall(name):
        try:
            found = date(int(year), int(month), int(day))
        except ValueError:
            continue
    return found


def _is_recent(file: LogFile | Problem, days: int, now: datetime) -> bool:
    if isinstance(file, Problem):
        return True
    path = Path(file.path)
    try:
        return is_recent(path.name, path.stat().st_mtime, days=days, now=now)
    except OSError:
        return True  # whoever reads it says why it can't be read


def _followed(sensor: SensorSettings, paths: Sequence[str]) -> Followed:
    if Format(sensor.format) not in FOLLOWED:
        raise UsageError(
            f"logs are followed line by line, and sensor {sensor.name!r} has the format {sensor.format}: leave it out "
            "of --sensor, and load its files with `tally load`"
        )
    return Followed(tuple(paths), sensor.name, _header(sensor))


def _known(sensors: Iterable[SensorSettings], name: str) -> SensorSettings | None:
    return next((sensor for sensor in sensors if sensor.name == name), None)


def _header(sensor: SensorSettings) -> str:
    """Return the zone as slices carry it: nothing for UTC."""
    return "" if zone_named(sensor.time_zone) is UTC else sensor.time_zone
