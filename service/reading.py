"""What a poll itself reads of an answer before it hands it on: where it leads, and its newest incremental value."""

import asyncio
from collections.abc import Sequence

from service.config.paths import parse_path
from service.errors import FormatError
from service.formats import Format
from service.lookup import lookup, narrowed
from service.model import Message
from service.pagination import Page, Paginator
from service.provider.answer import Answer
from service.watermark import newest


class Reading:
    """Reads answers no more closely than paging and the cursor need: the transform decodes what is mapped.

    Args:
        form: how the bodies are decoded.
        records: the path to their records.
        paginator: that asks where an answer leads; None where there is but one page.
        field: the path to the incremental value of a record; None where there is none.
    """

    def __init__(self, form: Format, records: str | None, paginator: Paginator | None, field: str | None) -> None:
        self._field = parse_path(field) if field is not None else None
        self._looks = paginator is not None or field is not None
        self._read = form.typed(records, narrowed(self._field)) or (lambda message: form.decode(message, records))
        self._glance = form.glance(paginator.reads if paginator is not None else None)

    async def look(self, answer: Answer, messages: Sequence[Message]) -> None:
        """Note in an answer what some of its messages hold; between two of them others have their turn."""
        for message in messages if self._looks else ():
            await asyncio.sleep(0)
            try:
                records = self._read(message)
            except FormatError as error:
                answer.fault = answer.fault or error
                continue
            answer.count += len(records)
            if self._field is not None:
                answer.high = newest([answer.high, *(lookup(record, self._field) for record in records)])

    async def page(self, answer: Answer) -> Page:
        """Look at what has not been looked at of an answer; give what paging needs.

        Raises:
            FormatError: the body does not decode.
        """
        if not self._looks:
            return Page(answer.url, answer.headers, None, 0)
        await self.look(answer, answer.held)
        fault = answer.fault
        await self.look(answer, [answer.message])  # that `records` leads nowhere is told by the quarantine
        try:
            document = self._glance(answer.message)
        except FormatError as error:
            raise (fault or error) from None
        if fault is not None:
            raise fault
        return Page(answer.url, answer.headers, document, answer.count)
