"""Bodies: every compression, in any chunks, to its end, and no bomb."""

import contextlib
import gzip
import io
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator

import brotli
import pytest
from aiohttp import web
from backports import zstd
from yarl import URL

from service.errors import SourceLost, SourceRefused
from service.provider import Provider
from service.provider.body import Body
from tests.collector import configured
from tests.site import Asked, Site

TEXT = b"".join(b'{"n": %d, "name": "club %d"}\n' % (n, n % 97) for n in range(20_000))


def deflated(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


CODED = {
    "plain": ("identity", TEXT),
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "gzip in members": ("gzip", gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]) + b"\0" * 600),
    "deflate": ("deflate", deflated(TEXT, 15)),
    "raw deflate": ("deflate", deflated(TEXT, -15)),
    "br": ("br", brotli.compress(TEXT, quality=1)),
    "zstd": ("zstd", zstd.compress(TEXT)),
    "zstd in frames": ("zstd", zstd.compress(TEXT[:9]) + zstd.compress(TEXT[9:])),
    "gzip, then br": ("gzip, br", brotli.compress(gzip.compress(TEXT), quality=1)),
}
FILES = {
    "a .gz file": gzip.compress(TEXT),
    "a .zst file": zstd.compress(TEXT),
    "a .zip file": zipped({"a.ndjson": TEXT}),
    "a .zip file with litter": zipped({"__MACOSX/a": b"x", "b/": b"", "b/a.ndjson": TEXT, "b/.DS_Store": b"x"}),
}


@contextlib.asynccontextmanager
async def answered(
    body: bytes, max_bytes: int, path: str = "/x", headers: dict[str, str] | None = None
) -> AsyncIterator[Body]:
    async def answer(asked: Asked) -> web.StreamResponse:
        assert {"gzip", "deflate", "br", "zstd"} <= {
            word.strip() for word in asked.headers["Accept-Encoding"].split(",")
        }
        return web.Response(body=body, headers=headers)

    async with Site(answer) as site:
        _source, settings = configured({"kind": "rest"}, url=site.url)
        async with Provider("acme", settings) as provider, provider.request("GET", URL(site.url + path)) as response:
            yield Body(response, max_bytes)


async def received(body: bytes, headers: dict[str, str] | None = None, max_bytes: int = 1 << 20) -> bytes:
    async with answered(body, max_bytes, headers=headers) as answer:
        return b"".join([chunk async for chunk in answer.chunks()])


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED.keys())
async def test_every_coding_is_undone(coding: str, body: bytes) -> None:
    assert await received(body, {"Content-Encoding": coding}) == TEXT


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain", "application/gzip"])
async def test_a_compressed_file_is_known_by_its_first_bytes(body: bytes, content_type: str) -> None:
    assert await received(body, {"Content-Type": content_type}) == TEXT


async def test_a_compressed_file_may_be_sent_with_a_coding_of_its_own() -> None:
    assert await received(gzip.compress(gzip.compress(TEXT)), {"Content-Encoding": "gzip"}) == TEXT


@pytest.mark.parametrize("body", [b"", b"1", b"[1]"])
async def test_a_short_body_is_all_there(body: bytes) -> None:
    assert await received(body) == body
    if body:
        assert await received(gzip.compress(body), {"Content-Encoding": "gzip"}) == body


async def test_an_empty_body_needs_no_coding() -> None:
    assert await received(b"", {"Content-Encoding": "gzip"}) == b""


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED.keys())
async def test_what_is_compressed_and_ends_early_is_a_source_lost(coding: str, body: bytes) -> None:
    if coding == "identity":
        return
    with pytest.raises(SourceLost, match="does not decompress"):
        await received(body[: len(body) // 2], {"Content-Encoding": coding})


@pytest.mark.parametrize("body", [FILES["a .gz file"], FILES["a .zip file"], FILES["a .zst file"]])
async def test_a_compressed_file_that_ends_early_is_a_source_lost(body: bytes) -> None:
    with pytest.raises(SourceLost, match="does not decompress"):
        await received(body[:-30])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a/": b""}, "holds 0 files"),
        ({"a.csv": b"1", "b.csv": b"2"}, r"holds 2 files \('a.csv', 'b.csv'\); it must hold one"),
    ],
)
async def test_a_zip_archive_must_hold_one_file(files: dict[str, bytes], said: str) -> None:
    with pytest.raises(SourceRefused, match=said):
        await received(zipped(files))


async def test_a_zip_archive_beyond_the_bound_is_refused() -> None:
    with pytest.raises(SourceRefused, match="larger than max_body"):
        await received(FILES["a .zip file"], None, 1000)


async def test_a_coding_that_we_did_not_ask_for_is_refused() -> None:
    with pytest.raises(SourceRefused, match="coded in 'compress', which we do not know"):
        await received(b"xx", {"Content-Encoding": "compress"})


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/data/results.csv?x=1", b"a,b\n", "results.csv"),
        ("/data/results.csv.gz", gzip.compress(b"a,b\n", mtime=0), "results.csv"),
        ("/download", zipped({"inner.csv": b"a,b\n"}), "inner.csv"),
    ],
    ids=["plain", "gzip", "zip"],
)
async def test_what_is_read_has_a_name(path: str, body: bytes, name: str) -> None:
    async with answered(body, 1 << 20, path) as answer:
        async for _chunk in answer.chunks():
            assert answer.name == name


def bombs(megabytes: int) -> dict[str, tuple[dict[str, str], bytes]]:
    block = b"\0" * (1 << 20)
    packer, gzipped = zlib.compressobj(9, wbits=31), b""
    gzipped = b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()
    return {
        "gzip": ({"Content-Encoding": "gzip"}, gzipped),
        "br": ({"Content-Encoding": "br"}, brotli.compress(block * megabytes, quality=1)),
        "zstd": ({"Content-Encoding": "zstd"}, zstd.compress(block * megabytes)),
        "a gzip file in gzip": ({"Content-Encoding": "gzip"}, gzip.compress(gzipped)),
        "a zip file": ({}, zipped({"a.csv": block * megabytes})),
    }


@pytest.mark.parametrize("bomb", bombs(1).keys())
async def test_a_bomb_is_refused_before_it_unfolds(bomb: str) -> None:
    headers, body = bombs(48)[bomb]
    async with answered(body, 1 << 20, headers=headers) as answer:
        sizes: list[int] = []

        async def receive() -> None:
            async for chunk in answer.chunks():
                sizes.append(len(chunk))  # noqa: PERF401  they count until it is refused

        tracemalloc.start()
        try:
            with pytest.raises(SourceRefused, match="unfolds to more than 250 times what was sent"):
                await receive()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert max(sizes) <= 256 << 10
    assert sum(sizes) < 40 << 20
    assert peak < 4 << 20


async def test_what_is_long_but_honest_may_unfold_to_any_length() -> None:
    assert len(await received(gzip.compress(TEXT * 20), {"Content-Encoding": "gzip"}, 1 << 16)) == len(TEXT) * 20
