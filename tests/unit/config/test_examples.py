"""Every YAML example of the documentation is one that Headrace accepts."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from service.config.load import loads
from service.workbench.cases import read_cases

ROOT = Path(__file__).parents[3]
PAGES = ["README.md", "docs/commands.md", "docs/configuration.md"]
TABLES: dict[str, Any] = {
    "matches": {
        "key": ["provider", "match_id"],
        "version": "updated_at",
        "columns": {"provider": "text", "match_id": "text", "updated_at": "timestamp"}
        | {name: {"type": "text", "null": True} for name in ("home", "away", "status", "home_score", "away_score")},
    },
    "players": {"key": ["club", "id"], "columns": {"club": "text", "id": "text", "name": "text"}},
    "goals": {"key": "id", "columns": {"id": "text", "minute": "integer"}},
    "cards": {"key": "id", "version": "at", "columns": {"id": "text", "at": "timestamp"}},
    "events": {"key": ["match_id", "seq"], "columns": {"match_id": "text", "seq": "integer", "what": "text"}},
}
MATCH = sa.Table(
    "matches",
    sa.MetaData(),
    sa.Column("match_id", sa.Text, primary_key=True),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)
MAP = {"provider": {"const": "acme"}, "match_id": "id", "updated_at": "ts"}


def examples() -> Iterator[Any]:
    for page in PAGES:
        text = (ROOT / page).read_text()
        for block in re.finditer(r"```yaml\n(.*?)```", text, re.DOTALL):
            line = text[: block.start()].count("\n") + 1
            # What stands for several under one comment each is several examples.
            for part in re.split(r"^(?=# \w+$)", block[1], flags=re.MULTILINE):
                if part.strip():
                    yield pytest.param(part, id=f"{page}:{line}")


def whole(example: Any) -> dict[str, Any]:
    """Put an example where it belongs in a configuration, with what it speaks of around it."""
    plain = {"kind": "rest", "path": "/x", "into": "players", "map": {"club": "club", "id": "id", "name": "name"}}
    provider: dict[str, Any] = {"url": "https://acme.example", "feeds": {"plain": plain}}
    if "tables" in example or "providers" in example:
        return {"tables": TABLES | example.get("tables", {}), "providers": example.get("providers", {"acme": provider})}
    if "feeds" in example:
        provider["feeds"] = example["feeds"]
    elif keys := example.keys() & {"auth", "errors"}:
        provider |= {key: example[key] for key in keys}
    elif "range" in example:
        provider["feeds"] = {"x": plain | example}
    elif all("header" in value for value in example.values()):
        hook = {"kind": "webhook", "into": "matches", "map": MAP}
        provider["feeds"] = {name: hook | {"signature": value} for name, value in example.items()}
    else:
        provider["feeds"] = example
    for feed in provider["feeds"].values():
        if feed.get("kind") == "websocket":
            feed.setdefault("url", "wss://live.acme.example/stream")
        if feed.get("map") == {"...": None}:
            feed["map"] = MAP
        if "routes" not in feed:
            feed.setdefault("into", "matches")
            feed.setdefault("map", MAP)
    return {"tables": TABLES, "providers": {"acme": provider}}


@pytest.mark.parametrize("example", list(examples()))
def test_an_example_of_the_documentation_is_accepted(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, attribute, value in (("", "x", 0), (".books", "levels", list), (".models", "Match", MATCH)):
        module = ModuleType(f"my_package{name}")
        setattr(module, attribute, value)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    document = yaml.safe_load(example)
    if "cases" in document:
        (tmp_path / "cases.yaml").write_text(example)
        assert read_cases(tmp_path / "cases.yaml")
        return
    text = yaml.safe_dump(whole(document), sort_keys=False)
    assert loads(text, "example.yaml", dict.fromkeys(re.findall(r"\$\{(\w+)", text), "c2VjcmV0")).tables


def test_there_are_examples() -> None:
    assert len(list(examples())) > 12
