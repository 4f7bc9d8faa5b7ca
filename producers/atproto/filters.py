"""Which accounts, operations and records are kept, where the settings want only some."""

import msgspec

from tallystick.contracts.atproto import Op
from tallystick.contracts.collections import chosen, is_chosen
from tallystick.settings import AtprotoSettings


class Filters:
    """What is kept. An operation that is not leaves its commit; the commit stays, with no operation if need be, because
    revisions and roots of trees lead from one commit to the next. An account that is not kept leaves as a whole.
    """

    def __init__(self, settings: AtprotoSettings) -> None:
        self._dids = frozenset(settings.dids)
        self._collections = chosen(settings.collections)
        self._languages = tuple(language.lower() for language in settings.languages)

    def keeps_account(self, did: str) -> bool:
        """Return whether anything of an account is kept."""
        return not self._dids or did in self._dids

    def keeps_path(self, path: str) -> bool:
        """Return whether records at `path` are kept, by their collection."""
        return is_chosen(self._collections, path.partition("/")[0])

    def keeps_languages(self, op: Op) -> bool:
        """Return whether a record is kept by the languages that it names. One that names none is, and so is what has
        no record, such as a delete.
        """
        if not self._languages or isinstance(op.record, msgspec.UnsetType):
            return True
        named = _languages_of(op.record)
        return not named or any(_speaks(name.lower(), wanted) for name in named for wanted in self._languages)


class _Record(msgspec.Struct):
    langs: list[object] | None = None


_decode = msgspec.json.Decoder(_Record).decode


def _languages_of(record: msgspec.Raw) -> list[str]:
    try:
        return [name for name in _decode(record).langs or () if isinstance(name, str)]
    except msgspec.ValidationError:
        return []


def _speaks(named: str, wanted: str) -> bool:
    return named == wanted or named.startswith(f"{wanted}-")
