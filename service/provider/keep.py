"""The file in which a renewed refresh token survives a restart, readable by nobody else."""

import os
from pathlib import Path

import msgspec


class _Kept(msgspec.Struct):
    """What the file holds.

    Attributes:
        lineage: what the token descends from; for another one it is of no use.
        refresh: the refresh token, empty while there is none but the configured one.
    """

    lineage: str
    refresh: str


class Keep:
    """One file, mode 0600, replaced as a whole; in a folder of mode 0700 that is made when it is needed.

    A file and not a table: whoever may read the database, its dumps or its replicas should not thereby be us.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.json"

    def load(self, lineage: str) -> str | None:
        """Give the kept token of a lineage; None when there is none, or the file is none of ours.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return kept.refresh or None if kept.lineage == lineage else None

    def save(self, lineage: str, refresh: str) -> None:
        """Keep a token; when this returns, it is on the disk.

        Raises:
            OSError: it could not be written; what was kept before still is.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)  # its mode may be another
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(_Kept(lineage, refresh)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
