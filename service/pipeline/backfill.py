"""Backfills: what a feed carries, read from files or asked for by spans of time, beside the live feed.

A backfill has a position of its own, under a name such as ``acme.fixtures@backfill:history/*.csv.gz``, which moves in
the transaction that writes its rows. So it goes on from where its rows stand, however it ended, and the live feed's
position is not touched.
"""

import asyncio
from datetime import datetime
from typing import Any, cast

from service.buffer.memory import Memory
from service.config.connectors import discover
from service.config.feeds import FeedSettings
from service.config.settings import Config
from service.errors import SourceRefused
from service.formats import Format
from service.formats.auto import choose
from service.pipeline.events import first_of
from service.pipeline.line import Line
from service.pipeline.parents import mapped
from service.pipeline.ranges import Spans
from service.provider import Provider
from service.sources import Source
from service.sources.file import File, plain_name
from service.sources.rest import Rest
from service.store.store import Store

BUFFER_BYTES = 64 << 20
"""The most that waits between reading and loading."""


class Backfill:
    """Runs one source to its end.

    Args:
        name: of the feed, ``provider.feed``.
        what: names what is read; with the feed's name it is the name of the position.
        source: that reads it.
        config: the whole.
        store: that the rows go to; its tables are there.
        why: goes before ``what`` in the name of the position.
    """

    def __init__(
        self, name: str, what: str, source: Source, config: Config, store: Store, why: str = "backfill"
    ) -> None:
        provider = name.partition(".")[0]
        self._key = f"{name}@{why}:{what}"
        self._provider = Provider(provider, config.providers[provider], config.secrets)
        self.line = Line(name, source, self._provider, config, store, self._key)

    async def run(self) -> None:
        """Run until all is loaded. Cancelled at any moment, it goes on the next time from where its rows stand.

        Raises:
            SourceRefused: a file cannot be read, the provider refuses us, or most records are refused; what came before
                is loaded.
            PositionTaken: the same backfill runs elsewhere.
        """
        prepared, stop = asyncio.Event(), asyncio.Event()
        prepared.set()
        async with self._provider, Memory(BUFFER_BYTES, [self._key]) as buffer, asyncio.TaskGroup() as group:
            group.create_task(self.line.run(buffer, prepared, stop), name=self._key)
            await self.line.started.wait()
            feed = self.line.feed
            if feed is not None:
                await first_of(feed.ended, feed.refused, self.line.parked)
            stop.set()
        if self.line.breaker.reason is not None:
            raise SourceRefused(self.line.breaker.reason)
        if feed is not None and not feed.ended.is_set():
            raise SourceRefused(feed.last_error or "refused")


def from_files(feed: FeedSettings, path: str, form: str | None) -> File:
    """Give a source that reads files as the feed's messages are read.

    Args:
        feed: whose records they hold.
        path: as in File.
        form: the kind of their format; by default the feed's own, if it names one, else as the files say.

    Raises:
        ValueError: the files cannot say what the feed's map wants to know.
    """
    each = getattr(feed, "for_each", None)
    if each is not None and (names := mapped(feed)):
        raise ValueError(f"the map takes $params.{names[0]} from the rows of `for_each`, which files do not know")
    settings = _common(feed)
    if form is not None or "format" not in feed.model_fields_set:
        settings["format"] = form or "auto"
    kind = getattr(settings["format"], "kind", settings["format"])
    known = {"name": plain_name(path)} if kind == "auto" else {"format": kind}
    if not cast("type[Format]", discover("service.formats")[choose(known, b"")]).has_paths:
        settings["records"] = None  # that of the provider's answers: in such files each row is a record
    return File.model_validate({**settings, "kind": "file", "path": path})


def by_spans(feed: FeedSettings, since: datetime, until: datetime | None, step: float | None) -> Spans:
    """Give a source that asks the feed's provider for a range.

    Raises:
        ValueError: the provider cannot be asked for it; the message says why.
    """
    span = feed.span() if isinstance(feed, Rest) else None
    if span is None:
        raise ValueError("only a rest feed with `range` or `incremental` can be asked for a span of time")
    if span.until is None and (until is not None or step is not None):
        raise ValueError("the feed has no parameter for the end of a span: set `range: {since: NAME, until: NAME}`")
    return Spans.model_validate({**_common(feed), "rest": feed, "since": since, "until": until, "step": step})


def _common(feed: FeedSettings) -> dict[str, Any]:
    """Give what all kinds of feed have.

    A backfill is no full set, of which rows could be absent; nothing is due from it, it misses nothing, and nothing
    waits when it ends.
    """
    without = {"absent", "freshness", "on_gap", "sequence", "snapshot", "wait_for_row"}
    return {name: getattr(feed, name) for name in FeedSettings.model_fields if name not in without}
