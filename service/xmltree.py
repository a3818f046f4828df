"""XML elements: what they are as dicts, lists and texts, how they are named, and how they are written again."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from lxml import etree

Element: TypeAlias = etree._Element  # noqa: SLF001  the library has no other name for it
Namer: TypeAlias = Callable[[Element, str], str]
"""Gives the name of an element, or of one of its attributes, by its tag in the library's notation."""

_HERE = "\uf8ff"
"""Stands in a skeleton where the records go: a character of private use."""


def naming(prefixes: Mapping[str, str]) -> Namer:
    """Give what names by local names, with a prefix where the namespace has one here."""
    by_uri = {uri: prefix for prefix, uri in prefixes.items()}
    known: dict[str, str] = {}

    def name(_element: Element, tag: str) -> str:
        found = known.get(tag)
        if found is None:
            uri, _, local = tag.rpartition("}")
            prefix = by_uri.get(uri[1:])
            found = known[tag] = f"{prefix}:{local}" if prefix else local
        return found

    return name


def prefixed(element: Element, tag: str) -> str:
    """Name a tag or an attribute with the prefix that the document gave it."""
    uri, _, local = tag.rpartition("}")
    if tag == element.tag:
        return f"{element.prefix}:{local}" if element.prefix else local
    prefixes = {"http://www.w3.org/XML/1998/namespace": "xml"}
    prefixes |= {space: prefix for prefix, space in element.nsmap.items() if prefix}
    return f"{prefixes[uri[1:]]}:{local}" if uri else local


def value_of(element: Element, name: Namer) -> Any:
    """Give what an element is: null, text, or a dict."""
    fields: dict[str, Any] = {f"@{name(element, key)}": value for key, value in element.items()}  # type: ignore[arg-type]
    text = element.text or ""
    for child in element:
        key, value = name(child, child.tag), value_of(child, name)
        if child.tail is not None:
            text += child.tail
        if key not in fields:
            fields[key] = value
        elif isinstance(fields[key], list):
            fields[key].append(value)
        else:
            fields[key] = [fields[key], value]
    text = text.strip()
    if not fields:
        return text or None
    if text:
        fields["#text"] = text
    return fields


def has_dtd(element: Element) -> bool:
    """Whether the document of an element declares a document type."""
    return element.getroottree().docinfo.internalDTD is not None


def written(element: Element) -> bytes:
    """Write an element in UTF-8, with the namespaces that it needs and without what follows it."""
    return etree.tostring(element, encoding="utf-8", xml_declaration=False, with_tail=False)


def skeleton(record: Element) -> tuple[bytes, bytes]:
    """Give the tags around a record, opened and closed."""
    inner: Element | None = None
    for outer in _ancestors(record):
        copy = etree.Element(outer.tag, dict(outer.items()), nsmap=outer.nsmap)  # type: ignore[arg-type]
        if inner is None:
            copy.text = _HERE
        else:
            copy.append(inner)
        inner = copy
    if inner is None:
        raise ValueError("a record that is cut has a parent")
    opening, _, closing = written(inner).rpartition(_HERE.encode())
    return opening, closing


def _ancestors(element: Element) -> Iterator[Element]:
    while (parent := element.getparent()) is not None:
        yield parent
        element = parent


def said(error: Exception) -> str:
    """Say what a parser said, without its own name for the document."""
    return re.sub(r" \(<string>, line \d+\)$", "", str(error))
