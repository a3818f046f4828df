from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.config.changes import Changes, compare
from service.config.load import load, loads
from service.config.settings import Config
from service.errors import ConfigError
from tests.daemon import CONFIG

Edit = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    match = {"id": "id", "v": "v"}
    poll: dict[str, Any] = {"kind": "rest", "every": "1s", "into": "matches", "map": match}
    return {
        "database": {"url": "postgresql://me:${DB:-pw}@host/db", "pool": 4},
        "http": {"token": "${TOKEN:-}"},
        "tables": {
            "matches": {"key": "id", "version": "v", "columns": {"id": "text", "v": "integer"}},
            "teams": {"key": "id", "columns": {"id": "text", "v": "integer"}},
        },
        "providers": {
            "acme": {
                "url": "https://acme.example",
                "auth": {"kind": "header", "name": "X-Key", "value": "${KEY:-first}"},
                "feeds": {
                    "list": {**poll, "path": "/list"},
                    "live": {
                        "kind": "websocket",
                        "url": "wss://live.example",
                        "into": "matches",
                        "map": match,
                        "on_gap": {"refetch": "list"},
                    },
                    "teams": {**poll, "path": "/teams", "into": "teams"},
                    "each": {**poll, "path": "/of/{id}", "for_each": {"feed": "teams"}},
                },
            },
            "other": {"url": "https://other.example", "feeds": {"list": {**poll, "path": "/x", "into": "teams"}}},
        },
    }


ALL = {"acme.list", "acme.live", "acme.teams", "acme.each", "other.list"}


def read(edit: Edit = lambda _: None, **environ: str) -> Config:
    made = orjson.loads(orjson.dumps(document()))  # no part is shared
    edit(made)
    return loads(orjson.dumps(made).decode(), "config.yaml", environ)


def at(path: str, value: Any) -> Edit:
    """Put a value where a dotted path leads; None takes away what is there."""

    def edit(made: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        for step in steps:
            made = made.setdefault(step, {})
        if value is None:
            del made[last]
        else:
            made[last] = value

    return edit


def test_the_same_is_no_change() -> None:
    changes = compare(read(), read())
    assert not changes
    assert set(changes.unchanged) == ALL


def test_the_example_read_twice_is_no_change() -> None:
    environ = {"ACME_TOKEN": "t", "HEADRACE_TOKEN": "h"}
    assert not compare(load(CONFIG, environ), load(CONFIG, environ))


@pytest.mark.parametrize(
    ("edit", "restarted"),
    [
        (at("providers.other.feeds.list.path", "/y"), {"other.list"}),
        (at("providers.other.feeds.list.map.v", {"const": 1}), {"other.list"}),
        (at("providers.other.timeout", "5s"), {"other.list"}),
        (at("providers.acme.rate_limit", "5/s"), ALL - {"other.list"}),
        (at("providers.acme.feeds.live.weight", 3), ALL - {"other.list"}),  # the budget has room for the heaviest
        (at("batch.max_rows", 10), ALL),
        # Who names a feed goes with it.
        (at("providers.acme.feeds.list.every", "2s"), {"acme.list", "acme.live"}),
        (at("providers.acme.feeds.teams.every", "2s"), {"acme.teams", "acme.each"}),
        (at("providers.acme.feeds.live.idle_timeout", "9s"), {"acme.live"}),
        # A table is of all that write it, and call for it.
        (at("tables.matches.columns.n", {"type": "text", "null": True}), {"acme.list", "acme.live", "acme.each"}),
        (at("tables.teams.on_invalid", "drop"), {"acme.teams", "acme.each", "other.list"}),
        (at("providers.other.feeds.list.delete_when", "gone"), {"acme.teams", "acme.each", "other.list"}),
        (at("shutdown_timeout", "1s"), set()),
    ],
)
def test_only_what_a_change_concerns_restarts(edit: Edit, restarted: set[str]) -> None:
    changes = compare(read(), read(edit))
    assert set(changes.restarted) == restarted
    assert set(changes.unchanged) == ALL - restarted
    assert (changes.started, changes.stopped) == ((), ())


def test_a_table_that_a_feed_calls_for_is_one_of_its_own() -> None:
    def calls(made: dict[str, Any]) -> None:
        made["providers"]["acme"]["feeds"]["each"]["for_each"] = {"table": "teams"}

    def changed(made: dict[str, Any]) -> None:
        calls(made)
        made["tables"]["teams"]["on_invalid"] = "drop"

    assert set(compare(read(calls), read(changed)).restarted) == {"acme.teams", "acme.each", "other.list"}


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ("1", 1)])
def test_values_that_python_calls_equal_are_not_the_same(old: Any, new: Any) -> None:
    where = "providers.other.feeds.list.params"
    changes = compare(read(at(where, {"n": old})), read(at(where, {"n": new})))
    assert changes.restarted == ("other.list",)


