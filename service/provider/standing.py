"""Where a poll stands, as its position says, and how an answer that it had before is known again."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from yarl import URL

from service.model import Position
from service.pagination import Step
from service.provider.answer import Answer
from service.watermark import Mark, newest

VALIDATORS = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
"""What an answer is asked for again with, and the header of the answer that gives it."""
PAGES = 5_000
"""The most pages of which is remembered what they held."""
_KEYS = ("cursor", "walk", "high", "answer", "broken")


class Noted(msgspec.Struct, frozen=True):
    """An answer of which all has been handed on.

    Attributes:
        digest: of its bytes, and of the header that leads on; see Answer.
        validators: headers to ask with whether it changed.
        following: the page that it leads to.
        high: the newest incremental value in it.
        count: records in it.
    """

    digest: str
    validators: Mapping[str, str]
    following: Step | None = None
    high: Mark | None = None
    count: int = 0


class Standing:
    """The position of one poll, and what is remembered of its pages as long as the process lives.

    The position holds ``cursor``, the newest incremental value of the last complete walk; ``walk``, the step of the
    next page while a walk is under way, and ``high``, the newest value in it; ``answer``, what tells an unchanged
    answer that is not paged; ``broken``, the digest of the last body that was no data.

    Args:
        position: where to resume.
        notes: keeps what is remembered: ``pages``, and ``at``, the position whether it was handed on or not.
        pages: the most pages that are remembered; 0 where answers are not paged.
        compares: whether unchanged answers are left out.
        is_set: whether answers are full sets. Of one in pages, each page may be needed; and a new process takes the
            first anew, since the one before may have ended amid its messages, and what is absent was not seen.

    Attributes:
        position: of the next message.
        amid: whether the last position that was handed on lies within a walk.
    """

    def __init__(
        self, position: Position | None, notes: dict[str, Any], *, pages: int, compares: bool, is_set: bool
    ) -> None:
        # What was noted is newer: pages without news are not in the position that was handed on.
        newest_known: Position = notes.get("at", position or {})
        # What a feed wrote that was configured otherwise, with `for_each`, is not carried on.
        self.position: Position = {name: value for name, value in newest_known.items() if name in _KEYS}
        self.amid = "walk" in (position or {})
        self._notes = notes
        self._pages: dict[str, Noted] = notes.setdefault("pages", {})
        self._most = pages
        self._compares = compares
        self._asks = compares and not (is_set and pages)
        if is_set and "at" not in notes:
            self.position.pop("answer", None)
        self._walked: set[str] = set()

    @property
    def walk(self) -> Step | None:
        """The next page of a walk that is under way."""
        return msgspec.convert(self.position["walk"], Step) if "walk" in self.position else None

    def passed(self) -> None:
        """Note that what the position stands for is handed on, or needs not be: another run goes on from here."""
        self._notes["at"] = dict(self.position)

    def forget_walk(self) -> None:
        """Let the next walk start anew."""
        self.position.pop("walk", None)
        self.position.pop("high", None)
        self.passed()

    def begin(self) -> None:
        """Begin to note which pages a walk meets."""
        self._walked = set()

    def end(self) -> None:
        """Forget the pages that a walk through all of them did not meet."""
        for of in self._pages.keys() - self._walked:
            del self._pages[of]

    def validators(self, url: URL) -> Mapping[str, str]:
        """Give headers that ask for an answer only if it changed.

        Not once a page of the walk changed: its last page is handed on in any case, and with it the position.
        """
        noted = self._noted(url) if self._asks and not self.amid else None
        return noted.validators if noted is not None else {}

    def knows(self, url: URL) -> bool:
        """Whether an answer may turn out to be as it was."""
        return self._noted(url) is not None if self._most else "answer" in self.position

    def unchanged(self, answer: Answer) -> Noted | None:
        """Give what was noted of an answer that is as it was when it was last handed on; None for any other."""
        if not self._compares or answer.status == 204:
            return None
        if answer.status == 304:
            return self._noted(answer.url)
        if not self._most:  # the same bytes are no news, whatever was asked
            digest = self.position.get("answer", {}).get("digest")
            return Noted(digest, {}) if digest == answer.digest else None
        noted = self._noted(answer.url)
        return noted if noted is not None and noted.digest == answer.digest else None

    def learn(self, answer: Answer, noted: Noted | None) -> None:
        """Take what an answer tells into the position that goes with it; ``noted`` says that it is as it was."""
        self.position.pop("broken", None)
        high = newest([self.position.get("high"), noted.high if noted is not None else answer.high])
        if high is not None:
            self.position["high"] = high
        of = digest(str(answer.url).encode())
        if noted is not None:
            self._walked.add(of)
        elif self._compares and not self._most:
            # Validators belong to one address (RFC 9110, section 13.1): the cursor is a part of ours.
            self.position["answer"] = {"of": of, "digest": answer.digest} | _validators(answer)

    def handed_on(self, answer: Answer, following: Step | None) -> None:
        """Note a page that is on its way now, so that it is known again."""
        of = digest(str(answer.url).encode())
        if self._compares and (of in self._pages or len(self._pages) < self._most):
            self._pages[of] = Noted(answer.digest, _validators(answer), following, answer.high, answer.count)
            self._walked.add(of)

    def move(self, following: Step | None) -> None:
        """Move to the next page; the cursor itself moves only when the walk is complete."""
        position = self.position
        position.pop("walk", None)
        if following is not None:
            position["walk"] = msgspec.to_builtins(following)
        elif "high" in position:
            position["cursor"] = newest([position.get("cursor"), position.pop("high")])

    def _noted(self, url: URL) -> Noted | None:
        of = digest(str(url).encode())
        if self._most:
            return self._pages.get(of)
        known = self.position.get("answer", {})
        if known.get("of") != of:
            return None
        return Noted(known["digest"], {name: known[name] for name in VALIDATORS if name in known})


def _validators(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[sent] for name, sent in VALIDATORS.items() if sent in answer.headers}


def digest(data: bytes) -> str:
    """Tell bytes from any others."""
    return blake2b(data, digest_size=16).hexdigest()
