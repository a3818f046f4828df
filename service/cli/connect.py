"""The tries of `headrace check --connect`: one of the database, and one of each feed; nothing is changed or loaded."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec

from service.cli.ddl import missing
from service.cli.receive import RowsAwaited, receive
from service.config.settings import Config
from service.daemon import EMBEDDED_DATA
from service.errors import FormatError, SourceLost, SourceRefused, StartError, StoreLost, TableRefused
from service.model import Message
from service.provider import Provider
from service.transform.transform import Transform


class Try(msgspec.Struct, frozen=True):
    """How a try ended.

    Attributes:
        name: ``database``, or a feed as ``provider.feed``.
        ok: whether nothing speaks against it.
        told: what was found; where it failed, why and what to do.
    """

    name: str
    ok: bool
    told: str


async def tries(config: Config, transforms: Mapping[str, Transform]) -> AsyncIterator[Try]:
    """Try the database, then each feed, one after another: what they share is not asked twice at a time.

    Args:
        config: the whole.
        transforms: of all feeds.
    """
    yield await _database(config)
    async with AsyncExitStack() as stack:
        for name, settings in config.providers.items():
            provider = await stack.enter_async_context(Provider(name, settings, config.secrets))
            for feed in settings.feeds:
                yield await _feed(config, transforms[f"{name}.{feed}"], provider)


async def _database(config: Config) -> Try:
    if config.database.url.get_secret_value() == "embedded" and not EMBEDDED_DATA.exists():
        return Try("database", ok=True, told="`headrace run` will make it")
    try:
        sql, refused = await missing(config)
    except (StartError, StoreLost, TableRefused) as error:
        return Try("database", ok=False, told=f"{error}; correct database.url, or the database")
    if refused:
        return Try("database", ok=False, told="; ".join(refused))
    told = "tables or columns are missing, `headrace ddl --connect` prints them" if sql else "nothing is missing"
    then = {
        "create": "`headrace run` makes them",
        "verify": "run that, or set database.migrate to create",
        "off": "with `migrate: off` they are made by hand",
    }
    mode = config.database.migrate
    return Try("database", ok=not sql or mode != "verify", told=f"{told}; {then[mode]}" if sql else told)


async def _feed(config: Config, transform: Transform, provider: Provider) -> Try:
    """Connect once as the feed does, and wait for its first message; a provider's own timeout ends first."""
    feed = config.feeds()[transform.feed][1]
    if getattr(feed, "listens", False) or getattr(feed, "path", None) == "-":
        return Try(transform.feed, ok=True, told="is given its messages: there is nothing to connect to")
    seconds = provider.timeout + 1
    try:
        messages = await receive(config, transform, provider, records=1, seconds=seconds)
    except RowsAwaited as awaited:
        return Try(transform.feed, ok=True, told=f"not tried: {awaited.reason}")
    except (SourceRefused, SourceLost, OSError, StartError) as error:
        return Try(transform.feed, ok=False, told=_why(error))
    if not messages:
        return Try(transform.feed, ok=True, told=f"no objection, and no message within {seconds:g} s")
    return _decoded(transform, messages, provider)


def _decoded(transform: Transform, messages: Sequence[Message], provider: Provider) -> Try:
    """Say how many records came, or what is wrong with a message that cannot be read."""
    records = 0
    for message in messages:
        try:
            records += len(transform.decode(message))
        except FormatError as error:
            told = f"what came cannot be read: {error}; correct the address, or the feed's `format` or `records`"
            return Try(transform.feed, ok=False, told=provider.blanked(told))
    return Try(transform.feed, ok=True, told="1 record came" if records == 1 else f"{records} records came")


def _why(error: SourceRefused | SourceLost | OSError | StartError) -> str:
    """Say what failed, and what to do."""
    match error:
        case SourceRefused():
            return f"{error.reason}; correct the address, the path or the credentials"
        case SourceLost():
            return f"{error.reason}; is the address right, and the provider up?"
        case StartError():
            return f"the rows of `for_each` lie in the database: {error}"
    return f"{error}; correct the path, or its rights"