def test_an_explicit_null_is_not_the_same_as_none_at_all() -> None:
    origin = {"from": "v", "values": {"a": 1}}
    where = "providers.other.feeds.list.map.v"
    changes = compare(read(at(where, origin)), read(at(where, {**origin, "otherwise": None})))
    assert changes.restarted == ("other.list",)


def test_a_secret_that_was_renewed_restarts_its_provider(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    edit = at("providers.acme.auth.value", f"${{file:{secret}}}")
    secret.write_text("before")
    old = read(edit)
    assert not compare(old, read(edit))
    secret.write_text("after")
    assert set(compare(old, read(edit)).restarted) == ALL - {"other.list"}


def test_what_a_signature_remembers_is_no_change() -> None:
    recipe = {"kind": "hmac", "secret": "k", "message": "{nonce}", "headers": {"X-S": "{signature}"}}
    old, new = (read(at("providers.other.auth", recipe)) for _ in range(2))
    old.providers["other"].auth._last = 7  # type: ignore[union-attr]  # what it signed last
    assert not compare(old, new)


def test_feeds_and_providers_come_and_go() -> None:
    def edit(made: dict[str, Any]) -> None:
        providers = made["providers"]
        providers["third"] = {"url": "https://third.example", "feeds": {"list": providers["other"]["feeds"]["list"]}}
        providers["acme"]["feeds"]["more"] = providers["acme"]["feeds"]["list"]
        del providers["other"]

    changes = compare(read(), read(edit))
    started, unchanged = ("acme.more", "third.list"), ("acme.list", "acme.live", "acme.teams", "acme.each")
    assert changes == Changes(started, ("other.list",), (), unchanged, frozenset({"third"}), has_tables=False)


def test_a_table_that_nobody_writes_is_a_change_too() -> None:
    changes = compare(read(), read(at("tables.more", {"key": "id", "columns": {"id": "text"}})))
    assert changes.has_tables
    assert changes
    assert set(changes.unchanged) == ALL


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (at("database.pool", 5), "database.pool"),
        (at("database.schema", "other"), "database.schema"),
        (at("buffer.kind", "memory"), "buffer.kind"),
        (at("http.port", 1), "http.port"),
        (at("log.level", "debug"), "log.level"),
        (at("secrets", "elsewhere"), "secrets"),
    ],
)
def test_what_needs_a_restart_is_named_by_its_key(edit: Edit, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compare(read(), read(edit), "config.yaml")
    (problem,) = refused.value.problems
    assert (problem.path, problem.code, problem.file) == (key, "needs-restart", "config.yaml")


def test_every_key_that_needs_a_restart_is_named_and_no_secret_is_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        compare(read(), read(at("log.level", "debug"), DB="hunter2", TOKEN="t0ps3cret"))
    assert [problem.path for problem in refused.value.problems] == ["database.url", "http.token", "log.level"]
    assert "hunter2" not in str(refused.value)
    assert "t0ps3cret" not in str(refused.value)
