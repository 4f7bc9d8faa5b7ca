"""The sensors of cowrieprocessor's `sensors.toml` as tables of ours. Pure: text in, text and warnings out.

A secret stays a reference (`env:NAME`, `file:PATH`). Nothing else that could be a secret is ever repeated, in warnings
neither.
"""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

import msgspec

from tallystick.errors import ConfigurationError
from tallystick.settings import SensorSettings, is_reference, sensor_from

_TAKEN = {"name", "logpath", "time_zone", "tags", "format"}
_SECRET = re.compile(r"api|key|secret|token|pass|credential|auth", re.IGNORECASE)


class Imported(msgspec.Struct, frozen=True):
    """The sensors of a file, and what of it could not be taken, a warning each."""

    sensors: list[SensorSettings]
    warnings: list[str]


def read_foreign(text: str, *, origin: str) -> Imported:
    """Return the sensors of `text`, the content of the file `origin`.

    Raises ConfigurationError with everything that is wrong at once, where it is no TOML, holds no sensor, or a sensor
    has no usable name or path.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{origin} can't be read as TOML: {error}") from None
    tables = content.get("sensor")
    if not isinstance(tables, list) or not tables:
        raise ConfigurationError(f"{origin} holds no [[sensor]] table; is it the sensors.toml of cowrieprocessor?")
    sensors: dict[str, SensorSettings] = {}
    warnings = [f"[{key}] is left out: it is about no sensor" for key in content if key != "sensor"]
    wrong = []
    for number, table in enumerate(tables, 1):
        where = _where(number, table)
        try:
            sensor = sensor_from(_ours(table, where, warnings))
        except ConfigurationError as error:
            wrong.append(f"  {where}: {error}")
            continue
        if sensor.name in sensors:
            wrong.append(f"  {where}: another sensor of the file has this name")
        sensors[sensor.name] = sensor
    if wrong:
        raise ConfigurationError("\n".join([f"{origin} can't be imported:", *wrong]))
    return Imported(list(sensors.values()), warnings)


def merged(text: str, sensors: Sequence[SensorSettings], *, origin: str) -> tuple[str, list[str]]:
    """Return `text`, a configuration file, with the tables of new sensors after it, and the names that it had already.

    What was there stays as it is, byte for byte. Raises ConfigurationError where `origin` is no TOML, or holds its
    sensors in a form that can't be added to.
    """
    try:
        there = tomllib.loads(text).get("sensor", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{origin} can't be read as TOML: {error}") from None
    tables = there if isinstance(there, list) else []
    names = {table.get("name") for table in tables if isinstance(table, dict)}
    new = [sensor for sensor in sensors if sensor.name not in names]
    if not new:
        return text, [sensor.name for sensor in sensors]
    joint = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    result = text + joint + as_toml(new)
    try:
        tomllib.loads(result)
    except tomllib.TOMLDecodeError:
        raise ConfigurationError(
            f"{origin} holds `sensor` in another form than [[sensor]] tables, so none can be added; write it as tables"
        ) from None
    return result, [sensor.name for sensor in sensors if sensor.name in names]


def as_toml(sensors: Sequence[SensorSettings]) -> str:
    """Return `[[sensor]]` tables; values at their default are left out. All of it is printable ASCII or letters."""
    return "\n".join(_table(sensor) for sensor in sensors)


def _ours(table: Any, where: str, warnings: list[str]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError("it is no table")
    paths = table.get("logpath")
    if is_reference(paths):
        raise ConfigurationError("logpath is a reference; write the path itself")
    ours = {key: table[key] for key in ("name", "time_zone", "tags", "format") if key in table}
    ours["paths"] = [paths] if isinstance(paths, str) else paths or []
    ours["secrets"] = {}
    for key, value in table.items():
        if key in _TAKEN:
            continue
        if is_reference(value):
            ours["secrets"][key] = value
        elif _SECRET.search(key):
            warnings.append(
                f"{where}: {key} is left out: it is no reference; put the secret into an environment variable or a "
                f"file, and write env:NAME or file:PATH in its place"
            )
        else:
            warnings.append(f"{where}: {key} is left out: there is no such setting here")
    return ours


def _where(number: int, table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"sensor {name!r}" if isinstance(name, str) else f"sensor number {number}"


def _table(sensor: SensorSettings) -> str:
    given = sensor.model_dump(exclude_defaults=True, exclude={"secrets"})
    lines = ["[[sensor]]", *(f"{name} = {_value(value)}" for name, value in given.items())]
    if sensor.secrets:
        pairs = (f"{_text(name)} = {_text(reference)}" for name, reference in sensor.secrets.items())
        lines.append(f"secrets = {{ {', '.join(pairs)} }}")
    return "\n".join(lines) + "\n"


def _value(value: str | Sequence[str]) -> str:
    return _text(value) if isinstance(value, str) else f"[{', '.join(map(_text, value))}]"


def _text(text: str) -> str:
    return '"' + "".join(map(_char, text)) + '"'


def _char(char: str) -> str:
    if char in {'"', "\\"}:
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
