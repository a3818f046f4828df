"""The root of config.yaml."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from service.config.answers import ErrorRule, LimitHeaders
from service.config.connectors import Connector, OneOf, Settings
from service.config.feeds import FeedSettings
from service.config.tables import Table
from service.config.units import Duration, Rates, Size


def _absolute(url: str) -> str:
    if re.match(r"(https?|wss?)://[^\s/]", url) is None:  # the value is not shown: it may hold a password
        raise ValueError("this is not an absolute URL; write https:// (or http://, wss://, ws://) and a host")
    return url


_HOST = r"(\[[^\]]*\]|[^\s/?#@:,\[\]]*)(:[0-9]*)?"
_POSTGRES = re.compile(
    rf"(postgres|postgresql|postgresql\+asyncpg)://([^\s/?#]*@)?{_HOST}(,{_HOST})*(/[^\s/?#]*)?(\?\S*)?"
)


def _postgres(url: SecretStr) -> SecretStr:
    if (
        url.get_secret_value() != "embedded" and _POSTGRES.fullmatch(url.get_secret_value()) is None
    ):  # not shown: as above
        raise ValueError(
            "this is not the address of a PostgreSQL; write postgresql://user:password@host:5432/name, with"
            " / ? # in the password as %2F %3F %23, or `embedded`"
        )
    return url


SECRETS = Path("data/secrets")
"""Where renewed refresh tokens are kept, unless configured otherwise."""


def _proxy(url: SecretStr) -> SecretStr:
    form = r"https?://[^\s/?#]+/?|(socks5h?)://[^\s/?#]+:[0-9]+/?"
    if (found := re.fullmatch(form, url.get_secret_value())) is None:  # not shown: as above
        raise ValueError(
            "this is not the address of a proxy; write http://host:port or http://user:password@host:port,"
            " or the same with socks5:// or socks5h://"
        )
    if found[1] and not all(map(find_spec, ("python_socks", "aiohttp_socks"))):
        raise ValueError("a SOCKS proxy needs the extra `socks`, which is not installed: pip install 'headrace[socks]'")
    return url


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
"""The name of a provider or feed: letters, digits, `_` and `-`."""


class Database(Settings):
    """The Postgres that the tables live in."""

    url: Annotated[SecretStr, AfterValidator(_postgres)] = SecretStr("embedded")
    """postgresql://user:password@host:port/name for any PostgreSQL 14+, or `embedded`: one that we run."""
    schema_: str = Field(default="public", alias="schema")
    """The schema of the configured tables."""
    pool: int = Field(default=4, ge=1, le=100)
    """The most transactions at a time, each on a connection of its own; feeds take turns. One connection more
    watches the database."""
    migrate: Literal["create", "verify", "off"] = "create"
    """create: make missing tables and columns; verify: refuse to start on drift; off: trust."""


class BufferSettings(Settings):
    """What holds messages between receiving and loading."""

    kind: Literal["memory", "spool"] = "spool"
    """spool: files that survive kill -9; memory: gone with the process."""
    path: Path = Path("data/spool")
    """The folder of the spool; one daemon at a time."""
    max_bytes: Size = Field(default=2 << 30, ge=1 << 20)
    """The most it holds; when full, feeds are slowed, nothing is lost."""


class Batch(Settings):
    """When rows are written: as soon as the last batch is in, at the latest when one of the bounds is reached."""

    max_rows: int = Field(default=5000, ge=1, le=100_000)
    """The most rows in one transaction."""
    max_bytes: Size = Field(default=16 << 20, ge=1)
    """The most bytes of messages in one transaction."""
    max_wait: Duration = Field(default=0.2, ge=0)
    """The longest that a row waits for company."""


class Http(Settings):
    """The daemon's own web server."""

    host: str = "0.0.0.0"  # noqa: S104  a container's probes come from outside it
    """The address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port; 0 lets the system choose."""
    token: SecretStr = SecretStr("")
    """Guards every endpoint that changes something; empty switches those endpoints off."""


