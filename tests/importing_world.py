"""The importer in a world without Kafka: old databases in SQLite files, read in runs which may die."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from producers.checkpoints import Checkpoints
from producers.cowrie.importing.importer import import_table, open_database
from producers.cowrie.reading import Tools
from producers.progress import FileOutcome
from tests.reading_world import Killed, World, dies_after


class ImportWorld(World):
    """See World."""

    def bring(
        self,
        url: str,
        *,
        since: str = "",
        until: str = "",
        stop: Callable[[], bool] = lambda: False,
        records: int | None = None,
        kept: int = 0,
    ) -> list[FileOutcome]:
        """Run an importer, which may die as a reader may: see `run`."""
        self.publisher.before_send = None if records is None else dies_after(records)
        checkpoints = Checkpoints(self.settings, self.publisher, self.checkpoints())
        tools = Tools(self.settings, self.publisher, checkpoints, "unnamed", stop, self.progress.append)
        with closing(open_database(self.settings, url)) as old:
            try:
                outcomes = [import_table(tools, old, table, since=since, until=until) for table in old.require()]
            except Killed:
                self.publisher.lose(keep=kept)
                return []
            finally:
                self.publisher.before_send = None
        self.publisher.flush()
        return outcomes


def file_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path}"


def run(url: str, *statements: str) -> None:
    """Change the old database as its own program would."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
