"""What differs between two configurations: which feeds have to start anew, and what cannot change while feeds run."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from service.config.feeds import FeedSettings
from service.config.settings import Config, Provider
from service.errors import ConfigError, Problem

FIXED = ("database", "buffer", "http", "log", "secrets")
"""What the daemon is built on; it is as it was at the start until the end."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What another configuration means for what runs. Feeds are named ``provider.feed``.

    Attributes:
        started: feeds that are new.
        stopped: feeds that are gone.
        restarted: feeds that run on with other settings.
        unchanged: feeds that keep their very connection.
        providers: those whose client is new, or another one.
        has_tables: whether the database is to be prepared for other tables.
    """

    started: tuple[str, ...]
    stopped: tuple[str, ...]
    restarted: tuple[str, ...]
    unchanged: tuple[str, ...]
    providers: frozenset[str]
    has_tables: bool

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.started or self.stopped or self.restarted or self.has_tables)

    def named(self) -> dict[str, tuple[str, ...]]:
        """Give the names of the feeds that do not just go on."""
        return {"restarted": self.restarted, "started": self.started, "stopped": self.stopped}


def beginning(config: Config) -> Changes:
    """Give what a configuration means where nothing runs yet, and the store is made for its tables."""
    return Changes(tuple(config.feeds()), (), (), (), frozenset(config.providers), has_tables=False)


def compare(old: Config, new: Config, file: str = "") -> Changes:
    """Find out what changes.

    A feed changes with its own settings, and with what it shares: its provider's, those of the tables that it writes or
    calls for, ``batch``, and the feed that it names in ``for_each`` or ``refetch``.

    Args:
        old: what runs.
        new: what is to run.
        file: what to call its file in problems.

    Raises:
        ConfigError: something differs that cannot change before a restart; every key is named.
    """
    if problems := [_needs_restart(path, file) for path in _fixed(old, new)]:
        raise ConfigError(problems)
    clients = {name for name in new.providers if not _same_client(old.providers.get(name), new.providers[name])}
    before, after = old.feeds(), new.feeds()
    common = [name for name in after if name in before]
    tables = {name for name in {*old.tables, *new.tables} if not _same_table(name, old, new)}
    changed = {
        name
        for name in common
        if not _alike(old.batch, new.batch)
        or name.partition(".")[0] in clients
        or not _alike(before[name][1], after[name][1])
        or tables & _tables(after[name][1])
    }
    while more := {name for name in common if name not in changed and changed & _named(name, after[name][1])}:
        changed |= more
    return Changes(
        tuple(name for name in after if name not in before),
        tuple(name for name in before if name not in after),
        tuple(name for name in common if name in changed),
        tuple(name for name in common if name not in changed),
        frozenset(clients),
        bool(tables),
    )


def _alike(old: Any, new: Any) -> bool:
    """Whether two parts of a configuration say the same. 1, 1.0 and true are not; secrets are compared as they are."""
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        old, new = (part.model_dump(exclude_unset=True) for part in (old, new))
    return bool(old == new) and repr(old) == repr(new)


def _fixed(old: Config, new: Config) -> list[str]:
    """Give the keys of what cannot change, where it differs."""
    found = []
    for section in FIXED:
        before, after = getattr(old, section), getattr(new, section)
        if not isinstance(before, BaseModel):
            found += [section] if before != after else []
            continue
        names = {name: field.alias or name for name, field in type(before).model_fields.items()}
        found += [f"{section}.{key}" for name, key in names.items() if getattr(before, name) != getattr(after, name)]
    return found


def _needs_restart(path: str, file: str) -> Problem:
    message = "this cannot change while the daemon runs: restart it, or write here again what it was started with"
    return Problem("needs-restart", path, message, file)


def _same_client(old: Provider | None, new: Provider) -> bool:
    """Whether a provider's feeds can go on sharing the client that they have."""
    if old is None or max(map(_weight, old.feeds.values())) != max(map(_weight, new.feeds.values())):
        return False  # the budget has room for the heaviest request
    shared = Provider.model_fields.keys() - {"feeds"}
    return all(_alike(_part(old, name), _part(new, name)) for name in shared)


def _part(provider: Provider, name: str) -> Any:
    return provider.model_dump(include={name}, exclude_unset=True)


def _weight(feed: FeedSettings) -> int:
    return int(getattr(feed, "weight", 1))


def _same_table(name: str, old: Config, new: Config) -> bool:
    if name not in old.tables or name not in new.tables or not _alike(old.tables[name], new.tables[name]):
        return False
    # How a table is written depends on all that is loaded into it.
    return (name in old.deletable(), name in old.partial()) == (name in new.deletable(), name in new.partial())


def _tables(feed: FeedSettings) -> set[str]:
    """Give the tables that a feed writes, or calls for."""
    each = getattr(feed, "for_each", None)
    return {branch.into for branch in feed.branches} | ({each.table} if each is not None and each.table else set())


def _named(name: str, feed: FeedSettings) -> set[str]:
    """Give the feeds that a feed names, by their full names."""
    each = getattr(feed, "for_each", None)
    named = [each.feed if each is not None else None, feed.repair.refetch if feed.repair is not None else None]
    provider = name.partition(".")[0]
    return {other if "." in other else f"{provider}.{other}" for other in named if other}
