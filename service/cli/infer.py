"""`headrace infer`: proposes a table and a map from a file, an address or a feed, ready to paste."""

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer
from yarl import URL

from service.cli.options import ConfigPath, read, source_of, stop, transform_of
from service.config.settings import Provider as ProviderSettings
from service.errors import FormatError, SourceLost, SourceRefused
from service.formats import Format
from service.infer.names import snake
from service.infer.proposal import propose
from service.infer.writing import Feed, write
from service.masking import is_secret
from service.model import Message
from service.provider import Provider
from service.recording.reading import is_recording
from service.workbench.detect import decoder_of, format_of, split
from service.workbench.sample import MAX_BYTES, read_bytes, recorded, sample

_PLACE = "an example: put the real address here"


def infer(
    source: Annotated[str, typer.Argument(metavar="FILE|URL|PROVIDER.FEED", help="Where the sample comes from.")],
    config: ConfigPath = Path("config.yaml"),
    *,
    kind: Annotated[str | None, typer.Option("--format", help="The format; by default it is recognised.")] = None,
    table: Annotated[str | None, typer.Option(help="The name of the table.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME: VALUE to send to a URL; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="The longest to listen to a feed.")] = 15.0,
) -> None:
    """Propose a table and a map as YAML, with the reasons as comments. Nothing is written anywhere."""
    try:
        if "://" in source:
            messages, decoder, feed = asyncio.run(_of_url(URL(source), kind, header or []))
        elif Path(source).exists() or Path(source).suffix in {".gz", ".json"}:
            messages, decoder, feed = _of_file(Path(source), kind)
        else:
            messages, decoder, feed = _of_feed(config, source, seconds)
        proposal = propose(messages, decoder, table or feed.name)
    except OSError as error:
        stop(f"{source}: {error.strerror or error}", 1)
    except FormatError as error:
        stop(f"{source}: {error}", 1)
    except (SourceLost, SourceRefused) as error:
        stop(error.reason, 1)
    proposal.table = table or proposal.table
    typer.echo(f"# {proposal.total} records of {_plain(source)}; check it with: headrace check")
    typer.echo(write(proposal, feed), nl=False)


def _of_file(path: Path, kind: str | None) -> tuple[Sequence[Message], Format, Feed]:
    messages = recorded(path) if is_recording(path) else [Message(read_bytes(path), path.stat().st_mtime)]
    if not messages:
        raise FormatError("no message was recorded")
    whole = max(messages, key=lambda message: len(message.body))
    decoder = decoder_of(kind or format_of(whole.body, "" if len(messages) > 1 else path.name))
    name = snake(path.name.partition(".")[0]) or "sample"
    settings = {"kind": "rest", "path": f"/{name}", "every": "60s"}
    feed = Feed("sample", name, {"url": "https://api.example.com"}, settings, (f"url and path are {_PLACE}",))
    return split(whole, decoder) if len(messages) == 1 else messages, decoder, feed


async def _of_url(url: URL, kind: str | None, headers: list[str]) -> tuple[Sequence[Message], Format, Feed]:
    if url.scheme not in {"http", "https"} or not url.host:
        raise SourceRefused(f"{_plain(str(url))}: only http:// and https:// can be asked without a configuration")
    asked = dict(re.split(r":\s*", header, maxsplit=1) for header in headers if ":" in header)
    words = [word for word in url.host.split(".") if word not in {"www", "api", "com", "org", "net"}]
    name = snake(words[0] if words else url.host)
    name = name if re.match(r"[a-z]", name) else "provider"
    origin = str(url.origin())
    whole = {"url": origin, "headers": asked, "feeds": {name: {"kind": "rest", "into": "-", "map": {}}}}
    async with (
        Provider(name, ProviderSettings.model_validate(whole)) as provider,
        provider.request("GET", url) as response,
    ):
        body = await provider.read(response, MAX_BYTES)
        decoder = decoder_of(kind or format_of(body, url.path, response.headers.get("Content-Type", "")))
    last = snake(next((part for part in reversed(url.parts) if part != "/"), "").partition(".")[0])
    settings, notes = _address(url)
    settings |= {"every": "60s"}
    if asked:
        settings |= {"headers": {key: f"${{{snake(key).upper()}}}" for key in asked}}
    feed = Feed(name, last if re.match(r"[a-z_]", last) else "feed", {"url": origin}, settings, notes)
    return split(Message(body, time.time()), decoder), decoder, feed


def _address(url: URL) -> tuple[dict[str, object], tuple[str, ...]]:
    """Give path and parameters; a key among them becomes a variable, so that it is in no file."""
    params = {
        key: f"${{{snake(key).upper()}}}" if is_secret(key) or key == "key" else value
        for key, value in url.query.items()
    }
    settings: dict[str, object] = {"kind": "rest", "path": url.path}
    if params:
        settings["params"] = params
    hidden = [key for key, value in params.items() if value.startswith("${")]
    return settings, (f"set {', '.join(snake(key).upper() for key in hidden)} in the environment",) if hidden else ()


def _of_feed(config: Path, name: str, seconds: float) -> tuple[Sequence[Message], Format, Feed]:
    if not re.fullmatch(r"[\w-]+\.[\w-]+", name):
        stop(f"{name!r} is neither a file, nor a URL, nor PROVIDER.FEED", 2)
    settings = read(config)
    source, transform = source_of(settings, name), transform_of(settings, name)
    provider_name, _, feed_name = name.partition(".")

    async def receive() -> list[Message]:
        async with Provider(provider_name, settings.providers[provider_name], settings.secrets) as provider:
            return await sample(source, provider, transform, records=1000, seconds=seconds)

    messages = asyncio.run(receive())
    if not messages:
        raise FormatError(f"no message came in {seconds:g} s; --seconds waits longer")
    notes = ("the other settings of the feed stay as they are; these are added or replaced",)
    return messages, cast("Format", source.format), Feed(provider_name, feed_name, notes=notes)


def _plain(source: str) -> str:
    """Give the source without what may be secret in an address."""
    return str(URL(source).with_query(None).with_user(None)) if "://" in source else source
