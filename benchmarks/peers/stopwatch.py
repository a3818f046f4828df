"""What all receivers share: their command line, and a stopwatch that says what receiving took.

    receive_NAME.py URL MESSAGES SIZE VARIANT [CA]

Time and CPU run from the first message to the last. Every byte is counted: a receiver that lost one does not end.
"""

import json
import ssl
import sys
import time

URL, VARIANT = sys.argv[1], sys.argv[4]
MESSAGES, SIZE = int(sys.argv[2]), int(sys.argv[3])
TLS = ssl.create_default_context(cafile=sys.argv[5]) if len(sys.argv) > 5 else None
GO = "go"
"""What the sender waits for."""


class Stopwatch:
    """Begins with the first message."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, size: int) -> None:
        """Print what it took, if all bytes are there."""
        took = {"seconds": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}
        if size != MESSAGES * SIZE:
            sys.exit(f"{size} bytes arrived of {MESSAGES * SIZE}")
        print(json.dumps(took), flush=True)
