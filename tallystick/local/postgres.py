"""A real PostgreSQL on this machine, reached by TCP on the loopback address with a password of its own."""

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from tallystick.errors import ServiceError
from tallystick.local import accounts, files, ports, processes, reach
from tallystick.local.binaries import Binaries, find
from tallystick.local.processes import Account
from tallystick.local.service import Launch, Service

DATABASE = "tallystick"
ROLE = "tallystick"
ORPHAN_SECONDS = 30.0


class Postgres(Service):
    """The database server. Its folder holds `data`, the password, the port and the log."""

    name: ClassVar[str] = "database"
    # "Fast": open transactions are rolled back, so no client can hold the stop up.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._password = folder / "password"
        self._ports = folder / "ports.json"

    def prepare(self) -> Launch:
        """See Service."""
        binaries = find()
        account = accounts.choose(self._data)
        if account:
            accounts.open_way(self.folder, account)
            accounts.open_way(binaries.folder, account)
        if not self._data.exists():
            self._initialise(binaries, account)
        self._clear_remains()
        chosen = ports.keep(self._ports, "server")
        (self._data / "postgresql.conf").write_text(render(port=chosen["server"]))
        return Launch(argv=[str(binaries.folder / "postgres"), "-D", str(self._data)], account=account)

    def marks(self) -> tuple[str, ...]:
        """See Service."""
        return "-D", str(self._data)

    def answers(self) -> bool:
        """See Service: a statement is answered in the database `tallystick`."""
        return (
            self._password.exists()
            and bool(self.address())
            and reach.postgresql(self.url().get_secret_value(), seconds=2)
        )

    def address(self) -> str:
        """Return the database's URL without its password."""
        port = ports.kept(self._ports).get("server")
        return f"postgresql://{ROLE}@{ports.HOST}:{port}/{DATABASE}" if port else ""

    def url(self) -> SecretStr:
        """Return the database's URL. Raises ServiceError if the password has been removed."""
        try:
            password = self._password.read_text()
        except OSError as error:
            raise ServiceError(f"the local database's password can't be read from {self._password}: {error}") from error
        return SecretStr(self.address().replace("@", f":{password}@", 1))

    def _initialise(self, binaries: Binaries, account: Account | None) -> None:
        """Make the data folder: beside its place and then moved there, so that a half made one is never started."""
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        files.replace(self._password, secrets.token_urlsafe(24).encode(), mode=0o600)
        if account:
            os.chown(draft, account.uid, account.gid)
            os.chown(self._password, account.uid, account.gid)
        initdb = [str(binaries.folder / "initdb"), "-D", str(draft), "-U", ROLE, f"--pwfile={self._password}"]
        self._run([*initdb, "--auth=scram-sha-256", "--encoding=UTF8", *binaries.locale()], account)
        single = [str(binaries.folder / "postgres"), "--single", "-D", str(draft), "postgres"]
        self._run(single, account, statement=f"CREATE DATABASE {DATABASE};\n")
        draft.rename(self._data)

    def _run(self, argv: list[str], account: Account | None, *, statement: str = "") -> None:
        with self.log.open("ab") as output:
            done = subprocess.run(
                argv,
                cwd=self.folder,
                env=processes.environment(),
                input=statement.encode(),
                stdout=output,
                stderr=output,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                check=False,
            )
        if done.returncode:
            raise ServiceError(
                f"the database can't be made in {self.folder}. The end of its log, {self.log}:\n"
                f"{processes.tail(self.log)}"
            )

    def _clear_remains(self) -> None:
        """Wait for the children of a killed server, and remove its lock file.

        PostgreSQL would keep off if the pid in its own lock file had been given to another process of the same user.
        """
        if not processes.wait_until(lambda: not processes.working_in(self._data), seconds=ORPHAN_SECONDS):
            pids = [identity.pid for identity in processes.working_in(self._data)]
            raise ServiceError(f"processes {pids} still work in {self._data}: end them, then run the command again")
        (self._data / "postmaster.pid").unlink(missing_ok=True)


def render(*, port: int) -> str:
    """Return `postgresql.conf`: no commit is lost in a crash, and checkpoints don't slow loading down."""
    settings = {
        "listen_addresses": ports.HOST,
        "port": port,
        # A path to a socket may be too long for the system, and TCP serves everyone.
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "datestyle": "iso, ymd",
        "log_line_prefix": "%m [%p] ",
    }
    return "".join(f"{name} = '{value}'\n" for name, value in settings.items())
