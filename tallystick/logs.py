"""The one logger: structured, one event a line, on standard error.

`log_format` `json` gives JSON lines, `text` a readable line, `auto` text on a terminal and JSON elsewhere. Values that
could come from an attacker are rendered by JSON or `repr`, so that no control character reaches a terminal.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import orjson

from tallystick.settings import Settings

# Where Rich is there, structlog imports it for tracebacks; ours are text before they reach it. So it is hidden for a
# moment, and every role starts a tenth faster.
_IS_HIDDEN = "rich" not in sys.modules
if _IS_HIDDEN:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if _IS_HIDDEN:
    del sys.modules["rich"]

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^:/@\s]*):([^@\s]*)@")
_SECRET_NAMES = ("password", "secret", "token")


def without_secrets(text: str) -> str:
    """Return `text` with the password of every URL in it replaced by `***`."""
    return _PASSWORD_IN_URL.sub(r"\1:***@", text)


def configure(settings: Settings, *, role: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process; every line names its `role`. Third-party loggers go the same way.

    Lines go to `stream`, standard error where none is given.
    """
    stream = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_as_json)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a module: `log = get_logger(__name__)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if any(secret in name.lower() for secret in _SECRET_NAMES):
            event[name] = "***"
        elif isinstance(value, str) and "://" in value:
            event[name] = without_secrets(value)
    return event


def _as_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
