"""The connection gives the messages that the library would give, however frames and bytes are cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from service.provider.connection import HIGH_BYTES, Connection

BODIES = st.binary(max_size=300) | st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 70_000])
MESSAGES = st.lists(st.tuples(st.sampled_from(["whole", "fragments", "after a ping"]), BODIES), max_size=12)


@asynccontextmanager
async def connected(max_size: int = 1 << 20, compression: str | None = None) -> AsyncIterator[Connection]:
    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(wait, "127.0.0.1", 0, compression="deflate", ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(
            f"ws://127.0.0.1:{port}",
            create_connection=Connection,
            compression=compression,
            max_size=max_size,
            ping_interval=None,
            close_timeout=0.2,
        ) as connection:
            assert isinstance(connection, Connection)
            yield connection


async def until_closed(connection: Connection) -> tuple[list[bytes], ConnectionClosed]:
    got: list[bytes] = []
    while True:
        try:
            got += await connection.messages()
        except ConnectionClosed as closed:
            return got, closed


def frame(opcode: Opcode, body: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, body, fin).serialize(mask=False)


def sent(kind: str, body: bytes) -> bytes:
    if kind == "fragments":
        half = len(body) // 2
        parts = frame(Opcode.TEXT, body[:half], fin=False), frame(Opcode.PING, b"?"), frame(Opcode.CONT, body[half:])
        return b"".join(parts)
    return frame(Opcode.PING, b"?") + frame(Opcode.BINARY, body) if kind == "after a ping" else frame(Opcode.TEXT, body)


@given(MESSAGES, st.lists(st.integers(1, 2000), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_messages_are_the_same_however_the_bytes_are_cut(messages: list[tuple[str, bytes]], cuts: list[int]) -> None:
    async def check() -> None:
        async with connected() as connection:
            stream = b"".join(sent(kind, body) for kind, body in messages)
            given_back: list[bytes] = []
            at = number = 0
            while at < len(stream):
                step = cuts[number % len(cuts)] if len(stream) < 20_000 else cuts[number % len(cuts)] * 40
                connection.data_received(stream[at : at + step])
                at, number = at + step, number + 1
            while len(given_back) < len(messages):
                given_back += await connection.messages()
            assert given_back == [body for _, body in messages]

    asyncio.run(check())


async def test_what_the_server_really_sends_arrives_compressed_or_not() -> None:
    for compression in (None, "deflate"):

        async def send(connection: ServerConnection) -> None:
            for number in range(500):
                await connection.send(f"{number} " + "y" * (number * 7))
            await connection.send(["frag", "men", "ted"])

        async with (
            serve(send, "127.0.0.1", 0, compression="deflate") as server,
            connect(
                f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}",
                create_connection=Connection,
                compression=compression,
            ) as connection,
        ):
            assert isinstance(connection, Connection)
            got, closed = await until_closed(connection)
            assert got == [f"{number} ".encode() + b"y" * (number * 7) for number in range(500)] + [b"fragmented"]
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1000


async def test_a_message_above_the_limit_closes_with_1009() -> None:
    async with connected(max_size=1000) as connection:
        connection.data_received(frame(Opcode.TEXT, b"fits") + frame(Opcode.TEXT, b"x" * 1001)[:50])
        assert await connection.messages() == [b"fits"]
        with pytest.raises(ConnectionClosed) as closed:
            await connection.messages()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1009


@pytest.mark.parametrize(
    "wrong",
    [
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        frame(Opcode.CONT, b"of nothing"),
        frame(Opcode.TEXT, b"begun", fin=False) + frame(Opcode.TEXT, b"another"),
        b"\xf1\x01x",  # reserved bits without an extension
        b"\x83\x01x",  # a reserved opcode
    ],
    ids=["masked", "continued", "interrupted", "extended", "unknown"],
)
async def test_a_breach_of_the_protocol_is_left_to_the_library_to_judge(wrong: bytes) -> None:
    async with connected() as connection:
        connection.data_received(frame(Opcode.TEXT, b"before") + wrong)
        assert await connection.messages() == [b"before"]
        with pytest.raises(ConnectionClosed) as closed:
            await connection.messages()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1002


async def test_a_full_connection_is_not_read_until_its_messages_are_taken() -> None:
    total = 64

    async def send(connection: ServerConnection) -> None:
        for _ in range(total):
            await connection.send(b"z" * (HIGH_BYTES // 4))
        await connection.wait_closed()

    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(uri, create_connection=Connection, compression=None) as connection:
            assert isinstance(connection, Connection)
            async with asyncio.timeout(20):
                while connection.transport.is_reading():
                    await asyncio.sleep(0.01)
                assert connection._held < 2 * HIGH_BYTES
                taken = 0
                while taken < total:
                    taken += len(await connection.messages())


async def test_a_stream_that_ends_within_a_frame_is_a_lost_connection() -> None:
    async with connected() as connection:
        connection.data_received(frame(Opcode.TEXT, b"whole") + frame(Opcode.TEXT, b"cut off")[:5])
        connection.eof_received()
        assert await connection.messages() == [b"whole"]
        connection.transport.abort()
        with pytest.raises(ConnectionClosed):
            await connection.messages()


async def test_a_lost_connection_keeps_no_room_to_read_into() -> None:
    async with connected() as connection:
        assert len(connection.get_buffer(-1)) > 0
    assert len(connection.get_buffer(-1)) == 0
