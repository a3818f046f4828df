"""What `check` says of `for_each`: whatever does not lead anywhere, with its place."""

import pytest

from service.config.load import loads
from service.errors import ConfigError

TEXT = """\
tables:
  matches:
    key: [provider, match_id]
    columns: {{provider: text, match_id: text, n: integer, tags: {{type: text, list: true}}, extra: json}}
  events: {{key: [match_id, id], columns: {{match_id: text, id: text, league: {{type: text, null: true}}}}}}
providers:
  acme:
    url: https://acme.example/v4
    feeds:
      fixtures:
        {{kind: rest, into: matches, map: {{provider: {{const: acme}}, match_id: id, n: n, tags: t, extra: $record}}}}
      both: {{kind: rest, routes: [{{into: events, map: {{match_id: m, id: i}}}}]}}
      events:
        kind: rest
        for_each: {each}
        {request}
        into: events
        map: {{match_id: $params.match_id, id: id}}
"""
PATH = 'path: "/matches/{match_id}/events"'


def problems(each: str, request: str = PATH) -> list[tuple[str, str, int, str | None]]:
    """Give code, path, line and suggestion of each problem."""
    try:
        loads(TEXT.format(each=each, request=request), "config.yaml", {})
    except ConfigError as error:
        feed = "providers.acme.feeds.events."
        return [(each.code, each.path.removeprefix(feed), each.line, each.suggestion) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("each", "request_"),
    [
        ("{table: matches}", PATH),
        ('{table: matches, where: "n > 3"}', PATH),
        ("{feed: fixtures}", PATH),
        ("{feed: acme.fixtures, columns: [match_id]}", PATH),
        ("{table: matches, columns: {match_id: match_id, number: n}}", 'path: "/{match_id}", params: {n: "{number}"}'),
        ("{table: matches, columns: {match_id: match_id, id: n}}", 'path: "/{id}"'),
        ('{sql: "select match_id from matches"}', PATH),
        ('{sql: "select m.* from matches m"}', PATH),
        ('{sql: "values (1)"}', 'path: "/{column1}"'),
        ('{sql: "select ID AS Match_Id from x"}', PATH),
        ("{table: matches}", 'method: POST, body: {query: "{ a }", variables: {id: ["{match_id}"]}}'),
        ("{table: matches}", 'url: "https://acme.example/{match_id}"'),
        ("{table: matches}", 'headers: {X-Match: "{match_id}"}'),
    ],
)
def test_what_leads_somewhere_is_fine(each: str, request_: str) -> None:
    request_ = request_.replace(", params", "\n        params").replace(", body", "\n        body")
    assert problems(each, request_) == []


@pytest.mark.parametrize(
    ("each", "request_", "found"),
    [
        ("{table: match}", PATH, ("unknown-table", "for_each.table", 15, "matches")),
        ("{feed: fixture}", PATH, ("unknown-feed", "for_each.feed", 15, "fixtures")),
        ("{feed: both}", PATH, ("unknown-feed", "for_each.feed", 15, None)),
        ("{table: matches}", 'path: "/{matchid}"', ("unknown-column", "path", 16, "match_id")),
        ("{table: matches}", 'path: "/{tags}"', ("misfit", "path", 16, None)),
        ("{table: matches}", 'path: "/{extra}"', ("misfit", "path", 16, None)),
        ("{table: matches}", 'params: {m: "{id}"}', ("unknown-column", "params.m", 16, None)),
        ("{table: matches}", 'body: {a: [1, "{id}"]}', ("unknown-column", "body.a[1]", 16, None)),
        ("{table: matches, columns: [match_id, m]}", PATH, ("unused-name", "for_each.columns[1]", 15, None)),
        ("{table: matches, columns: {match_id: id}}", PATH, ("unknown-column", "for_each.columns.match_id", 15, None)),
        ("{table: matches, columns: {match_id: extra}}", PATH, ("misfit", "for_each.columns.match_id", 15, None)),
        ("{table: matches, columns: {match: match_id}}", PATH, ("unknown-name", "path", 16, "match")),
        ("{table: matches}", "path: /matches", ("unused-rows", "for_each", 15, None)),
        ("{table: matches}", 'url: "https://{match_id}.acme.example/x"', ("wrong-place", "url", 16, None)),
        ("{table: matches}", 'url: "https://acme.example:{n}"', ("wrong-place", "url", 16, None)),
        ('{sql: "select id from matches"}', PATH, ("unknown-name", "path", 16, None)),
        ("{table: matches, colums: [x]}", PATH, ("unknown-key", "for_each.colums", 15, "columns")),
        ("{}", PATH, ("wrong-value", "for_each", 15, None)),
    ],
)
def test_what_leads_nowhere_is_told_with_its_place(
    each: str, request_: str, found: tuple[str, str, int, str | None]
) -> None:
    assert found in problems(each, request_)


def test_a_value_that_nobody_asked_for_is_told_once_however_often_it_is_missing() -> None:
    request = 'path: "/{a}/{a}"\n        params: {a: "{a}"}'
    assert [(code, path) for code, path, *_ in problems("{table: matches}", request)] == [
        ("unknown-column", "path"),
        ("unknown-column", "params.a"),
    ]
