"""The service's own tables through the releases: the revision that a database has, and the way to this release's."""

from io import StringIO
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.errors import TableRefused
from service.store.schema import SCHEMA
from service.store.tables import DIALECT

REVISIONS = Path(__file__).with_name("revisions")

_VERSION = {"version_table": "schema_version", "version_table_schema": SCHEMA}
"""Where Alembic notes the revision: headrace.schema_version."""


class Upgrade:
    """The revisions of this release, in order. Their files are read once, here.

    Attributes:
        head: the revision that this release works with.
    """

    def __init__(self, revisions: Path = REVISIONS) -> None:
        self._script = ScriptDirectory(str(revisions), version_locations=[str(revisions)])
        self._known = {script.revision for script in self._script.walk_revisions()}
        self.head = self._script.get_current_head()

    def current(self, connection: sa.Connection) -> str | None:
        """Give the revision of a database; None when it notes none: it is empty, or was made by release 0.1.0.

        Raises:
            TableRefused: this release does not know the revision, so a newer one made it.
        """
        found = MigrationContext.configure(connection, opts=_VERSION).get_current_revision()
        if found is not None and found not in self._known:
            raise TableRefused(
                f"the tables in the schema {SCHEMA} have revision {found}, and this release of Headrace knows none "
                f"after {self.head}: a newer release made them; run that one, or a newer one still"
            )
        return found

    def run(self, connection: sa.Connection) -> None:
        """Bring the tables to this release's revision, in the connection's transaction; the schema exists."""
        context = MigrationContext.configure(connection, opts={**_VERSION, "fn": self._steps})
        context.run_migrations(op=Operations(context))

    def sql(self, current: str | None) -> str:
        """Write the SQL that ``run`` would execute in a database of the given revision."""
        text = StringIO()
        opts = {**_VERSION, "fn": self._steps, "as_sql": True, "output_buffer": text, "starting_rev": current}
        context = MigrationContext.configure(dialect=DIALECT, opts=opts)
        context.run_migrations(op=Operations(context))
        return text.getvalue()

    def _steps(self, current: Any, _context: MigrationContext) -> Any:
        return self._script._upgrade_revs("head", current)  # noqa: SLF001  Alembic's documentation uses it like this
