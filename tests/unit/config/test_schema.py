import json
import re
from collections.abc import Iterator
from typing import Any

from service.config.schema import schema


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(item)


def definition(name: str) -> dict[str, Any]:
    found = schema()["$defs"][name]
    assert isinstance(found, dict)
    return found


def test_every_reference_leads_somewhere() -> None:
    described = schema()
    references = {node["$ref"] for node in nodes(described) if isinstance(node.get("$ref"), str)}
    assert references
    assert references <= {f"#/$defs/{name}" for name in described["$defs"]}


def test_feeds_are_one_of_the_kinds_that_exist() -> None:
    feeds = definition("Provider")["properties"]["feeds"]
    choices = next(node["oneOf"] for node in nodes(feeds) if "oneOf" in node)
    kinds = {choice["properties"]["kind"]["const"] for choice in choices}
    assert all("kind" in choice["required"] for choice in choices)
    assert {"rest", "websocket"} <= kinds


def test_a_column_may_be_its_type_alone() -> None:
    short, long = definition("Column")["anyOf"]
    assert "timestamp" in json.dumps(short)
    assert "max_length" in long["properties"]
    assert definition("MapValue")["anyOf"][0] == {"type": "string"}


def test_a_variable_may_stand_for_any_scalar() -> None:
    port = definition("Http")["properties"]["port"]
    number, variable = port["anyOf"]
    assert number["type"] == "integer"
    assert re.search(variable["pattern"], "${PORT:-8080}")
    assert not re.search(variable["pattern"], "8080")
    wait = definition("Batch")["properties"]["max_wait"]["pattern"]
    assert re.search(wait, "200ms")
    assert re.search(wait, "${WAIT}")
    assert not re.search(wait, "200")


def test_keys_are_described_and_unknown_ones_refused() -> None:
    http = definition("Http")
    assert http["additionalProperties"] is False
    assert http["properties"]["port"]["description"] == "The port; 0 lets the system choose."


def test_no_masked_default_is_shown() -> None:
    assert "*****" not in json.dumps(schema())
