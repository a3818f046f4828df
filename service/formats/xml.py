"""XML as dicts, lists and texts, in the way of xmltodict; entities, DTDs and the network are off."""

import codecs
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

from lxml import etree
from pydantic import field_validator

from service.charset import declared, is_encoding, marked
from service.config.paths import parse_path
from service.errors import FormatError
from service.formats import PIECE, Cutter, Format, Gatherer, Piece, refuse_rest
from service.jsontext import beginning
from service.model import Message
from service.xmltree import Element, Namer, has_dtd, naming, prefixed, said, skeleton, value_of, written

_HTML = re.compile(r"\s*<(!doctype\s+)?html\b", re.IGNORECASE)
_DTD = "it declares a document type (DTD), which may hold entities; that is refused, whatever it says"


class Xml(Format):
    """An XML document as dicts, lists and texts.

    `records` is the path of the elements that are records, from the root: `feed/items/item` or `feed.items.item`; `*`
    stands for any name. An attribute is `@name`, text beside attributes or children `#text`, an element with text alone
    is that text, an empty one null, and a repeated child is a list.
    """

    types: ClassVar[tuple[str, ...]] = ("application/xml", "text/xml", "+xml")
    suffixes: ClassVar[tuple[str, ...]] = (".xml", ".rss", ".atom")

    kind: Literal["xml"] = "xml"
    namespaces: Literal["drop", "keep"] | dict[str, str] = "drop"
    """drop: names without prefixes; keep: with the prefixes that the document uses, `p:name`; or your own prefixes,
    each with its namespace, whatever the document uses: `{p: "http://…"}`. Declarations of namespaces are left out."""
    encoding: str | None = None
    """The encoding; by default that of the content type, else that of the document. A byte order mark goes before."""

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None and not (is_encoding(encoding) and _is_known(encoding)):
            raise ValueError(f"there is no encoding {encoding!r}; common ones are utf-8, iso-8859-1, windows-1252")
        return encoding

    @classmethod
    def likeness(cls, start: bytes) -> int:
        """Look for a tag that is not of HTML; see Format."""
        codec, length = marked(start)
        text = start[length:].decode(codec or "latin-1", "replace")
        return int(re.match(r"\s*<[?!\w]", text) is not None and not _HTML.match(text))

    def decode(self, message: Message, records: str | None) -> list[Any]:
        """Give the records; see Format."""
        refuse_rest(message)
        root = self.root(message)
        name = self.namer()
        if records is None:
            return [{name(root, root.tag): value_of(root, name)}]
        try:
            return [value_of(element, name) for element in _found(root, records, name)]
        except FormatError:
            if message.meta is not None and message.meta.get("rest"):
                return []  # what led to the records went with them
            raise

    def raw(self, message: Message, records: str | None, index: int) -> bytes:
        """Give the record's element, with the namespaces that it needs; see Format."""
        return written(_elements(self, message.body, (message.meta or {}).get("content_type"), records)[index])

    def untyped(self, message: Message) -> bool:  # noqa: ARG002  whatever it holds
        """Say yes; see Format."""
        return True

    def beside(self, message: Message, records: str | None) -> Mapping[str, Any] | None:
        """Say whether the record is an element within the document; see Format."""
        return {**(message.meta or {}), "element": records is not None}

    def reread(self, message: Message) -> Any:
        """Give the element, which ``raw`` wrote in UTF-8 whatever it came in; see Format."""
        root, name = self.root(Message(codecs.BOM_UTF8 + message.body, message.received_at)), self.namer()
        return (
            value_of(root, name)
            if (message.meta or {}).get("element")
            else {name(root, root.tag): value_of(root, name)}
        )

    def writes_one_alone(self, message: Message) -> bool:  # noqa: ARG002  whatever it is
        """Say so: a child that could be repeated is known by that only; see Format."""
        return True

    def document(self, message: Message) -> Any:
        """Give the document as one dict; see Format."""
        return self.decode(message, None)[0]

    def cutter(self, meta: Mapping[str, Any], records: str | None, size: int = PIECE) -> Cutter:
        """Cut between the elements at ``records``; see Format."""
        path = steps(records) if records is not None else ()
        return _ElementCutter(self, meta, path, size) if len(path) > 1 else Gatherer(size)

    def settings(self, meta: Mapping[str, Any], start: bytes) -> dict[str, Any]:
        """Give the settings of the parser: libxml2's own bounds (of depth, of a text, of entities) stay in force.

        Raises:
            FormatError: the content type names an encoding that there is not.
        """
        codec = marked(start)[0]
        # UTF-16 and UTF-32 are told by their mark; named with their byte order they would have none.
        encoding = (codec if codec == "utf-8" else None) if codec else self.encoding or declared(meta)
        return {
            "encoding": codecs.lookup(encoding).name if encoding is not None else None,
            "resolve_entities": False,
            "load_dtd": False,
            "dtd_validation": False,
            "no_network": True,
            "huge_tree": False,
            "remove_comments": True,
            "remove_pis": True,
        }

    def namer(self) -> Namer:
        """Give what names a tag or an attribute of an element."""
        if self.namespaces == "keep":
            return prefixed
        return naming({} if isinstance(self.namespaces, str) else self.namespaces)

    def root(self, message: Message) -> Element:
        """Parse a message.

        Raises:
            FormatError: it is not XML, or declares a document type.
        """
        body = message.body
        try:
            parser = etree.XMLParser(**self.settings(message.meta or {}, body[:4]))
            root = etree.fromstring(body, parser)
        except (etree.XMLSyntaxError, LookupError, ValueError) as error:
            if not body.strip():
                raise FormatError("the message is empty") from None
            raise FormatError(f"{said(error)}; the message begins with {beginning(body)}") from None
        if has_dtd(root):
            raise FormatError(_DTD)
        return root


