"""The baseline: a bare COPY of the same raw rows, with the same keys, into the same server."""

import statistics
import time

import psycopg
import sqlalchemy as sa

from tallystick.database.engine import database_url
from tallystick.settings import Settings

COLUMNS = "sensor, session_id, digest, source_id, source_offset, event_type, event_timestamp, payload, raw"
CHUNK_BYTES = 1 << 20


def copy_rate(settings: Settings, *, runs: int = 3) -> float:
    """Return the rows/s of a bare COPY of everything in raw_events into a table like it; the median of `runs`.

    The rows are taken out beforehand in order of arrival, so only the COPY and its commit are timed.
    """
    url = database_url(settings).set(drivername="postgresql").render_as_string(hide_password=False)
    rates = []
    with psycopg.connect(url, options=f"-c search_path={settings.database.schema_name}") as connection:
        with connection.cursor().copy(f"COPY (SELECT {COLUMNS} FROM raw_events) TO STDOUT") as out:
            rows = b"".join(bytes(block) for block in out)
        for _ in range(runs):
            connection.execute("DROP TABLE IF EXISTS bench_copy")
            connection.execute("CREATE TABLE bench_copy (LIKE raw_events INCLUDING ALL)")
            connection.commit()
            started = time.monotonic()
            with connection.cursor() as cursor:
                with cursor.copy(f"COPY bench_copy ({COLUMNS}) FROM STDIN") as copy:
                    for start in range(0, len(rows), CHUNK_BYTES):
                        copy.write(rows[start : start + CHUNK_BYTES])
                count = cursor.rowcount
            connection.commit()
            rates.append(count / (time.monotonic() - started))
        connection.execute("DROP TABLE bench_copy")
    return statistics.median(rates)


def scalar(engine: sa.Engine, query: str) -> int:
    """Return the one number that `query` gives; 0 while the table isn't there."""
    try:
        with engine.connect() as connection:
            return int(connection.scalar(sa.text(query)) or 0)
    except sa.exc.ProgrammingError:
        return 0
