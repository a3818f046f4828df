import pytest

from service.config.load import loads
from service.errors import ConfigError, Problem

TEXT = """\
tables:
  goals: {{{table}, columns: {{id: text, source: text, at: timestamp, n: {{type: integer, null: true}}{columns}}}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      all: {{kind: rest, into: goals, map: {{id: id, source: {source}, at: at{mapped}}}{feed}}}
      {more}
"""
OTHER = "other: {{kind: rest, into: goals, map: {{id: id, source: {}, at: at}}}}"
KEYED = "key: [source, id]"


def problems(
    table: str = KEYED, feed: str = "", columns: str = "", more: str = "", source: str = "$feed", mapped: str = ""
) -> list[Problem]:
    text = TEXT.format(table=table, feed=feed, columns=columns, more=more, source=source, mapped=mapped)
    try:
        loads(text, "config.yaml", {})
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    "table",
    [
        "key: id, mode: upsert",
        "mode: append",
        "mode: append, key: id",
        "key: id, mode: update, version: n",
        "key: id, version: at, history: true",
    ],
)
def test_modes_that_fit_are_fine(table: str) -> None:
    assert problems(table) == []


@pytest.mark.parametrize(
    ("table", "columns", "found"),
    [
        ("mode: upsert", "", ("missing-key", "key")),
        ("mode: update", "", ("missing-key", "key")),
        ("key: []", "", ("missing-key", "key")),
        ("mode: append, version: at", "", ("option-of-other-mode", "version")),
        ("key: id, mode: insert", "", ("wrong-value", "mode")),
        ("key: id, history: true", "", ("history-without-moments", "history")),
        ("key: id, version: n, history: true", "", ("history-without-moments", "history")),
        ("key: id, version: at, history: true, mode: update", "", ("option-of-other-mode", "history")),
        ("key: id, version: at, history: true", ", valid_to: date", ("taken-name", "history")),
    ],
)
def test_modes_that_do_not_fit_their_table_are_named(table: str, columns: str, found: tuple[str, str]) -> None:
    first = problems(table, columns=columns, mapped=", valid_to: x" if columns else "")[0]
    assert (first.code, first.path) == (found[0], f"tables.goals.{found[1]}")


def test_the_name_of_a_history_must_be_free() -> None:
    text = TEXT.format(table="key: id, version: at, history: true", feed="", columns="", more="", source="s", mapped="")
    text = text.replace("tables:\n", "tables:\n  goals_history: {key: id, columns: {id: text}}\n")
    with pytest.raises(ConfigError, match="goals_history, which is configured already"):
        loads(text, "config.yaml", {})


def test_an_expression_that_is_no_cel_is_named() -> None:
    assert [problem.code for problem in problems(feed=", delete_when: 'status ='")] == ["wrong-expression"]


@pytest.mark.parametrize("option", ["delete_when: n == 1", "absent: delete"])
def test_an_append_table_has_no_deletions(option: str) -> None:
    assert [problem.code for problem in problems("mode: append", f", {option}")] == ["option-of-other-mode"]


def test_absent_needs_a_feed_that_sends_full_sets() -> None:
    incremental = ", absent: delete, incremental: {field: at, param: since}"
    assert "`incremental` asks only for what changed" in problems(feed=incremental)[0].message
    heard = "heard: {kind: websocket, url: 'wss://a.example', into: goals, map: {id: i, at: a}, absent: mark}"
    assert any("always sends the full set" in problem.message for problem in problems(more=heard))


def test_a_feed_that_is_alone_in_its_table_needs_no_constants() -> None:
    assert problems(feed=", absent: delete", source="s") == []


