"""Paginators: how a long answer is asked for page by page, one file a kind."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from service.config.connectors import Connector
from service.config.paths import Path


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page to ask for, as a JSON object, so that a walk can go on after a restart.

    Attributes:
        params: what the page adds to the query.
        url: the page's whole address, where the provider gives one.
        number: how many pages came before it in this walk.
    """

    params: dict[str, str | int] = {}
    url: str | None = None
    number: int = 0


class Page(msgspec.Struct, frozen=True):
    """What came back for a step.

    Attributes:
        url: where it was fetched.
        headers: of the answer.
        document: the decoded body, at least what lies at the path that the paginator reads.
        count: number of records in it.
    """

    url: URL
    headers: Mapping[str, str]
    document: Any
    count: int


class Paginator(Connector, ABC):
    """Walks through the pages of one answer. It keeps no state: that is in the step."""

    @property
    def reads(self) -> Path | None:
        """The path in a page's document that leads on; the rest of the document may be missing. None: none does."""
        return None

    @abstractmethod
    def first(self) -> Step:
        """Give the first page to ask for."""

    @abstractmethod
    def next(self, step: Step, page: Page) -> Step | None:
        """Give the page that follows, or None after the last."""
