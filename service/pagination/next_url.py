"""Pages by the address that each page gives for the next."""

from typing import Literal

from pydantic import Field
from yarl import URL

from service.config.paths import Path, parse_path
from service.lookup import DottedPath, lookup
from service.pagination import Page, Paginator, Step


class NextUrl(Paginator):
    """Follows ``{kind: next_url, next: links.next}`` until there is no next address."""

    kind: Literal["next_url"] = "next_url"
    next_path: DottedPath = Field(alias="next")
    """Dotted path to the next address in the body, absolute or relative; absent, null or empty after the last."""

    @property
    def reads(self) -> Path | None:
        """See Paginator."""
        return parse_path(self.next_path)

    def first(self) -> Step:
        """Ask without anything."""
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask for the page's next address, while it has one."""
        value = lookup(page.document, self.reads or ())
        if not value or not isinstance(value, str):
            return None
        return Step(url=str(page.url.join(URL(value))), number=step.number + 1)
