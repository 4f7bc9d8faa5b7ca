"""The sinks' tests run on both databases: the same test, one parameter."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import ready


@pytest.fixture(params=["postgresql", "sqlite"])
def place(request: pytest.FixtureRequest) -> Settings:
    """Settings of one test, with either database."""
    found = request.getfixturevalue("settings" if request.param == "postgresql" else "sqlite_settings")
    assert isinstance(found, Settings)
    return found


@pytest.fixture
def engine(place: Settings) -> Iterator[sa.Engine]:
    """An engine for the database of `place`, migrated."""
    made = ready(place)
    yield made
    made.dispose()


@pytest.fixture
def publisher(place: Settings) -> Iterator[Publisher]:
    """A publisher to the Kafka of `place`."""
    made = Publisher(place, client_id="test")
    yield made
    made.flush()
