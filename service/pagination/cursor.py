"""Pages by a cursor that each page gives for the next."""

from typing import Literal

from pydantic import Field

from service.config.paths import parse_path
from service.pagination import Page, Paginator, Step


class Cursor(Paginator):
    """Follows ``{kind: cursor, next: paging.next, param: cursor}`` until there is no next cursor."""

    kind: Literal["cursor"] = "cursor"
    next_path: str = Field(alias="next")
    """Dotted path to the next cursor in the body."""
    param: str = "cursor"
    """The parameter that carries it."""

    def first(self) -> Step:
        """Ask without a cursor."""
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask with the page's cursor, while it has one."""
        value = page.document
        for part in parse_path(self.next_path):
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        if value in (None, "", False):
            return None
        return Step(params={self.param: str(value)}, number=step.number + 1)
