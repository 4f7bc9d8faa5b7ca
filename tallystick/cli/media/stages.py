"""One stage of one medium: what `tally run media-stage` does in a process of its own."""

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from collections.abc import Iterator

import sqlalchemy as sa

from producers.media.claiming import StageClaim, Told
from sinks.media import leases
from sinks.media.reading import read_medium
from tallystick.cli.media.worker import LEASE
from tallystick.contracts.media import ExitCode, Medium
from tallystick.database.engine import make_engine, snapshot
from tallystick.logs import get_logger
from tallystick.settings import Settings
