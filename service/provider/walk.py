"""One walk through pages: what was asked for and what came, so that it ends."""

from collections.abc import Callable

import msgspec

from service.errors import SourceLost
from service.pagination import Page, Paginator, Step
from service.provider.answers import plain


class Walk:
    """Follows the pages of one walk.

    Args:
        first: the page that it begins with.
        paginator: that says where a page leads; None where there is but one.
        max_pages: the most pages.
        goes_on: whether one of more pages goes on from there the next time.
        warn: is told what ends it early, and at which page.
    """

    def __init__(
        self,
        first: Step,
        paginator: Paginator | None,
        max_pages: int,
        warn: Callable[[str, Step], None],
        *,
        goes_on: bool,
    ) -> None:
        self._paginator = paginator
        self._max_pages = max_pages
        self._goes_on = goes_on
        self._warn = warn
        self._steps = {_identity(first)}
        self._bodies = set[str]()

    def repeats(self, page: str, count: int, step: Step) -> bool:
        """Say whether a page was there before, which ends the walk; where it leads makes it no other.

        Pages without records may be alike: some providers send them before the last one.

        Args:
            page: its digest; see Answer.
            count: records in it.
            step: that asked for it.
        """
        body = page.partition(".")[0]
        if body in self._bodies:
            self._warn("the provider sent the same page twice", step)
            return True
        if count:
            self._bodies.add(body)
        return False

    def leads(self, step: Step, page: Page) -> Step | None:
        """Give the page that one leads to.

        Raises:
            SourceLost: the provider gives an address that is none.
        """
        try:
            return self._paginator.next(step, page) if self._paginator is not None else None
        except ValueError as error:
            raise SourceLost(f"poll failed: {plain(page.url)} leads to what is no address") from error

    def next(self, following: Step | None) -> tuple[Step | None, bool]:
        """Give the page to go on with, now or the next time, and whether the one before it was the last there is.

        Where a walk is cut short, there is none to go on with, though that was not the last.
        """
        if following is None:
            return None, True
        if _identity(following) in self._steps:
            self._warn("the provider leads back to a page of this walk", following)
            return None, False
        if self.is_full:
            self._warn("the walk is longer than max_pages", following)
            return following if self._goes_on else None, False
        return following, False

    @property
    def is_full(self) -> bool:
        """Whether no more pages may be asked for."""
        return len(self._steps) >= self._max_pages

    def ask(self, step: Step) -> None:
        """Note that a page is asked for."""
        self._steps.add(_identity(step))


def _identity(step: Step) -> bytes:
    return msgspec.json.encode((step.params, step.url))
