"""How badly the simulated providers behave."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Faults:
    """Chances are from 0 to 1 and drawn from the seed. All but poison may be changed while the providers run.

    Attributes:
        server_error: chance that a REST request is answered with 500.
        too_many: chance that it is answered with 429.
        per_minute: requests in any minute above which the answer is 429; None for no limit.
        retry_after: seconds that a 429 by chance or by script asks for.
        script: statuses of the next REST answers, one for each request, before any chance; 200 lets one through.
        disconnect: chance, for each event, that every WebSocket connection is cut after it.
        drop: chance, for each change, that no WebSocket connection is told of it; its number is missing then.
        poison: chance, for each change, that a poison record goes ahead of it; fixed once the providers started.
    """

    server_error: float = 0.0
    too_many: float = 0.0
    per_minute: int | None = None
    retry_after: int = 1
    script: deque[int] = field(default_factory=deque)
    disconnect: float = 0.0
    drop: float = 0.0
    poison: float = 0.0

    @classmethod
    def occasional(cls) -> "Faults":
        """Give the faults of a demo: something to see every minute or so."""
        return cls(server_error=0.02, too_many=0.02, per_minute=120, disconnect=0.001, drop=0.002, poison=0.005)
