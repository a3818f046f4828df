"""Pages by the Link header (RFC 8288)."""

import re
from typing import Literal

from service.pagination import Page, Paginator, Step

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^,;"]+(?:=(?:"[^"]*"|[^,;"]*))?)*)')


class Link(Paginator):
    """Follows the link with ``rel="next"`` until there is none."""

    kind: Literal["link"] = "link"

    def first(self) -> Step:
        """Ask without anything."""
        return Step()

    def next(self, step: Step, page: Page) -> Step | None:
        """Ask for the address that the header gives."""
        header = next((value for name, value in page.headers.items() if name.lower() == "link"), "")
        for target, params in _LINK.findall(header):
            if re.search(r';\s*rel="?(?:[^"]*\s)?next(?:\s[^"]*)?"?\s*(;|$)', params):
                return Step(url=str(page.url.join(page.url.__class__(target))), number=step.number + 1)
        return None
