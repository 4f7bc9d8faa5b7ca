"""PostgreSQL refuses to run as root: the ordinary account it runs as instead, and its way to the folders it needs."""

import logging
import os
import pwd
import stat
import subprocess
from pathlib import Path

from tallystick.errors import ServiceError
from tallystick.local.processes import Account

PREFERRED = ("postgres", "nobody")

log = logging.getLogger(__name__)


def choose(folder: Path) -> Account | None:
    """Return the account that owns `folder`'s server when this process is root; None if it isn't (it runs as itself).

    That is `folder`'s owner where an earlier start has made it, else `TALLY_PG_USER`, `postgres` or `nobody`.
    Raises ServiceError if none of them exists.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    asked = os.environ.get("TALLY_PG_USER")
    for name in (asked,) if asked else PREFERRED:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise ServiceError(
        f"PostgreSQL does not run as root, and there is no user {asked or ' or '.join(PREFERRED)} to run it as: "
        "name one with TALLY_PG_USER, or run tally as an ordinary user"
    )


def open_way(folder: Path, account: Account) -> None:
    """Let `account` reach `folder`: what only root may search on the way becomes searchable, not readable, by everyone.

    Each change is logged as a warning. Raises ServiceError if the account still can't reach the folder.
    """
    if _reaches(folder, account):
        return
    folder = folder.resolve()
    for step in (*reversed(folder.parents), folder):
        mode = stat.S_IMODE(step.stat().st_mode)
        if not mode & stat.S_IXOTH:
            step.chmod(mode | stat.S_IXOTH)
            log.warning(
                "made %s searchable (chmod o+x), so that PostgreSQL, which can't run as root, reaches %s as %s",
                step,
                folder,
                account.name,
            )
    if not _reaches(folder, account):
        raise ServiceError(
            f"user {account.name}, as whom PostgreSQL runs because root can't, has no access to {folder}: "
            "set TALLY_HOME to a folder it can reach, install tallystick outside private folders, "
            "or don't run tally as root"
        )


def _reaches(folder: Path, account: Account) -> bool:
    probe = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        check=False,
    )
    return probe.returncode == 0


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
