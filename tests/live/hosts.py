"""A real directory of identities and a real PDS, as processes that can be killed and started again."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tallystick.local.ports import choose

HERE = Path(__file__).parent


def install() -> None:
    """Install what package-lock.json names, where that has not been done."""
    if not (HERE / "node_modules" / "@atproto" / "dev-env").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)


def node() -> str:
    """Return where Node is. Raises RuntimeError where it isn't."""
    found = shutil.which("node")
    if found is None:
        raise RuntimeError("there is no `node`: install Node 20 or newer with npm")
    return found


class _Server:
    """A process of hosts.js."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log, self._arguments = log, arguments
        self._process: subprocess.Popen[str] | None = None
        self.said: dict[str, Any] = {}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [node(), "hosts.js", *self._arguments], cwd=HERE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._arguments} did not start: {self._log.read_text()[-2000:]}")
        self.said = json.loads(line)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return str(self.said["url"])


class Plc(_Server):
    """The directory. It holds all in memory, so that it must outlive the PDS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "plc.log", "plc", str(choose(taken=set())))


class Pds(_Server):
    """The PDS, with its data in a folder."""

    def __init__(self, folder: Path, plc: Plc) -> None:
        data = folder / "pds"
        data.mkdir()
        super().__init__(folder / "pds.log", "pds", str(choose(taken=set())), plc.url, str(data))
        self.plc_url = plc.url

    @property
    def admin(self) -> str:
        """The value of the header `authorization` for an administrator."""
        return str(self.said["admin"])
