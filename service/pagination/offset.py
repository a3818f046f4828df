"""Pages by offset."""

from typing import Literal

from pydantic import Field

from service.pagination import Page, Paginator, Step


class Offset(Paginator):
    """Counts ``{kind: offset, limit: 100, param: offset, limit_param: limit}`` until a page is short."""

    kind: Literal["offset"] = "offset"
    limit: int = Field(default=100, ge=1)
    """Records of a full page; at most what the provider allows, else its first page looks like the last."""
    param: str = "offset"
    """The parameter that carries the offset."""
    limit_param: str = "limit"
    """The parameter that carries the limit."""

    def first(self) -> Step:
        """Ask from the beginning."""
        return self._step(0, 0)

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask from where the page ended, while pages are full."""
        if page.count < self.limit:
            return None
        return self._step(int(step.params[self.param]) + page.count, step.number + 1)

    def _step(self, offset: int, number: int) -> Step:
        return Step(params={self.param: offset, self.limit_param: self.limit}, number=number)
