"""Polls, too, trust whom we name, prove who we are, and go through the proxy."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from service.config.settings import Provider as ProviderSettings
from service.errors import SourceLost, StartError
from service.provider import Provider
from tests.socks import Socks
from tests.tunnel import Tunnel


def settings(url: str, **more: Any) -> ProviderSettings:
    feed = {"kind": "rest", "path": "/", "every": "1h", "into": "t", "map": {}}
    return ProviderSettings.model_validate({"url": url, "feeds": {"f": feed}, "timeout": "2s", **more})


@pytest.mark.parametrize(("scheme", "kind"), [("http", Tunnel), ("socks5", Socks)])
async def test_a_poll_goes_through_the_proxy_to_who_trusts_us_and_whom_we_trust(
    tmp_path: Path, scheme: str, kind: type[Tunnel]
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("us").private_key_and_cert_chain_pem.write_to_path(tmp_path / "us.pem")

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    url = f"https://127.0.0.1:{server.port}"
    trusted = {"ca": str(tmp_path / "ca.pem"), "certificate": str(tmp_path / "us.pem")}
    try:
        async with kind("u", "p4ssword") as tunnel:
            proxy = f"{scheme}://u:p4ssword@127.0.0.1:{tunnel.port}"
            async with (
                Provider("test", settings(url, tls=trusted, proxy=proxy)) as provider,
                provider.request("GET", URL(url)) as response,
            ):
                assert await response.text() == "hello"
            assert tunnel.targets == [f"127.0.0.1:{server.port}"]
            wrong = settings(url, tls=trusted, proxy=proxy.replace("p4ssword", "wr0ngword"))
            async with Provider("test", wrong) as provider:
                with pytest.raises(SourceLost) as lost:
                    async with provider.request("GET", URL(url)):
                        pass
                assert "wr0ngword" not in lost.value.reason
        for tls, reason in ((None, "TLS certificate refused"), ({"ca": trusted["ca"]}, "127.0.0.1")):
            async with Provider("test", settings(url, tls=tls)) as provider:
                with pytest.raises(SourceLost, match=reason):
                    async with provider.request("GET", URL(url)):
                        pass
    finally:
        await server.close()


async def test_a_certificate_that_cannot_be_used_forbids_the_start(tmp_path: Path) -> None:
    (tmp_path / "us.pem").write_text("nothing")
    with pytest.raises(StartError, match=r"providers\.test\.tls: .*us\.pem are no certificate and key"):
        async with Provider("test", settings("https://x", tls={"certificate": str(tmp_path / "us.pem")})):
            pass


@pytest.mark.parametrize(("scheme", "asked"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
async def test_names_are_looked_up_here_or_by_the_proxy(scheme: str, asked: str) -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    server = TestServer(app)
    await server.start_server()
    url = f"http://localhost:{server.port}"
    async with Socks("u", "p4ssword") as tunnel:
        proxy = f"{scheme}://u:p4ssword@127.0.0.1:{tunnel.port}"
        async with (
            Provider("test", settings(url, proxy=proxy)) as provider,
            provider.request("GET", URL(url)) as response,
        ):
            assert await response.text() == "hello"
        assert tunnel.targets == [f"{asked}:{server.port}"]
    await server.close()
