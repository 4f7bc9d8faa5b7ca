"""What several test files share: running the command as its user would, and waiting for a state with a deadline."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from tallystick.cli.main import main
from tallystick.settings import Settings
from tests.warm import Command

T = TypeVar("T")
TALLY = (sys.executable, "-m", "tallystick.cli.main")
ROLE = (sys.executable, "-m", "tallystick.cli.run")


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which the command uses `settings`."""
    url = settings.database.url
    named = {
        "TALLY_HOME": str(settings.home),
        "TALLY_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TALLY_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "TALLY_KAFKA__PARTITIONS": str(settings.kafka.partitions),
        "TALLY_DATABASE__URL": url.get_secret_value() if url else None,
        "TALLY_DATABASE__SCHEMA_NAME": settings.database.schema_name,
    }
    return {**os.environ, **{name: value for name, value in named.items() if value}}


def tally(
    settings: Settings, *arguments: str, seconds: float = 120.0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `tally` with `arguments` to its end."""
    process = Command([*TALLY, *arguments], env=environment(settings), cwd=cwd)
    try:
        output = process.communicate(seconds)
    finally:
        process.kill()
    return subprocess.CompletedProcess([*arguments], process.wait(), *output)


def tally_here(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, for commands that start no role: they spend more on their start than on all they do."""
    output, said = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        patch.dict(os.environ, environment(settings)),
        patch.object(sys, "argv", ["tally", *arguments]),
        redirect_stdout(output),
        redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    written = (stream.buffer.getvalue().decode() for stream in (output, said))
    return subprocess.CompletedProcess(list(arguments), ended.value.code or 0, *written)  # type: ignore[arg-type]


def tally_json(settings: Settings, *arguments: str, seconds: float = 120.0) -> Any:
    """Run `tally` with `arguments` and return the JSON that it prints; fails the test where it prints none."""
    return json_of(tally(settings, *arguments, seconds=seconds))


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON that a command has printed; fails the test where it is none."""
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}") from None


def eventually(look: Callable[[], T], *, until: Callable[[T], bool] = bool, seconds: float = 60.0) -> T:
    """Return what `look` sees once `until` holds for it. Fails with the last sight after `seconds`.

    A look that takes long is followed by a pause as long, so that looking leaves half a processor to what is looked at.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        seen = look()
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s; last seen: {seen!r}")
        time.sleep(max(0.05, time.monotonic() - began))
