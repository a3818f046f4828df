import pytest

from service.config.document import parse
from service.config.expressions import MAX_EXPRESSION, check_expression
from service.config.feedcheck import check_feeds
from service.config.report import Report

TABLES = """\
tables:
  goals:
    key: [id]
    columns:
      id: text
      minute: {type: integer, min: 0, max: 130}
      at: {type: timestamp, format: epoch_s}
      note: {type: text, null: true}
      side: {type: text, default: home, values: [home, away]}
      tags: {type: text, list: true, null: true}
"""
MAPPED = "id: id, minute: m, at: t"


def check(feed: str, provider: str = "url: https://acme.example", tables: str = TABLES) -> list[tuple[str, str]]:
    text = f"{tables}providers: {{p: {{{provider}, feeds: {{f: {{{feed}}}, other: {{kind: rest}}}}}}}}"
    document = parse(text)
    report = Report("config.yaml", document)
    check_feeds(document.data, report)
    return [(problem.code, problem.path.removeprefix("providers.p.feeds.f.")) for problem in report.problems()]


def check_map(entries: str) -> list[tuple[str, str]]:
    return [(code, path.removeprefix("map.")) for code, path in check(f"kind: rest, into: goals, map: {{{entries}}}")]


def test_columns_that_may_be_null_or_have_a_default_need_no_mapping() -> None:
    assert check_map(MAPPED) == []


def test_every_other_column_does() -> None:
    assert check_map("id: id") == [("unmapped-column", "at"), ("unmapped-column", "minute")]


def test_a_partial_feed_needs_only_the_key_and_the_version() -> None:
    assert check("kind: rest, partial: true, into: goals, map: {id: id}") == []
    assert check("kind: rest, partial: true, into: goals, map: {minute: m}") == [("unmapped-column", "map.id")]
    versioned = TABLES.replace("key: [id]", "key: [id]\n    version: at")
    assert check("kind: rest, partial: true, into: goals, map: {id: id}", tables=versioned) == [
        ("unmapped-column", "map.at")
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("sid: x", ("unknown-column", "sid")),
        ("note: a..b", ("wrong-path", "note")),
        ("note: {from: a..b}", ("wrong-path", "note.from")),
        ("note: {from: [a, 'b[']}", ("wrong-path", "note.from[1]")),
        ("note: $nothing", ("wrong-path", "note")),
        ("side: {const: left}", ("misfit", "side.const")),
        ("side: {from: s, values: {h: hom}}", ("misfit", "side.values.h")),
        ("side: {from: s, values: {h: home}, otherwise: both}", ("misfit", "side.otherwise")),
        ("side: {from: s, default: none}", ("misfit", "side.default")),
        ("tags: {const: one}", ("misfit", "tags.const")),
    ],
)
def test_each_mistake_of_a_map_is_reported(entry: str, problem: tuple[str, str]) -> None:
    assert check_map(f"{MAPPED}, {entry}") == [problem]


@pytest.mark.parametrize("minute", ["{const: 131}", "{const: x}", "{from: m, default: -1}"])
def test_a_constant_satisfies_its_column(minute: str) -> None:
    ((code, _path),) = check_map(f"id: id, at: t, minute: {minute}")
    assert code == "misfit"


def test_a_moment_in_the_columns_own_format_is_left_alone() -> None:
    assert check_map("id: id, minute: m, at: {const: 1767225600}") == []


def test_the_table_must_exist() -> None:
    assert check("kind: rest, into: goal, map: {a: b}") == [("unknown-table", "into")]


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        ("a == 'b' && size(c) > 2", []),
        ("a ==", ["wrong-expression"]),
        ("", ["wrong-expression"]),
        ("1 + 1", ["wrong-expression"]),
        ("'text'", ["wrong-expression"]),
        ("1 / 0 == 1", ["wrong-expression"]),
        ("1 < 2", []),
        ("true", []),
        ("a.startWith('b')", ["wrong-expression"]),
        ("a.exists(x, x.startsWith('b')) && timestamp(b).getHours() < 3 && -c[0] in [1, 2]", []),
        ("a" * (MAX_EXPRESSION + 1), ["wrong-expression"]),
    ],
)
def test_where_is_cel(where: str, codes: list[str]) -> None:
    found = check(f'kind: rest, into: goals, where: "{where}", map: {{{MAPPED}}}')
    assert [code for code, _path in found] == codes