@pytest.mark.parametrize(
    ("mine", "theirs", "apart"),
    [
        ("$feed", "$feed", True),
        ("$provider", "$provider", False),
        ("{const: a}", "{const: b}", True),
        ("{const: a}", "{const: a}", False),
        ("{const: acme}", "$provider", False),
        ("$feed", "s", False),
        ("s", "$feed", False),
    ],
)
def test_feeds_of_one_table_must_be_told_apart_by_constants_in_the_key(mine: str, theirs: str, apart: bool) -> None:
    found = problems(feed=", absent: delete", source=mine, more=OTHER.format(theirs))
    assert [problem.code for problem in found] == ([] if apart else ["shared-rows"])
    assert apart or found[0].path == "providers.acme.feeds.all.absent"


def test_constants_outside_the_key_do_not_tell_feeds_apart() -> None:
    found = problems("key: id", ", absent: delete", more=OTHER.format("$feed"))
    assert [problem.code for problem in found] == ["shared-rows"]


@pytest.mark.parametrize("feed", [", absent: [delete]", ", absent: {a: b}", ", delete_when: [1]"])
@pytest.mark.parametrize("table", ["key: [[id]]", "key: {a: b}", "key: 7, history: true, version: [at]", "mode: [a]"])
def test_what_has_quite_the_wrong_shape_is_reported_not_stumbled_over(feed: str, table: str) -> None:
    assert problems(table, feed)


def test_marks_need_their_column() -> None:
    (found,) = problems(feed=", absent: mark")
    assert "add `absent_since: {type: timestamp, null: true}` to tables.goals.columns" in found.message
    column = ", absent_since: {type: timestamp, null: true}"
    assert problems(feed=", absent: mark", columns=column) == []
    mapped = problems(feed=", absent: mark", columns=column, mapped=", absent_since: a")
    assert [problem.code for problem in mapped] == ["no-place-for-mark"]


LIVE = "live: {{kind: websocket, url: wss://a.example, into: goals, map: {{id: id, source: $feed, at: at}}, {}}}"


@pytest.mark.parametrize("option", ["when_full: conflate", "connections: 2"])
def test_what_drops_or_repeats_records_does_not_go_with_a_table_that_keeps_each(option: str) -> None:
    assert problems(more=LIVE.format(option)) == []
    (found,) = problems("mode: append", more=LIVE.format(option))
    assert (found.code, found.path) == ("option-of-other-mode", f"providers.acme.feeds.live.{option.partition(':')[0]}")


def test_conflation_does_not_go_with_a_history_nor_with_a_feed_that_can_be_asked_later() -> None:
    (found,) = problems(f"{KEYED}, history: true, version: at", more=LIVE.format("when_full: conflate"))
    assert found.path == "providers.acme.feeds.live.when_full"
    (found,) = problems(feed=", when_full: conflate")
    assert "this one is simply asked later" in found.message


def test_unsubscribe_needs_to_know_what_is_stale() -> None:
    subscriptions = "subscriptions: [{send: a, unsubscribe: b}]"
    (found,) = problems(more=LIVE.format(subscriptions))
    assert "set `freshness`" in found.message
    assert problems(more=LIVE.format(f"{subscriptions}, freshness: 30s")) == []


@pytest.mark.parametrize(
    ("table", "feed", "more", "codes"),
    [
        (KEYED, ", dedupe: 10m", "", []),
        (KEYED, ", dedupe: 10m", OTHER.format("{const: x}"), []),
        (KEYED, ", dedupe: 100", OTHER.format("$feed"), []),
        (KEYED, ", dedupe: 100", OTHER.format("s"), ["shared-rows"]),
        ("mode: append", ", dedupe: 10m", "", ["option-of-other-mode"]),
        ("key: id, mode: update", ", dedupe: 10m", "", ["option-of-other-mode"]),
        (KEYED, ", dedupe: 10m, absent: delete", "", ["option-of-other-mode"]),
        (KEYED, ", dedupe: 10 rows", "", ["wrong-value"]),
    ],
)
def test_repeats_are_left_out_only_where_nothing_else_changes_the_rows(
    table: str, feed: str, more: str, codes: list[str]
) -> None:
    found = problems(table, feed, more=more)
    assert [problem.code for problem in found] == codes
    assert all(problem.path.endswith("dedupe") for problem in found)