class _ElementCutter(Cutter):
    """Cuts between record elements, as a parser finds them; each piece has copies of the elements around them.

    What is complete is dropped from the parser's tree: of each open element only the last child may still grow.
    """

    def __init__(self, xml: Xml, meta: Mapping[str, Any], path: tuple[str, ...], wanted: int) -> None:
        self._xml = xml
        self._meta = meta
        self._path = path
        self._wanted = wanted
        self._name = xml.namer()
        self._parser: Any = None
        self._raw: list[bytes] = []
        self._size = 0
        self._ended: list[Element] = []
        self._spent: Element | None = None
        self._is_cut = False
        self._fault = ""

    @property
    def held(self) -> int:
        """Bytes that came since the last piece; see Cutter."""
        return self._size

    def feed(self, data: bytes) -> Piece | None:
        """Take the next bytes; see Cutter. Those that follow a fault are dropped."""
        if self._fault or not data:
            return None
        self._raw.append(data)
        self._size += len(data)
        self._guarded(self._parse, data)
        body = self._guarded(self._cut) if self._ended and self._size >= self._wanted else None
        return Piece(body) if body is not None else None

    def end(self) -> Piece:
        """Give the rest, with what stands around the records; see Cutter."""
        root = None if self._fault else self._guarded(self._close)
        if root is None or self._fault:
            return Piece(b"".join(self._raw), {"broken": self._fault} if self._fault else {})
        if self._spent is not None and (parent := self._spent.getparent()) is not None:
            parent.remove(self._spent)
        return Piece(codecs.BOM_UTF8 + written(root), {"rest": True} if self._is_cut else {})

    def _guarded(self, work: Callable[..., Any], *data: bytes) -> Any:
        try:
            return work(*data)
        except (etree.XMLSyntaxError, LookupError, ValueError, FormatError) as error:
            self._fault = said(error)
            self._ended.clear()  # they are in what is kept as the rest
            return None

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            last = self._path[-1]
            tag = f"{{*}}{last}" if ":" not in last and last != "*" else None
            self._parser = etree.XMLPullParser(("end",), tag=tag, **self._xml.settings(self._meta, data[:4]))
        self._parser.feed(data)
        for _event, element in self._parser.read_events():
            if self._is_record(element):
                if not self._ended and has_dtd(element):
                    raise FormatError(_DTD)
                self._ended.append(element)

    def _close(self) -> Element | None:
        """End the document; None when there never was a byte of it."""
        if self._parser is None:
            return None
        root: Element = self._parser.close()
        if has_dtd(root):
            raise FormatError(_DTD)
        return root

    def _is_record(self, element: Element) -> bool:
        at: Element | None = element
        for step in reversed(self._path):
            if at is None or step not in {"*", self._name(at, at.tag)}:
                return False
            at = at.getparent()
        return at is None

    def _cut(self) -> bytes:
        opening, closing = skeleton(self._ended[0])
        body = b"".join([codecs.BOM_UTF8, opening, *map(written, self._ended), closing])
        at = self._ended[0].getroottree().getroot()
        for _level in self._path[1:]:
            del at[:-1]
            at = at[-1] if len(at) else at
        if at is self._ended[-1]:  # its end is known, what follows it is not: it stays until its next sibling is there
            at.clear()
            self._spent = at
        else:
            self._spent = None
        self._is_cut = True
        self._ended.clear()
        self._raw.clear()
        self._size = 0
        return body


def steps(records: str) -> tuple[str, ...]:
    """Split the path of record elements: `a/b/c` or `a.b.c`."""
    if "/" in records:
        return tuple(step for step in records.split("/") if step)
    return tuple(map(str, parse_path(records)))


def _is_known(encoding: str) -> bool:
    """Whether libxml2 knows an encoding that Python knows."""
    try:
        etree.XMLParser(encoding=codecs.lookup(encoding).name)
    except LookupError:
        return False
    return True


@lru_cache(maxsize=1)
def _elements(form: Xml, body: bytes, content_type: str | None, records: str | None) -> list[Element]:
    """Give the records; kept for one message, so that one of many bad records is not parsed for each."""
    root = form.root(Message(body, 0.0, meta={"content_type": content_type} if content_type else None))
    return [root] if records is None else _found(root, records, form.namer())


def _found(root: Element, records: str, name: Namer) -> list[Element]:
    """Follow the path of records.

    Raises:
        FormatError: an element on the way to them is not there, while others are.
    """
    first, *others = steps(records)
    if first not in {"*", name(root, root.tag)}:
        raise FormatError(f"`records: {records}` leads nowhere: the root is <{name(root, root.tag)}>, not <{first}>")
    level = [root]
    for number, step in enumerate(others):
        children = [child for element in level for child in element]
        level = [child for child in children if step in {"*", name(child, child.tag)}]
        if not level and children and number < len(others) - 1:
            there = ", ".join(f"<{tag}>" for tag in sorted({name(child, child.tag) for child in children})[:8])
            raise FormatError(f"`records: {records}` leads nowhere: there is no <{step}>; there are {there}")
    return level
