"""The exceptions of Tallystick.

TallyError
├── UsageError            what was asked for can't be done as asked; exit code 2
├── ConfigurationError    a setting, topic or schema is not as it must be
│   └── ForeignDatabaseError  the configured database holds what another program made
├── ServiceError          Kafka, the database or the local stack can't be used
│   ├── FencedError       another process has taken over the same work
│   └── LeaseHeldError    another process works on the same medium
├── StorageError          the store, an archive or an image can't be read or written
│   ├── NoSpaceError      there is no room for it
│   └── DamagedArchiveError  an archive does not hold what it should
└── ContractError         bytes that do not keep a contract (a slice, a stage event, a state)

Every message says what is wrong, where, and what to do.
"""


class TallyError(Exception):
    """Base of all errors that Tallystick raises on purpose."""


class UsageError(TallyError):
    """The command can't be carried out as it was given."""


class ConfigurationError(TallyError):
    """A setting, a topic or a database schema is not as it must be."""


class ForeignDatabaseError(ConfigurationError):
    """The configured database, or its schema, holds what another program made; nothing was written to it."""


class ServiceError(TallyError):
    """Kafka, the database or the local stack can't be used."""


class FencedError(ServiceError):
    """Another process holds the same partitions and has moved on; this one must stop and rejoin."""


class LeaseHeldError(ServiceError):
    """Another process holds what was to be worked on; it may be free later."""


class StorageError(TallyError):
    """The store, an archive or an image can't be read or written."""


class NoSpaceError(StorageError):
    """There is no room left where something is to be written; nothing half-written stays under a final name."""


class DamagedArchiveError(StorageError):
    """An archive can't be decoded, or holds something else than what was put into it."""


class ContractError(TallyError):
    """Bytes from a topic do not keep the topic's contract."""