ROUTES = """\
tables:
  goals: {{key: [source, id], columns: {{id: text, source: text}}}}
  log: {{mode: append, columns: {{id: text}}}}
providers:
  acme:
    url: https://acme.example
    feeds:
      full: {{kind: rest, path: /, into: goals, absent: delete, map: {{id: id, source: {{const: full}}}}}}
      mixed: {{kind: rest, path: /, {feed}}}
"""


def routed(feed: str) -> list[str]:
    try:
        found = loads(ROUTES.format(feed=feed), "config.yaml", {})
    except ConfigError as error:
        return [f"{problem.path} {problem.code}" for problem in error.problems]
    return sorted(found.deletable())


def test_routes_are_looked_at_like_feeds() -> None:
    goals, log = "into: goals, map: {id: id, source: $feed}", "into: log, map: {id: id}"
    deleting = "delete_when: gone == true"
    assert routed(f"routes: [{{where: a == 1, {goals}}}, {{{log}}}]") == []
    assert routed(f"routes: [{{where: a == 1, {log}}}, {{{goals}, {deleting}}}]") == ["goals"]
    assert routed(f"routes: [{{{log}, {deleting}}}]") == [
        "providers.acme.feeds.mixed.routes[0].delete_when option-of-other-mode"
    ]
    assert routed("routes: [{into: goals, map: {id: id, source: s}}]") == [
        "providers.acme.feeds.full.absent shared-rows"
    ]


@pytest.mark.parametrize(
    "feed",
    [
        "routes: [{into: log, map: {id: id}}], into: log",
        "routes: [{into: log, map: {id: id}}], map: {id: id}",
        "routes: [{into: log, map: {id: id}}], delete_when: a == 1",
        "routes: []",
        "into: log",
    ],
)
def test_a_feed_has_either_a_table_or_routes(feed: str) -> None:
    assert routed(feed) == ["providers.acme.feeds.mixed wrong-value"]


def test_only_a_function_of_the_users_own_may_go_without_a_map() -> None:
    assert routed("into: log, transform: 'json:dumps'") == []


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("key: id, version: at", []),
        ("key: id, mode: update", []),
        ("mode: append", ["providers.acme.feeds.all.partial"]),
        ("key: id, version: at, history: true", ["providers.acme.feeds.all.partial"]),
    ],
)
def test_deltas_need_a_table_that_keeps_one_version_of_a_row(table: str, found: list[str]) -> None:
    assert [problem.path for problem in problems(table, ", partial: true")] == found


def test_deltas_need_a_table_that_a_query_can_compare() -> None:
    columns = "".join(f", c{number}: {{type: integer, null: true}}" for number in range(500))
    assert [problem.path for problem in problems("key: id", ", partial: true", columns)] == [
        "providers.acme.feeds.all.partial"
    ]
    assert problems("key: id", "", columns) == []


def test_a_route_may_be_partial_by_itself() -> None:
    route = "{{into: goals, partial: {}, map: {{id: i}}, where: a == 1}}"
    routes = ", ".join(route.format(flag) for flag in ("true", "false"))
    found = problems("key: id", more=f"more: {{kind: rest, routes: [{routes}]}}")
    missing = "providers.acme.feeds.more.routes[1].map."
    assert {problem.path for problem in found} == {f"{missing}source", f"{missing}at"}
    beside = problems("key: id", more=f"more: {{kind: rest, partial: true, routes: [{routes}]}}")
    assert any("with `routes`, `partial` has no place beside them" in problem.message for problem in beside)


def test_only_deltas_wait_for_rows() -> None:
    assert problems(feed=", partial: true, wait_for_row: 2m") == []
    found = problems(feed=", wait_for_row: 2m")
    assert ["`wait_for_row` belongs to a feed, or a route, with `partial: true`" in each.message for each in found] == [
        True
    ]
