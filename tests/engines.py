"""Engines that are kept from one look at a database to the next: a look of its own would connect again each time."""

from collections import OrderedDict

import sqlalchemy as sa

from tallystick.database.engine import make_engine
from tallystick.settings import Settings

_MOST = 4
"""So many are kept, the ones that were used last: every test has a database of its own."""
_kept: OrderedDict[tuple[str, str | None], sa.Engine] = OrderedDict()


def kept_engine(settings: Settings) -> sa.Engine:
    """Return an engine for looks at the settings' database; don't dispose of it."""
    assert settings.database.url is not None
    place = settings.database.url.get_secret_value(), settings.database.schema_name
    engine = _kept.pop(place, None) or make_engine(settings)
    _kept[place] = engine
    close_engines(but=_MOST)
    return engine


def close_engines(*, but: int = 0) -> None:
    """Close all that are kept, but for the `but` that were used last."""
    while len(_kept) > but:
        _kept.popitem(last=False)[1].dispose()
