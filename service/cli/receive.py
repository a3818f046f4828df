"""What the provider of a feed gives now, for commands that look at it; nothing is loaded."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from service.cli.options import source_of
from service.config.foreach import ForEach, Value
from service.config.settings import Config
from service.daemon import EMBEDDED_DATA, database
from service.errors import SourceRefused
from service.model import Message
from service.pipeline.feed import RowsOf
from service.pipeline.parents import Parents
from service.provider import Provider
from service.sources import Source
from service.store.store import Store
from service.transform.transform import Transform
from service.workbench.sample import sample

_MISSING = "(SQLSTATE 42P01)"
"""How the store says that there is no such table."""


class RowsAwaited(SourceRefused):
    """There are no rows yet that a feed with `for_each` could call for: another feed has to load them."""


async def receive(
    config: Config, transform: Transform, provider: Provider, *, records: int, seconds: float
) -> list[Message]:
    """Receive a sample of a feed; see ``sample``.

    Raises:
        SourceLost, SourceRefused: the provider cannot be reached, or will not serve us.
        RowsAwaited: there are no rows yet to call for.
        StartError: the database with the rows of `for_each` does not start.
    """
    source = source_of(config, transform.feed)
    async with _rows(config, transform.feed, source) as rows:
        return await sample(source, provider, transform, records=records, seconds=seconds, rows=rows)


@asynccontextmanager
async def _rows(config: Config, feed: str, source: Source) -> AsyncIterator[RowsOf | None]:
    """Give what reads the rows that a feed calls for; None for one that calls for none.

    Raises:
        RowsAwaited: there is no database yet to read them from.
        StartError: it does not start.
    """
    if getattr(source, "for_each", None) is None:
        yield None
        return
    if config.database.url.get_secret_value() == "embedded" and not EMBEDDED_DATA.exists():
        told = "the rows of `for_each` lie in the database, which `headrace run` makes and fills"
        raise RowsAwaited(f"{told}; until then, `headrace preview --from` takes recorded bytes")
    prepared = asyncio.Event()
    prepared.set()
    async with database(config) as url, Store(config.database, config.tables, url, config.deletable()) as store:
        parents = Parents(feed, config, store, prepared)

        async def some(each: ForEach) -> Sequence[Mapping[str, Value]]:
            try:
                found = await parents.rows(each)
            except SourceRefused as refused:
                if each.sql is None and _MISSING in refused.reason:
                    told = "the rows of `for_each` lie in a table that is not made yet; `headrace run` makes it"
                    raise RowsAwaited(told) from refused
                raise
            if not found:
                raise RowsAwaited("`for_each` gives no row to call for: none is there, or `where` leaves none")
            return found

        yield some
