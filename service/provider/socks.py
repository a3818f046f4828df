"""SOCKS proxies (RFC 1928), by the libraries of the extra ``socks``."""

import ssl

import aiohttp


def connector(proxy: str, trusted: ssl.SSLContext | None) -> aiohttp.BaseConnector | None:
    """Give what connects through a SOCKS proxy; None for a proxy of another kind, or none.

    As everywhere, ``socks5`` looks names up here, and ``socks5h`` lets the proxy do it.
    """
    scheme, _, address = proxy.partition("://")
    if not scheme.startswith("socks"):
        return None
    from aiohttp_socks import ProxyConnector, ProxyError  # noqa: PLC0415  an extra, which may be missing

    class Connector(ProxyConnector):
        """Raises what aiohttp's own connectors raise."""

        async def connect(
            self,
            req: aiohttp.ClientRequest,
            traces: list[aiohttp.tracing.Trace],
            timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own
        ) -> aiohttp.connector.Connection:
            try:
                return await super().connect(req, traces, timeout)
            except ProxyError as error:
                raise aiohttp.ClientConnectionError(f"the proxy refuses: {error}") from error

    return Connector.from_url(
        f"socks5://{address}", rdns=scheme == "socks5h", ssl=trusted if trusted is not None else True
    )
