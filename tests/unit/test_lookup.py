"""Looking up a path in a document."""

import pytest

from service.config.paths import parse_path
from service.lookup import lookup

DOCUMENT = {"a": {"b": [{"c": 1}, {"c": 0}]}, "dotted.name": "x"}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b[0].c", 1), ("a.b[1].c", 0), ('"dotted.name"', "x"), ("a.b[2].c", None), ("a.b.c", None), ("a[0]", None)],
)
def test_a_path_leads_to_a_value_or_nowhere(path: str, value: object) -> None:
    assert lookup(DOCUMENT, parse_path(path)) == value
