"""The inventories are a function of the newest states: order, repeats and batches leave no trace. On SQLite."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tallystick.contracts.cowrie import SessionState
from tallystick.settings import DatabaseSettings, load_settings
from tests.inventories import dump, empty, naive, newest, random_state, told, write
from tests.sinks import ready


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    path: Path = tmp_path_factory.mktemp("inventories") / "tally.db"
    database = DatabaseSettings(url=SecretStr(f"sqlite:///{path}"))
    made = ready(load_settings().model_copy(update={"database": database}))
    yield made
    made.dispose()


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[SessionState], list[list[SessionState]]]:
    """Return states, and batches of them in any order and with repeats; each of them comes at least once."""
    chosen = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1, max_size=8, unique=True))
    random = Random(draw(st.integers(0, 2**32)))
    states = [random_state(random, session, revision) for session, revision in chosen]
    sent = draw(st.permutations(states + draw(st.lists(st.sampled_from(states), max_size=4))))
    cuts = sorted({0, len(sent), *draw(st.lists(st.integers(0, len(sent)), max_size=4))})
    return states, [sent[start:end] for start, end in pairwise(cuts)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivered=deliveries())
def test_order_repeats_and_batches_leave_no_trace(
    engine: sa.Engine, delivered: tuple[list[SessionState], list[list[SessionState]]]
) -> None:
    states, batches = delivered
    empty(engine)
    for batch in batches:
        write(engine, batch)
    moved = dump(engine)
    assert told(engine) == naive(states)
    empty(engine)
    write(engine, newest(states))
    assert moved == dump(engine)
