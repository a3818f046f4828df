"""Receives by picows, as bytes; with the variants `pause` and `pause-plain` it pauses reading every few frames."""

import asyncio

from picows import WSFrame, WSListener, WSTransport, ws_connect

from benchmarks.peers.stopwatch import GO, MESSAGES, TLS, URL, VARIANT, Stopwatch

EVERY = 16
"""Frames after which reading is paused."""
PAUSE = 0.01


# The library is installed in an environment of its own, where its types are not looked for.
class Listener(WSListener):  # type: ignore[misc]
    """Counts."""

    def __init__(self) -> None:
        super().__init__()
        self._left, self._size, self._unpaused = MESSAGES, 0, EVERY
        self._watch: Stopwatch | None = None
        self.done = asyncio.Event()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count a frame."""
        if self._watch is None:
            self._watch = Stopwatch()
        self._size += len(frame.get_payload_as_bytes())
        self._left -= 1
        if not self._left:
            self._watch.stop(self._size)
            self.done.set()
        elif VARIANT.startswith("pause"):
            self._unpaused -= 1
            if not self._unpaused:
                beneath = transport.underlying_transport
                beneath.pause_reading()
                asyncio.get_running_loop().call_later(PAUSE, self._resume, beneath)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Wait no longer."""
        self.done.set()

    def _resume(self, beneath: asyncio.Transport) -> None:
        self._unpaused = EVERY
        beneath.resume_reading()


async def main() -> None:
    fast = not VARIANT.endswith("plain")
    transport, listener = await ws_connect(Listener, URL, ssl_context=TLS, use_aiofastnet=fast)
    assert isinstance(listener, Listener)
    transport.send(1, GO.encode())
    await listener.done.wait()
    transport.disconnect()


asyncio.run(main())
