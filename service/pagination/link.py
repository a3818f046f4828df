"""Pages by the Link header (RFC 8288)."""

import re
from typing import Literal

from yarl import URL

from service.pagination import Page, Paginator, Step

_PARAM = r"""\s*;\s*([\w!#$&+.^`|~*-]+)\s*(?:=\s*("[^"]*"|[^\s",;]*))?"""
_LINK = re.compile(rf"<([^>]*)>((?:{_PARAM})*)")
_PARAMS = re.compile(_PARAM)


class Link(Paginator):
    """Follows the link with ``rel="next"`` until there is none."""

    kind: Literal["link"] = "link"

    def first(self) -> Step:
        """Ask without anything."""
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask for the address that the header gives."""
        for link in _LINK.finditer(page.headers.get("link", "")):
            relations = next((value for name, value in _PARAMS.findall(link[2]) if name.lower() == "rel"), "")
            if "next" in relations.strip('"').lower().split():
                return Step(url=str(page.url.join(URL(link[1]))), number=step.number + 1)
        return None
