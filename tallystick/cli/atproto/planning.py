"""Which roles an ingestion needs: pure, from what is asked for to what is run."""

from collections.abc import Iterable

import msgspec

from tallystick.cli.atproto.asking import Asked, Mode
from tallystick.cli.deployment import role_specs
from tallystick.cli.service import Plan
from tallystick.settings import Settings
from tallystick.supervision.exit_files import file_name
from tallystick.supervision.restarting import SERVICE_POLICY, RestartPolicy, RoleSpec

SERVICE = "atproto"
RESTARTS = 5
"""After how many restarts in a row a role is given up where there is an end to be waited for."""
LISTER = "lister"
ACCOUNTS = "accounts"
"""In the place of a host: accounts that were named one by one."""
FETCHER = "fetcher"
REDIS = "redis"
SINK_PROCESSES = {
    "sinks-streams": (
        "atproto_commits",
        "atproto_accounts",
        "atproto_identities",
        "atproto_labels",
        "atproto_notices",
    ),
    "sinks-repositories": ("atproto_snapshots", "atproto_repositories", "sources", "dead_letters"),
}
"""Which sinks share a process: what streams bring, and what fetches do, either of which may be most of the work."""
VERIFIERS = ("verifier", "verifier-2")
"""Two where all repositories are fetched: each needs two looks, which wait for the database longer than they work."""


def plan_of(settings: Settings, asked: Asked, *, follows: bool) -> Plan:
    """Return what is run with `settings`, which name the servers; `follows` where it goes on until it is stopped."""
    restarts = None if follows else RESTARTS
    policy = SERVICE_POLICY if follows else RestartPolicy()
    readers = [*_streams(asked), *_listers(asked, follows=follows)]
    return Plan(
        shared=tuple(_made(settings, asked, _shared(settings, asked, follows=follows), restarts)),
        readers=tuple(_made(settings, asked, readers, restarts)),
        policy=policy,
    )


def fetches(settings: Settings, asked: Asked) -> bool:
    """Return whether repositories are fetched as a whole."""
    if _lists(asked):
        return True
    return asked.mode is Mode.FIREHOSE and settings.atproto.resync != "off"


def _lists(asked: Asked) -> bool:
    return asked.mode in {Mode.BACKFILL, Mode.ALL}


def _shared(settings: Settings, asked: Asked, *, follows: bool) -> list[RoleSpec]:
    found = []
    if not asked.ingest_only:
        found += [
            RoleSpec("agents", ("agents",)),
            *(RoleSpec(name, ("sinks", *sinks)) for name, sinks in SINK_PROCESSES.items()),
            *(RoleSpec(name, ("verifier",)) for name in (VERIFIERS if _lists(asked) else VERIFIERS[:1])),
        ]
    if fetches(settings, asked):
        found.append(RoleSpec(FETCHER, ("atproto-fetcher",)))
    if follows and settings.atproto.redis_url is not None:
        found.append(RoleSpec(REDIS, ("atproto-redis",)))
    return found


def _streams(asked: Asked) -> list[RoleSpec]:
    begin = (f"--from={asked.begin}",) if asked.begin else ()
    found = []
    if asked.mode in {Mode.FIREHOSE, Mode.ALL}:
        found += [_reader("firehose", host.name, (f"--host={host.websocket}", *begin)) for host in asked.hosts]
    if asked.mode in {Mode.LABELER, Mode.ALL}:
        found += [_reader("labeler", host.name, (f"--host={host.websocket}", *begin)) for host in asked.labelers]
    return found


def _listers(asked: Asked, *, follows: bool) -> list[RoleSpec]:
    if not _lists(asked):
        return []
    options = (
        *(f"--collection={collection}" for collection in asked.collections),
        *([f"--since-rev={asked.since_rev}"] if asked.since_rev else []),
    )
    if asked.dids:
        # A relay has no repositories to give away, so a service asks each account's own host.
        hosts = asked.hosts if asked.mode is Mode.BACKFILL else ()
        named = (*(f"--host={host.http}" for host in hosts), *(f"--did={did}" for did in asked.dids))
        return [_reader(LISTER, ACCOUNTS, (*named, *options), one_shot=True)]
    again = ("--again",) if follows else ()
    return [
        _reader(LISTER, host.name, (f"--host={host.http}", *again, *options), one_shot=not follows)
        for host in asked.hosts
    ]


def _reader(kind: str, of: str, options: tuple[str, ...], *, one_shot: bool = False) -> RoleSpec:
    path = f"{SERVICE}/{kind}/{of}"
    return RoleSpec(file_name(path), (f"atproto-{kind}", *options), one_shot=one_shot, task=path)


def _made(settings: Settings, asked: Asked, specs: Iterable[RoleSpec], restarts: int | None) -> list[RoleSpec]:
    given = [msgspec.structs.replace(spec, env=asked.environment) for spec in specs]
    return role_specs(settings, given, service=SERVICE, yields={}, max_restarts=restarts)