class Log(Settings):
    """The daemon's log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are written."""
    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON lines otherwise."""


class Tls(Settings):
    """Whom we trust on encrypted connections, and what proves who we are."""

    ca: Path | None = None
    """A PEM file with the certificates of the authorities that are trusted, instead of the system's."""
    certificate: Path | None = None
    """A PEM file with our certificate, and the key unless `key` names it."""
    key: Path | None = None
    """A PEM file with the key of our certificate."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("`key` belongs to a `certificate`; there is none")
        return self


class Provider(Settings):
    """Somebody who publishes data."""

    url: Annotated[str, AfterValidator(_absolute)] | None = None
    """The base URL that the paths of feeds are added to."""
    auth: Annotated[Connector, OneOf("service.auth")] | None = None
    """How requests are authenticated; what it adds never leaves the provider's origin."""
    rate_limit: Rates = ()
    """The most requests, for all feeds of the provider together: a rate, or a list of which each must hold."""
    limit_headers: LimitHeaders = LimitHeaders()
    """How the provider's own headers about its limits are read; `RateLimit` (IETF draft) always is."""
    errors: tuple[ErrorRule, ...] = ()
    """What to do about some answers of any feed; the rules of the feed itself come first."""
    headers: dict[str, str] = Field(default={})
    """Headers of every request."""
    tls: Tls | None = None
    """For https and wss: a private authority, a certificate of ours."""
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = None
    """The proxy that everything goes through, as http://user:password@host:port (https and wss by CONNECT), or as
    socks5://user:password@host:port, or socks5h, which lets the proxy look names up (needs the extra `socks`)."""
    timeout: Duration = Field(default=30.0, gt=0)
    """The longest that a connection, or the next bytes of an answer, may take."""
    feeds: dict[Name, Annotated[FeedSettings, OneOf("service.sources")]] = Field(min_length=1)
    """The live sources, by name."""
    _hidden: list[str] = PrivateAttr(default_factory=list)

    @property
    def hidden(self) -> list[str]:
        """What variables put into addresses, parameters and bodies: it is not to be shown."""
        return self._hidden


class Config(Settings):
    """One Headrace: where rows go, what they look like, and who publishes them."""

    database: Database = Database()
    """The Postgres that the tables live in."""
    buffer: BufferSettings = BufferSettings()
    """What holds messages between receiving and loading."""
    batch: Batch = Batch()
    """When rows are written."""
    http: Http = Http()
    """The daemon's own web server."""
    log: Log = Log()
    """The daemon's log."""
    secrets: Path = SECRETS
    """The folder where refresh tokens that a provider renews are kept (mode 0600)."""
    shutdown_timeout: Duration = Field(default=30.0, gt=0)
    """The longest that draining may take after SIGTERM."""
    tables: dict[str, Table] = Field(min_length=1)
    """The internal schema, by table name."""
    providers: dict[Name, Provider] = Field(min_length=1)
    """Who publishes, by name."""

    def deletable(self) -> frozenset[str]:
        """Give the names of the tables that a record can delete rows of."""
        branches = [(branch, feed) for _, feed in self.feeds().values() for branch in (feed.routes or (feed,))]
        return frozenset(
            branch.into
            for branch, feed in branches
            if branch.into and (branch.delete_when is not None or feed.snapshot)
        )

    def partial(self) -> frozenset[str]:
        """Give the names of the tables that some records carry only a part of the columns of."""
        branches = [branch for _, feed in self.feeds().values() for branch in (feed.routes or (feed,))]
        return frozenset(branch.into for branch in branches if branch.partial and branch.into)

    def feeds(self) -> dict[str, tuple[Provider, FeedSettings]]:
        """Give every feed with its provider, by its full name ``provider.feed``."""
        return {
            f"{provider_name}.{feed_name}": (provider, feed)
            for provider_name, provider in self.providers.items()
            for feed_name, feed in provider.feeds.items()
        }