def test_of_an_expression_in_several_lines_the_line_is_told() -> None:
    report = Report("config.yaml", parse("where: x"))
    check_expression(("where",), "a == 1 &&\nb === 2", report)
    assert "at line 2, character 5, " in report.problems()[0].message


def test_records_lie_in_the_message() -> None:
    feed = f"kind: rest, into: goals, map: {{{MAPPED}}}"
    assert check(f"{feed}, records: 'data[0].goals'") == []
    assert check(f"{feed}, records: data.") == [("wrong-path", "records")]
    assert check(f"{feed}, records: $record") == [("wrong-path", "records")]


@pytest.mark.parametrize(
    ("provider", "feed", "is_missing"),
    [
        ("url: https://acme.example", "kind: rest", False),
        ("headers: {}", "kind: rest", True),
        ("headers: {}", "kind: rest, url: https://acme.example", False),
        ("headers: {}", "kind: rest, path: https://acme.example/x", False),
        ("url: https://acme.example", "kind: websocket", True),
        ("url: wss://acme.example", "kind: websocket", False),
        ("url: wss://acme.example", "kind: rest", True),
        ("headers: {}", "kind: file, path: x.json", False),
    ],
)
def test_a_feed_needs_an_address_that_it_can_speak_to(provider: str, feed: str, is_missing: bool) -> None:
    found = check(f"{feed}, into: goals, map: {{{MAPPED}}}", provider)
    assert (("missing-address", "url") in found) is is_missing


@pytest.mark.parametrize(("name", "codes"), [("other", []), ("othr", ["unknown-feed"]), ("f", ["unknown-feed"])])
def test_a_gap_is_refetched_by_a_rest_feed_of_the_same_provider(name: str, codes: list[str]) -> None:
    feed = f"kind: websocket, url: 'wss://a.b', into: goals, map: {{{MAPPED}}}"
    found = check(f"{feed}, sequence: {{field: s, on_gap: {{refetch: {name}}}}}")
    assert [code for code, path in found if path.endswith("refetch")] == codes


@pytest.mark.parametrize("document", ["[]", "providers: 3", "providers: {p: 3}", "providers: {p: {feeds: {f: [1]}}}"])
def test_what_has_another_shape_is_left_to_the_models(document: str) -> None:
    parsed = parse(document)
    report = Report("config.yaml", parsed)
    check_feeds(parsed.data, report)
    assert report.problems() == []


ROUTE = f"into: goals, map: {{{MAPPED}}}"


@pytest.mark.parametrize(
    ("routes", "problems"),
    [
        (f"{{where: a == 1, {ROUTE}}}, {{{ROUTE}}}", []),
        (f"{{{ROUTE}}}, {{where: a == 1, {ROUTE}}}", [("unreachable-route", "routes[1]")]),
        (f"{{where: a = 1, {ROUTE}}}", [("wrong-expression", "routes[0].where")]),
        (f"{{delete_when: '(a', {ROUTE}}}", [("wrong-expression", "routes[0].delete_when")]),
        ("{into: goal, map: {}}", [("unknown-table", "routes[0].into")]),
        ("{into: goals, map: {id: id}}", [("unmapped-column", "routes[0].map.at")]),
        (f"{{into: goals, map: {{{MAPPED}, note: a..b}}}}", [("wrong-path", "routes[0].map.note")]),
    ],
)
def test_each_route_is_checked(routes: str, problems: list[tuple[str, str]]) -> None:
    found = check(f"kind: rest, routes: [{routes}]")
    assert [problem for problem in found if problem != ("unmapped-column", "routes[0].map.minute")] == problems


@pytest.mark.parametrize(
    ("expression", "codes"),
    [("a + 1", []), ("1 + 1", []), ("a +", ["wrong-expression"]), ("a ? b", ["wrong-expression"])],
)
def test_a_computed_column_is_cel(expression: str, codes: list[str]) -> None:
    assert check_map(f"{MAPPED}, note: {{expr: '{expression}'}}") == [(code, "note.expr") for code in codes]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("json:dumps", []),
        ("json:nothing", ["wrong-function"]),
        ("json:__doc__", ["wrong-function"]),
        ("no_such_package.module:function", ["wrong-function"]),
        ("tests.unit.config.broken_module:function", ["wrong-function"]),
        ("json.dumps", ["wrong-function"]),
        ("os; import sys:x", ["wrong-function"]),
    ],
)
def test_a_function_of_the_users_own_can_be_imported(name: str, codes: list[str]) -> None:
    found = check(f"kind: rest, into: goals, transform: '{name}'")
    assert found == [(code, "transform") for code in codes]
