"""Connections: an SQLAlchemy engine over asyncpg for any URL that libpq takes, safe behind pgbouncer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.errors import StartError
from service.store.sqlstate import cause

CONNECT_SECONDS = 10.0

_ZERO = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_ZERO = _ZERO.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_OF_LIBPQ = {
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "channel_binding",
    "gssencmode",
    "gssdelegation",
    "client_encoding",
    "fallback_application_name",
    "sslcompression",
    "load_balance_hosts",
}
"""Options of libpq that asyncpg would hand to the server as settings, which it does not know."""


def open_engine(url: str, pool: int) -> AsyncEngine:
    """Prepare a pool of at most ``pool`` connections; none is opened yet.

    Raises:
        StartError: the URL has an option that cannot be, or names a certificate that is not there.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        pool_size=pool,
        max_overflow=0,
        connect_args={
            **_connect_args(url),
            # Behind pgbouncer the next transaction may run on another server: only unnamed statements are safe.
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,
        },
    )
    event.listen(engine.sync_engine, "connect", _take_moments_as_they_are)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Run one transaction; a connection that broke on the way does not return to the pool."""
    async with engine.connect() as connection:
        try:
            async with connection.begin():
                yield connection
        except BaseException as error:
            if not connection.invalidated:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                if driver is None or driver.is_closed() or isinstance(cause(error), asyncpg.InternalClientError):
                    await connection.invalidate()
            raise


def _connect_args(url: str) -> dict[str, Any]:
    """Split a URL into what asyncpg reads from it and what it needs beside it."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    given = options.get("connect_timeout") or "0"
    if not given.isdecimal():
        raise StartError(f"`connect_timeout` of database.url is no whole number of seconds: {given}")
    timeout = float(given) or CONNECT_SECONDS
    options = {name: value for name, value in options.items() if name not in _OF_LIBPQ}
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if name in options and not Path(options[name]).is_file():  # the driver does not say which file it misses
            raise StartError(f"`{name}` of database.url names a file that does not exist: {options[name]}")
    options.setdefault("application_name", "headrace")
    dsn = parts._replace(scheme="postgresql", query=urlencode(options, quote_via=quote)).geturl()
    return {"dsn": dsn, "timeout": timeout}


def _take_moments_as_they_are(adapted: Any, _record: Any) -> None:
    """Keep the first and last date and timestamp from becoming Postgres's -infinity and infinity, as asyncpg has it.

    0001-01-01 is what providers that run on .NET send for "never"; 9999-12-31 is what others do.
    """
    for name, encoder, decoder in (
        ("date", lambda day: (day.toordinal() - _DAY_ZERO,), lambda days: date.fromordinal(days[0] + _DAY_ZERO)),
        ("timestamptz", lambda at: ((at - _ZERO) // _MICROSECOND,), lambda n: _ZERO + timedelta(microseconds=n[0])),
    ):
        codec = {"schema": "pg_catalog", "format": "tuple", "encoder": encoder, "decoder": decoder}
        adapted.run_async(lambda driver, name=name, codec=codec: driver.set_type_codec(name, **codec))


def _refuse_closed(adapted: Any, _record: Any, _proxy: Any) -> None:
    """Have all older connections replaced once one is found closed, as after a restart of the server."""
    if adapted.driver_connection.is_closed():
        raise InvalidatePoolError
