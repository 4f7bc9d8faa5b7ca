"""The jars of Apache Kafka. `python -m tallystick.local.jars` downloads them if need be and prints their class path.

They are resolved in a process of their own, because the resolver reads JAVA_HOME and writes notes to the terminal.
"""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO

import platformdirs
from filelock import FileLock

from tallystick.errors import ServiceError
from tallystick.local import java, processes

KAFKA_VERSION = "4.4.0"
LOG4J_VERSION = "2.25.5"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Named, because the resolver otherwise takes older ones.
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-server-common:{KAFKA_VERSION}",
    # Kafka's own artifacts have no logger. "!": its managed versions would replace Kafka's, of zstd for one.
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}!",
)


def classpath(*, log: Path, seconds: float = 600.0) -> str:
    """Return Kafka's class path; the first time, this downloads 43 MB within `seconds`.

    What the resolver says is appended to `log`. Raises ServiceError if there is no Java, no resolver or no download.
    """
    environment = os.environ | {"JAVA_HOME": str(java.home(java.find()))}
    with log.open("ab") as notes:
        answer = _resolve(environment, notes=notes, seconds=seconds)
    if not answer:
        raise ServiceError(
            f"Kafka's jars could not be had. They come once, from Maven Central: check the network (or the proxy "
            f"settings) and that `pip install 'tallystick[local]'` was done, then run the command again. "
            f"The end of the log, {log}:\n{processes.tail(log, lines=3)}"
        )
    return answer


def _resolve(environment: dict[str, str], *, notes: IO[bytes], seconds: float) -> str | None:
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "tallystick.local.jars"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=notes,
            text=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.SubprocessError:
        return None
    return answer.stdout.strip()


def main() -> None:
    """Resolve the jars and print their class path. Processes that do so at once wait for each other."""
    import jgo

    cache = platformdirs.user_cache_path("tallystick", ensure_exists=True)
    with FileLock(cache / "jars.lock"), redirect_stdout(sys.stderr):
        jars = jgo.build("+".join(COORDINATES)).all_jars
    if missing := [jar for jar in jars if not jar.exists()]:
        sys.exit(f"the resolver's cache lacks {missing[0]}: remove its folder")
    sys.stdout.write(os.pathsep.join(map(str, jars)) + "\n")


if __name__ == "__main__":
    main()
