"""A Singer tap of the least kind: follows the pages and writes SCHEMA, RECORD and STATE messages to standard output.

It decodes and encodes with orjson, and names only the columns that the table has: the target is what is measured.
"""

import re
import sys
from typing import Any
from urllib.request import urlopen

import orjson

from benchmarks.peers.mapping import COLUMNS, row

TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": ["integer", "null"]}, {"type": ["number", "null"]}
MOMENT = {"type": "string", "format": "date-time"}
SCHEMA = dict(
    zip(COLUMNS, [TEXT, TEXT, MOMENT, TEXT, TEXT, TEXT, INTEGER, INTEGER, NUMBER, NUMBER, INTEGER, MOMENT], strict=True)
)


def say(message: dict[str, Any]) -> None:
    """Write one Singer message."""
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")


def main(address: str | None) -> None:
    """Go through all pages."""
    schema = {"type": "object", "properties": SCHEMA}
    say({"type": "SCHEMA", "stream": "matches", "schema": schema, "key_properties": ["provider", "match_id"]})
    while address is not None:
        with urlopen(address) as answer:
            document, link = orjson.loads(answer.read()), answer.headers.get("Link", "")
        for message in document["matches"]:
            say({"type": "RECORD", "stream": "matches", "record": dict(zip(COLUMNS, row(message), strict=True))})
        say({"type": "STATE", "value": {"matches": address}})
        following = re.search(r'<([^>]*)>; rel="next"', link)
        address = following[1] if following else None


main(sys.argv[1])
