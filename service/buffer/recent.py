"""The newest groups of a spool lane, kept in memory for a reader that is nearly in step."""

from collections import deque

from service.buffer.reader import Piece


class Recent:
    """Groups that were just written: a reader that finds its next group here need not decode it from the file.

    Args:
        max_bytes: the most that bodies take here; older groups are let go, for they are in the files.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: deque[Piece] = deque()
        self._bytes = 0

    def add(self, piece: Piece) -> None:
        """Keep a group that was written."""
        self._pieces.append(piece)
        self._bytes += piece.group.size
        while self._bytes > self._max_bytes:
            self._let_go()

    def take(self, after: int, max_bytes: int) -> Piece | None:
        """Give the group that follows ``after``, if it is here and within ``max_bytes``; let go of what lies before."""
        while self._pieces and self._pieces[0].group.last <= after:
            self._let_go()
        if self._pieces and self._pieces[0].group.first == after + 1 and self._pieces[0].group.size <= max_bytes:
            return self._let_go()
        return None

    def _let_go(self) -> Piece:
        piece = self._pieces.popleft()
        self._bytes -= piece.group.size
        return piece
