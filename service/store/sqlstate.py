"""What an error of the database means: gone for now, one row's fault, or the table's."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import StoreLost, TableRefused

_LOST = ("08", "25006", "25P03", "40", "53", "55P03", "55006", "57", "58")
"""Connection, read-only, idle too long, conflict, out of room, locked, in use, shut down or cancelled, disk.
See PostgreSQL, appendix A."""
_ROW = ("22", "23", "38", "39", "44", "54", "P0")
"""Data, constraint, the user's functions and triggers, view check, limits such as an index row's size."""
_TABLE = ("0A", "21", "28", "3D", "3F", "42", "55000")
"""Not supported, keys that only Postgres holds equal, not authorised, no such database, schema, table or column."""

_REMEDIES = {
    "42501": "`headrace check --connect` names the rights that are missing, with their SQL",
    "42P01": "`headrace ddl --connect` prints the SQL of what is missing",
    "42703": "`headrace ddl --connect` prints the SQL of what is missing",
    "3F000": "`headrace ddl --connect` prints the SQL of what is missing",
}
"""What helps where a right, a table, a column or a schema is missing."""

_POLICY = "ExecWithCheckOptions"
"""Where Postgres tells that a policy forbids a row. Its SQLSTATE is that of a table which one may not write at all."""

_COPY_LINE = re.compile(r"^COPY .*, line (\d+)(?:, column (.+?))?(?::.*)?$", re.MULTILINE)


class RowFault(Exception):  # noqa: N818  it never leaves the store: RowRefused names the row
    """The database refused something in the rows of a statement; as text, all that it said.

    Args:
        condition: what it is called in PostgreSQL's appendix A, or the driver's error: ``check_violation``.
        detail: as below.
        place: the column or constraint that it is about, where the error tells.
        row: as below.

    Attributes:
        row: index of the row among those of the statement, where the error tells, else None.
        detail: what the database said, without the row or key that constraints quote.
        columns: whose values are to blame, as far as they are known.
        constraint: the name of the rule that is broken, where the error tells.
        relation: the name of the table that the error tells of, which may be a temporary one.
        schema: that the error tells of.
        is_of_data: whether a value of one column may be to blame, which the error does not name.
    """

    def __init__(self, condition: str, detail: str, place: str | None = None, row: int | None = None) -> None:
        super().__init__(detail)
        self.condition = condition
        self.place = place
        self.detail = detail
        self.row = row
        self.columns: tuple[str, ...] = ()
        self.constraint: str | None = None
        self.relation: str | None = None
        self.schema: str | None = None
        self.is_of_data = False

    @property
    def reason(self) -> str:
        """Short and stable, to group by: ``matches_score_check: check_violation``."""
        return f"{self.place}: {self.condition}" if self.place else self.condition


@contextmanager
def faults() -> Iterator[None]:
    """Turn what the driver raises into StoreLost, TableRefused or RowFault; let anything else, a bug, pass."""
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreLost("all connections of the pool are busy; `database.pool` sets how many there are") from error
    except (
        SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    ) as error:
        meaning = _meaning(cause(error))
        if meaning is None:
            raise
        raise meaning from error


def unencodable(error: Exception, row: int) -> RowFault:
    """Name the row of which the driver could not encode a value."""
    fault = RowFault(_condition(error), str(error), row=row)
    fault.is_of_data = True
    return fault


def cause(error: BaseException) -> BaseException:
    """Give the driver's own error, which SQLAlchemy wraps twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _meaning(error: BaseException) -> Exception | None:
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, error.sqlstate or "")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return TableRefused(f"the database's URL cannot be used: {error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return StoreLost(
            f"the database's certificate is not accepted: {error.verify_message}; "
            "`sslrootcert` of the URL names the authority, and its host must be the certificate's"
        )
    if isinstance(error, TimeoutError):
        return StoreLost("the database does not answer in time")
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        # The internal one: a server that shuts down says so between two statements, and the driver trips over it.
        return StoreLost(f"no connection to the database: {error}")
    return None


def _of_server(error: asyncpg.PostgresError, state: str) -> Exception | None:
    text = f"{error.args[0] if error.args else error} (SQLSTATE {state})"
    if state.startswith(_LOST):
        return StoreLost(text)
    if getattr(error, "server_source_function", None) == _POLICY:
        return _row_fault(error)
    if state in _REMEDIES:
        return TableRefused(f"{text}; {_REMEDIES[state]}")
    if state.startswith(_TABLE):
        return TableRefused(text)
    return _row_fault(error) if state.startswith(_ROW) else None


def _row_fault(error: asyncpg.PostgresError) -> RowFault:
    line, state = _COPY_LINE.search(error.context or ""), error.sqlstate or ""
    column = error.column_name or (line and line[2])
    # There the detail is the row, or its key, as it is: secrets too.
    quotes = state.startswith("44") or (state.startswith("23") and (error.column_name or error.constraint_name))
    said = _sentences(error.args[0], None if quotes else error.detail, error.hint)
    place = error.column_name or error.constraint_name or column
    fault = RowFault(_condition(error), said, place, int(line[1]) - 1 if line else None)
    fault.args = (_sentences(error.args[0], error.detail, error.hint),)
    fault.columns = (column,) if column else ()
    fault.constraint, fault.relation, fault.schema = error.constraint_name, error.table_name, error.schema_name
    fault.is_of_data = state.startswith(("22", "23"))
    return fault


def _sentences(*parts: str | None) -> str:
    return ". ".join(part.rstrip(".") for part in parts if part)


def _condition(error: BaseException) -> str:
    """Give the name of a condition as PostgreSQL's appendix A writes it: ``not_null_violation``."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
