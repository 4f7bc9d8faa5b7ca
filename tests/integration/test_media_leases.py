"""Leases on both databases: one holder at a time, and tokens that only ever grow."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sinks.media import leases
from sinks.schema import media_leases
from tallystick.database.engine import make_engine
from tallystick.errors import FencedError, LeaseHeldError
from tallystick.settings import Settings
from tests.media import MEDIUM, OTHER
from tests.sinks import query

LONG = 3_600.0


def take(
    engine: sa.Engine, holder: str = "a", *, medium: str = MEDIUM, what: str = "copied", seconds: float = LONG
) -> int:
    return leases.take(engine, medium, what, holder=holder, seconds=seconds)


def test_a_lease_that_is_held_is_refused_with_the_name_of_its_holder(engine: sa.Engine) -> None:
    take(engine, "host/17 \x00")
    with pytest.raises(LeaseHeldError, match=r"copied of medium da69.* is held by host/17 \\u0000 until 20"):
        take(engine, "b")
    with pytest.raises(LeaseHeldError):
        take(engine, "host/17 \x00")
    assert take(engine, "b", what="enumerated") > 0
    assert take(engine, "b", medium=OTHER) > 0


def test_a_lease_is_free_once_it_was_released_or_has_expired(engine: sa.Engine) -> None:
    first = take(engine, "a")
    leases.release(engine, MEDIUM, "copied", run=first)
    second = take(engine, "b", seconds=0)
    third = take(engine, "c")
    assert first < second < third
    with pytest.raises(LeaseHeldError, match="held by c"):
        take(engine, "d")


def test_49_who_was_taken_over_learns_it_and_can_neither_renew_nor_release(engine: sa.Engine) -> None:
    old = take(engine, "a", seconds=0)
    leases.renew(engine, MEDIUM, "copied", run=old, seconds=0)
    new = take(engine, "b")
    with pytest.raises(FencedError, match=f"the lease that run {old} had"):
        leases.renew(engine, MEDIUM, "copied", run=old, seconds=LONG)
    leases.release(engine, MEDIUM, "copied", run=old)
    with pytest.raises(LeaseHeldError, match="held by b"):
        take(engine, "c")
    leases.renew(engine, MEDIUM, "copied", run=new, seconds=LONG)


def test_a_renewed_lease_is_held(engine: sa.Engine) -> None:
    run = take(engine, "a", seconds=0)
    leases.renew(engine, MEDIUM, "copied", run=run, seconds=LONG)
    with pytest.raises(LeaseHeldError):
        take(engine, "b")


def test_a_lease_of_a_database_that_was_lost_is_lost(engine: sa.Engine) -> None:
    run = take(engine)
    with engine.begin() as connection:
        connection.execute(media_leases.delete())
    with pytest.raises(FencedError):
        leases.renew(engine, MEDIUM, "copied", run=run, seconds=LONG)
    assert take(engine, "b") > run


def test_51_tokens_grow_beyond_runs_that_are_known_whatever_the_clock_says(engine: sa.Engine) -> None:
    ahead = 1 << 60
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO media_runs (medium, run, revision, stage, attempt, worker, started_at, seconds, detail,"
                " counts, evidence) VALUES (:medium, :run, 0, 'copied', 1, 'w', '2026-01-01T00:00:00.000000Z', 0, '',"
                " '{}', '{}')"
            ),
            {"medium": MEDIUM, "run": ahead},
        )
    assert take(engine) == ahead + 1
    assert take(engine, what="archived") == ahead + 2
    assert take(engine, medium=OTHER) < ahead


def test_of_many_at_once_one_gets_it_and_all_tokens_differ(place: Settings, engine: sa.Engine) -> None:
    def try_(number: int) -> int | None:
        mine = make_engine(place)
        try:
            take(mine, str(number), what=f"stage {number}")
            return take(mine, str(number))
        except LeaseHeldError:
            return None
        finally:
            mine.dispose()

    with ThreadPoolExecutor(8) as pool:
        taken = [run for run in pool.map(try_, range(8)) if run is not None]
    assert len(taken) == 1
    assert query(engine, "SELECT count(*), count(DISTINCT run) FROM media_leases") == [(9, 9)]
