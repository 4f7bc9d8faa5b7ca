"""Identities: what is known of an account besides its repository, and who is asked for it.

A stream and a fetch need nothing else of the directory; how it asks PLC, did:web hosts and their handles is its own.
"""

from typing import Protocol

import msgspec

from producers.atproto.protocol.signatures import PublicKey
from tallystick.errors import TallyError


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What the DID document of an account says.

    `key` signs its repository, `labeler_key` its labels; None where the document has no usable one. `pds` is the base
    URL of the account's host, `handle` the one that the document claims (nobody has looked whether the domain agrees);
    empty where there is none. `problem` says in words what the document lacks.
    """

    did: str
    key: PublicKey | None = None
    labeler_key: PublicKey | None = None
    pds: str = ""
    handle: str = ""
    problem: str = ""


class Unresolvable(TallyError):
    """The directory says that there is no such DID, or its own host never answers. Asking again soon is of no use."""


class Directory(Protocol):
    """Who knows identities. It belongs to one event loop."""

    def cached(self, did: str) -> Identity | None:
        """Return what is known of `did` and still fresh, without waiting; None where it must be resolved."""

    async def resolve(self, did: str, *, fresh: bool = False) -> Identity:
        """Return the identity of `did`, asking for it unless it is known; with `fresh` in any case.

        Transient trouble (no answer, 429, 5xx) is waited for within, for as long as it takes: callers hold back what
        depends on it. Raises Unresolvable. May be cancelled.
        """
