"""A sender of WebSocket frames that costs next to nothing: blocking sockets in a process of its own, no library."""

import base64
import hashlib
import os
import re
import socket
import ssl
import threading
import time
from multiprocessing.connection import Connection
from types import TracebackType

from benchmarks.parts.providers import fork

PIECE = 256 << 10
"""Bytes written at once."""
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Firehose:
    """Sends the same messages to each who connects and says something, one after the other. A context manager.

    Args:
        messages: how many.
        size: bytes of each: 126 to 65,535 are one frame with two bytes of length, fewer with one.
        context: of TLS; None for plain.

    Attributes:
        url: where it listens.
    """

    def __init__(self, messages: int, size: int, context: ssl.SSLContext | None) -> None:
        head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2)
        frame = head + (b'{"text":"' + b"x" * size)[: size - 2] + b'"}'
        self._frame, self._messages, self._context = frame, messages, context
        self.url = ""
        self._owner = os.getpid()

    def __enter__(self) -> "Firehose":
        said, says = fork.Pipe(duplex=False)
        self._process = fork.Process(target=self._serve, args=(says,), daemon=True)
        self._process.start()
        scheme = "ws" if self._context is None else "wss"
        self.url = f"{scheme}://127.0.0.1:{said.recv()}/"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def _serve(self, says: Connection) -> None:
        threading.Thread(target=_end_with, args=(self._owner,), daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as server:
            says.send(server.getsockname()[1])
            while True:
                raw, _ = server.accept()
                try:
                    with raw if self._context is None else self._context.wrap_socket(raw, server_side=True) as each:
                        self._send(each)
                except OSError:
                    continue  # the receiver has gone

    def _send(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("the receiver has gone")
            request += piece
        key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", request)
        if key is None:
            raise ConnectionError("this is no WebSocket")
        accept = base64.b64encode(hashlib.sha1(key[1] + _MAGIC).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        if not request.partition(b"\r\n\r\n")[2]:
            connection.recv(65536)
        each = max(1, PIECE // len(self._frame))
        piece = self._frame * each
        for _ in range(self._messages // each):
            connection.sendall(piece)
        connection.sendall(self._frame * (self._messages % each))
        while connection.recv(65536):  # what it says until it goes
            pass


def _end_with(owner: int) -> None:
    """End this process once its owner is gone; the receiver that it serves then ends, too."""
    while os.getppid() == owner:
        time.sleep(1)
    os._exit(1)
