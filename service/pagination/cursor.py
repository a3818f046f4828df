"""Pages by a cursor that each page gives for the next."""

from typing import Literal

from pydantic import Field

from service.config.paths import Path, parse_path
from service.lookup import DottedPath, lookup
from service.pagination import Page, Paginator, Step


class Cursor(Paginator):
    """Follows ``{kind: cursor, next: paging.next, param: cursor}`` until there is no next cursor."""

    kind: Literal["cursor"] = "cursor"
    next_path: DottedPath = Field(alias="next")
    """Dotted path to the next cursor in the body; absent, null, empty, false or 0 after the last page."""
    param: str = "cursor"
    """The parameter that carries it."""

    @property
    def reads(self) -> Path | None:
        """See Paginator."""
        return parse_path(self.next_path)

    def first(self) -> Step:
        """Ask without a cursor."""
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask with the page's cursor, while it has one."""
        value = lookup(page.document, self.reads or ())
        if not value or not isinstance(value, str | int):
            return None
        return Step(params={self.param: value}, number=step.number + 1)
