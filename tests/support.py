"""What several test files share: running the command as its user would, and waiting for a state with a deadline."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tallystick.settings import Settings

T = TypeVar("T")
TALLY = (sys.executable, "-m", "tallystick.cli.main")
ROLE = (sys.executable, "-m", "tallystick.cli.run")
SAMPLE = Path(__file__).parents[2] / "shared" / "samples" / "cowrie" / "cowrie-3.1.4.json.gz"


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which the command uses `settings`."""
    url = settings.database.url
    named = {
        "TALLY_HOME": str(settings.home),
        "TALLY_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TALLY_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "TALLY_DATABASE__URL": url.get_secret_value() if url else None,
        "TALLY_DATABASE__SCHEMA_NAME": settings.database.schema_name,
    }
    return {**os.environ, **{name: value for name, value in named.items() if value}}


def tally(
    settings: Settings, *arguments: str, seconds: float = 120.0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `tally` with `arguments` to its end."""
    return subprocess.run(
        [*TALLY, *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=cwd,
    )


def tally_json(settings: Settings, *arguments: str, seconds: float = 120.0) -> Any:
    """Run `tally` with `arguments` and return the JSON that it prints; fails the test where it prints none."""
    done = tally(settings, *arguments, seconds=seconds)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}") from None


def eventually(look: Callable[[], T], *, until: Callable[[T], bool] = bool, seconds: float = 60.0) -> T:
    """Return what `look` sees once `until` holds for it. Fails with the last sight after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s; last seen: {seen!r}")
        time.sleep(0.05)
