"""A live PDS with people on it, while all of Tallystick is killed: in the end the tables are its repositories."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from producers.atproto.protocol.car import read_car
from producers.atproto.protocol.cids import cid_text
from producers.atproto.protocol.commits import read_signed
from producers.atproto.protocol.mst import walk
from producers.atproto.protocol.records import record_json
from tallystick.database.engine import make_engine
from tallystick.local import stack
from tallystick.settings import Settings, load_settings
from tests.live.hosts import Pds, Plc, install
from tests.live.traffic import Account, People
from tests.support import TALLY, environment, eventually

KILLS = 10
LARGE = 2**30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all servers keep their data."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def pds(folder: Path) -> Iterator[Pds]:
    """A PDS with its directory."""
    install()
    plc = Plc(folder)
    plc.start()
    pds = Pds(folder, plc)
    pds.start()
    yield pds
    pds.kill()
    plc.kill()


@pytest.fixture(scope="module")
def settings(folder: Path, pds: Pds) -> Iterator[Settings]:
    """Settings with a local stack of this test's own."""
    mine = load_settings().model_copy(update={"home": folder / "home"})
    yield mine
    stack.down(mine)


class Service:
    """`tally atproto all`, which may be killed and started again."""

    def __init__(self, settings: Settings, pds: Pds, log: Path) -> None:
        self._settings, self._pds, self._log = settings, pds, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        told = {
            "TALLY_ATPROTO__PLC_URL": self._pds.plc_url,
            "TALLY_ATPROTO__PRIVATE_HOSTS": "true",
            "TALLY_ATPROTO__RESYNC": "all",
            "TALLY_ATPROTO__BEGIN": "oldest",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*TALLY, "atproto", "all", "--host", self._pds.url],
                env={**environment(self._settings), **told},
                stdout=log,
                stderr=log,
            )

    def parts(self) -> list[psutil.Process]:
        """Return the supervisor and its roles, as far as they run."""
        assert self._process is not None
        me = psutil.Process(self._process.pid)
        return [me, *(one for one in me.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE)]

    def kill_one(self, chance: random.Random) -> str:
        """Kill one process of it, any; if that is the supervisor, start it again. Returns what was killed."""
        parts = self.parts()
        victim = chance.choice(parts)
        name = " ".join(victim.cmdline()[3:6])
        victim.send_signal(signal.SIGKILL)
        if victim.pid == parts[0].pid:
            assert self._process is not None
            self._process.wait()
            self.start()
        return name

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)


def test_the_tables_are_the_repositories_after_everything_was_killed(
    settings: Settings, pds: Pds, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(6)
    people = People(pds, seed=6)
    people.join(6)
    service = Service(settings, pds, folder / "service.log")
    service.start()
    people.start()
    engine = make_engine(stack.resolve(settings))
    eventually(lambda: _written(engine), seconds=120)
    killed = []
    for number in range(KILLS):
        before = people.writes
        eventually(lambda before=before: people.writes > before + 60, seconds=120)  # type: ignore[misc]
        killed.append(service.kill_one(chance))
        if number == 3:
            pds.kill()
            pds.start()
        if number in {5, 7}:
            killed.append(_kill_server(settings, "kafka" if number == 5 else "database"))
    people.remove(people.accounts[0])
    people.stop()
    expected = {account.did: _repository(people, account) for account in people.accounts}
    heads = {did: rev for did, (rev, _) in expected.items()}
    eventually(lambda: _heads(engine, heads), until=lambda found: found == heads, seconds=300)
    eventually(lambda: _states(engine, heads), until=lambda found: set(found) == {"synchronised"}, seconds=120)
    # The agent knows by Kafka that a repository is synchronised; the sinks may still be at work on it.
    wanted = {did: records for did, (_, records) in expected.items()}
    found = eventually(
        lambda: {did: _rows(engine, did) for did in expected}, until=lambda found: found == wanted, seconds=120
    )
    assert found == wanted
    assert _inactive(engine) == set(people.deleted)
    assert service.stop() in {143, 0}
    with capsys.disabled():
        total = sum(map(len, found.values()))
        print(f"\n{people.writes} writes, {len(found)} accounts, {total} records; killed: {', '.join(killed)}")


def _kill_server(settings: Settings, name: str) -> str:
    [status] = [status for status in stack.status(settings) if status.name == name]
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    return name


def _repository(people: People, account: Account) -> tuple[str, dict[str, tuple[str, object]]]:
    """Return the revision of a repository and, by path, the CID and the JSON of each record, as its PDS exports it."""
    car = read_car(people.get("com.atproto.sync.getRepo", did=account.did), max_bytes=LARGE, max_blocks=LARGE)
    signed = read_signed(car.root, car)
    records = {}
    for path, cid in walk(signed.data, car.get, max_nodes=LARGE):
        block = car.get(cid)
        assert block is not None
        records[path] = (cid_text(cid), json.loads(record_json(block)))
    return signed.rev, records


def _written(engine: sa.Engine) -> bool:
    try:
        return bool(_all(engine, "SELECT 1 FROM atproto_records LIMIT 1"))
    except sa.exc.ProgrammingError:
        return False


def _heads(engine: sa.Engine, wanted: dict[str, str]) -> dict[str, str]:
    try:
        rows = _all(engine, "SELECT did, rev, fetched_rev FROM atproto_repos")
    except sa.exc.OperationalError:
        return {}
    return {did: max(rev or "", fetched or "") for did, rev, fetched in rows if did in wanted}


def _states(engine: sa.Engine, wanted: dict[str, str]) -> list[str]:
    return [state for did, state in _all(engine, "SELECT did, state FROM atproto_repos") if did in wanted]


def _rows(engine: sa.Engine, did: str) -> dict[str, tuple[str, object]]:
    query = "SELECT collection, rkey, cid, value FROM atproto_records WHERE did = :did AND NOT deleted"
    return {f"{collection}/{rkey}": (cid, value) for collection, rkey, cid, value in _all(engine, query, did=did)}


def _inactive(engine: sa.Engine) -> set[str]:
    return {did for (did,) in _all(engine, "SELECT did FROM atproto_accounts WHERE NOT active")}


def _all(engine: sa.Engine, query: str, **parameters: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query), parameters)]
