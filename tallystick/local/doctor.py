"""What the local stack and the configured servers need, and how to get what is missing."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from tallystick.errors import ServiceError
from tallystick.local import stack
from tallystick.settings import Settings

MIN_PYTHON = (3, 11)
MIN_DISK_BYTES = 2 * 1024**3
MIN_MEMORY_BYTES = 1024**3
MIB = 1024**2
JARS_SECONDS = 120.0
PACKAGES = ("filelock", "platformdirs", "psutil")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is needed: whether it is there, what was found, and how to get it where it isn't."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Return a finding for each thing that these settings need. Tries things rather than guessing.

    What only the local Kafka or the local PostgreSQL needs is left out where one is configured. May download Kafka.
    """
    findings = [_python(), _home(settings), _disk(settings)]
    local_kafka, local_database = not settings.kafka.bootstrap_servers, not settings.database.url
    if local_kafka or local_database:
        findings += _packages()
    if local_kafka:
        findings.append(_attempt("java", _java))
        if findings[-1].ok:
            findings.append(_attempt("kafka jars", _jars))
    if local_database:
        findings.append(_attempt("postgresql", _postgresql))
    return findings + [_server(status) for status in stack.configured(settings)]


def _check(name: str, ok: bool, found: str, remedy: str) -> Finding:
    return Finding(name, ok, found, "" if ok else remedy)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, MIN_PYTHON))
    return _check("python", sys.version_info >= MIN_PYTHON, found, f"install Python {wanted} or newer")


def _home(settings: Settings) -> Finding:
    folder = _existing(settings.home)
    ok = os.access(folder, os.W_OK | os.X_OK)
    return _check("data folder", ok, str(settings.home), f"make {folder} writable, or set TALLY_HOME to another folder")


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home)).free
    remedy = f"free {MIN_DISK_BYTES // MIB} MiB there, or set TALLY_HOME to a folder on a larger disk"
    return _check("disk", free >= MIN_DISK_BYTES, f"{free // MIB} MiB free", remedy)


def _packages() -> list[Finding]:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return [Finding("packages", ok=False, found=", ".join(missing), remedy="pip install 'tallystick[local]'")]
    import psutil

    available = psutil.virtual_memory().available
    remedy = f"end other programs: Kafka and PostgreSQL need {MIN_MEMORY_BYTES // MIB} MiB"
    return [
        Finding("packages", ok=True, found=", ".join(PACKAGES)),
        _check("memory", available >= MIN_MEMORY_BYTES, f"{available // MIB} MiB available", remedy),
    ]


def _attempt(name: str, attempt: Callable[[], str]) -> Finding:
    """Return what `attempt` found. Its error's text ends in the remedy."""
    try:
        return Finding(name, ok=True, found=attempt())
    except ImportError as error:
        return Finding(name, ok=False, found=f"no package {error.name}", remedy="pip install 'tallystick[local]'")
    except ServiceError as error:
        return Finding(name, ok=False, found="", remedy=str(error))


def _java() -> str:
    from tallystick.local import java

    found = java.find()
    return f"Java {java.major_version(found)}, {found}"


def _jars() -> str:
    from tallystick.local import jars

    with tempfile.TemporaryDirectory() as folder:
        classpath = jars.classpath(log=Path(folder) / "jars.log", seconds=JARS_SECONDS).split(os.pathsep)
    return f"Kafka {jars.KAFKA_VERSION}, {len(classpath)} files in {Path(classpath[0]).parent.parent}"


def _postgresql() -> str:
    from tallystick.local import binaries

    found = binaries.find()
    return f"PostgreSQL {found.major}, {found.folder}"


def _server(status: stack.ServiceStatus) -> Finding:
    setting = {"kafka": "TALLY_KAFKA__BOOTSTRAP_SERVERS", "database": "TALLY_DATABASE__URL"}[status.name]
    remedy = f"start it, open the way to it, or correct {setting} (or tallystick.toml); unset, a local one is started"
    return _check(f"configured {status.name}", status.state == "up", status.address, remedy)


def _existing(folder: Path) -> Path:
    """Return `folder`, or its nearest parent that exists."""
    folder = folder.expanduser().absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
