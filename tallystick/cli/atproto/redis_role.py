"""The role under `tally run` that feeds the Redis streams of rsky-ingester."""

import typer

from tallystick.cli.role_words import teller
from tallystick.errors import ConfigurationError
from tallystick.local import stack
from tallystick.settings import load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.roles import run_role


def register(roles: typer.Typer) -> None:
    """Add it to `tally run`."""
    roles.command()(atproto_redis)


def atproto_redis() -> None:
    """Feed consumers of rsky-ingester's Redis streams from Kafka. Prints measures as JSON lines.

    Needs `atproto.redis_url` and the extra `redis` (`pip install 'tallystick[redis]'`).
    """

    def work(stop: StopFlag) -> None:
        settings = load_settings()
        if settings.atproto.redis_url is None:
            raise ConfigurationError("no Redis is named: set TALLY_ATPROTO__REDIS_URL, such as redis://localhost:6379")
        try:
            from sinks.redis.bridge import run_bridge
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            raise ConfigurationError("the extra 'redis' is not installed: pip install 'tallystick[redis]'") from error
        run_bridge(stack.resolve(settings), stop, teller(stop))

    raise typer.Exit(run_role("atproto-redis", work))
