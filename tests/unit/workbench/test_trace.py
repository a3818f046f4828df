"""Traces of a key in messages: what each record carries of the row."""

import pytest

from service.config.load import loads
from service.model import Message
from service.transform.transform import Transform
from service.workbench.trace import Tracer
from service.workbench.wanted import Finder

CONFIG = """\
tables:
  goals:
    key: id
    version: at
    columns: {{id: text, at: integer, n: {{type: integer, null: true}}, x: {{type: text, default: none}}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      scores: {{kind: rest, partial: true, {more}into: goals, map: {{id: id, at: at, n: n, x: x}}}}
"""


@pytest.mark.parametrize("more", ["", "delete_when: gone == true, "])
async def test_of_a_delta_a_trace_has_the_columns_that_it_carries(more: str) -> None:
    config = loads(CONFIG.format(more=more), "config.yaml", {})
    transform = Transform("acme.scores", config.feeds()["acme.scores"][1], config.tables, config.deletable())
    finder = Finder(transform, "goals", config.tables["goals"], {"id": "a"})
    tracer = Tracer(config, {"acme.scores": finder}, {"acme.scores": transform})
    sent = Message(b'[{"id": "a", "at": 1, "n": null}, {"id": "a", "at": 2, "gone": true}, {"id": "b", "at": 1}]', 1.0)
    first, second = await tracer.in_messages("acme.scores", "file", [sent])
    assert first.row == {"id": "a", "at": 1, "n": None}
    assert (first.deletes, second.deletes) == (False, bool(more))
