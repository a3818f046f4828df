"""The few file operations of the spool that can fail, in one place, so that tests can make them fail."""

import os
from pathlib import Path


class Disk:
    """Writes and syncs files."""

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of the data.

        Raises:
            OSError: no room, or the disk is at fault; how much was written is not known.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Bring what was written to the disk (fdatasync)."""
        os.fdatasync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Bring a folder's list of files to the disk."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
