"""Pages by number."""

from typing import Literal

from pydantic import Field

from service.pagination import Page, Paginator, Step


class PageNumber(Paginator):
    """Counts ``{kind: page, param: page, size: 100, size_param: per_page}`` until a page is short or empty."""

    kind: Literal["page"] = "page"
    param: str = "page"
    """The parameter that carries the number."""
    start: int = Field(default=1, ge=0)
    """The number of the first page."""
    size: int | None = Field(default=None, ge=1)
    """Records of a full page; a page with fewer is the last. Without it, an empty page is."""
    size_param: str | None = None
    """The parameter that carries the size, if the provider wants it."""

    def first(self) -> Step:
        """Ask for the first number."""
        return self._step(0)

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask for the next number, while pages are full."""
        if page.count < (self.size or 1):
            return None
        return self._step(step.number + 1)

    def _step(self, number: int) -> Step:
        params: dict[str, str | int] = {self.param: self.start + number}
        if self.size is not None and self.size_param is not None:
            params[self.size_param] = self.size
        return Step(params=params, number=number)
