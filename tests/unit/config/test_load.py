import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.config.load import load, loads
from service.config.units import Pace
from service.errors import ConfigError, Problem

GOOD = """\
database: {url: "${DATABASE_URL:-embedded}", pool: "${POOL:-4}"}
http: {token: "${HEADRACE_TOKEN:-}"}
tables:
  matches:
    key: [provider, match_id]
    version: updated_at
    columns:
      provider: text
      match_id: text
      kickoff: timestamp
      status: {type: text, values: [scheduled, live]}
      score: {type: integer, min: 0, max: 200, null: true}
      updated_at: timestamp
    indexes: [[kickoff]]
providers:
  acme:
    url: https://api.acme.example/v4
    auth: {kind: header, name: X-Auth-Token, value: "${ACME_TOKEN}"}
    rate_limit: 10/min
    feeds:
      fixtures:
        kind: rest
        path: /matches
        every: 30s
        records: matches
        into: matches
        map:
          provider: {const: acme}
          match_id: id
          kickoff: utcDate
          status: {from: status, values: {TIMED: scheduled, IN_PLAY: live}}
          score: score.home
          updated_at: lastUpdated
      scores:
        kind: websocket
        url: wss://live.acme.example
        where: "type == 'score'"
        into: matches
        map: {provider: $provider, match_id: id, kickoff: k, status: s, score: h, updated_at: ts}
"""
ENVIRON = {"ACME_TOKEN": "tok3n-of-acme"}

WRONG = """\
database: {pool: many}
buffer: {kind: spol}
batch: {max_wait: 5}
http: {port: 8080, token: "${HEADRACE_TOKEN}"}
log: {level: info, level: debug}
tables:
  matches:
    key: [provider, match_ident]
    version: extra
    columns:
      provider: text
      match_id: txt
      kickoff: {type: timestamp, timezone: Europe/Londn}
      score: {type: integer, min: 9, max: 5}
      extra: {type: json, null: true}
providers:
  acme:
    url: https://api.acme.example
    rate_limit: fast
    feeds:
      fixtures:
        kind: rest
        path: /matches
        everi: 30s
        into: match
        where: "status =="
        map:
          provider: {const: acme}
          kickoff: date..utc
      scores:
        kind: websocket
        url: wss://live.acme.example
        into: matches
        map:
          provider: {const: acme}
          kickof: date
          score: {const: 12.5}
      odds: {kind: webscoket}
"""
WRONG_AT = """\
1:18 wrong-type database.pool
2:16 wrong-value buffer.kind -> spool
3:19 wrong-value batch.max_wait
4:27 missing-variable http.token
5:20 duplicate-key log.level
8:21 unknown-column tables.matches.key[1] -> match_id
9:14 unordered-version tables.matches.version
12:17 wrong-value tables.matches.columns.match_id -> text
13:44 unknown-timezone tables.matches.columns.kickoff.timezone -> Europe/London
14:43 empty-range tables.matches.columns.score.max
19:17 wrong-value providers.acme.rate_limit
24:9 unknown-key providers.acme.feeds.fixtures.everi -> every
25:15 unknown-table providers.acme.feeds.fixtures.into -> matches
26:16 wrong-expression providers.acme.feeds.fixtures.where
29:20 wrong-path providers.acme.feeds.fixtures.map.kickoff
34:9 unmapped-column providers.acme.feeds.scores.map.kickoff
36:11 unknown-column providers.acme.feeds.scores.map.kickof -> kickoff
37:26 misfit providers.acme.feeds.scores.map.score.const
38:20 unknown-kind providers.acme.feeds.odds.kind -> websocket
"""


def problems(text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as raised:
        loads(text, "config.yaml", ENVIRON if environ is None else environ)
    return raised.value.problems


def only(text: str, environ: dict[str, str] | None = None) -> Problem:
    (problem,) = problems(text, environ)
    return problem


def test_a_good_configuration_is_read_with_its_variables() -> None:
    config = loads(GOOD, "config.yaml", ENVIRON | {"POOL": "7"})
    assert list(config.feeds()) == ["acme.fixtures", "acme.scores"]
    assert config.database.url.get_secret_value() == "embedded"
    assert config.database.pool == 7
    assert config.providers["acme"].rate_limit == (Pace(10, 60),)
    assert config.tables["matches"].columns["provider"].type == "text"


def test_the_configuration_that_comes_with_the_repository_is_good() -> None:
    assert load(Path(__file__).parents[3] / "config.yaml", {}).feeds()


def test_everything_that_is_wrong_is_reported_at_once_in_its_place() -> None:
    found = [
        f"{problem.line}:{problem.column} {problem.code} {problem.path}"
        + (f" -> {problem.suggestion}" if problem.suggestion else "")
        for problem in problems(WRONG)
    ]
    assert found == WRONG_AT.splitlines()


def test_a_problem_reads_as_one_line() -> None:
    assert str(only(GOOD.replace("every:", "everi:"))) == (
        "config.yaml:24:9: providers.acme.feeds.fixtures.everi: unknown key; did you mean 'every'? [unknown-key]"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rate_limit: 10/min", "rate_limit: {}", "19:17 wrong-value"),
        ("url: https://api.acme.example/v4", "url: api.acme.example", "17:10 wrong-value"),
        ("    key: [provider, match_id]\n", "", "4:3 missing-key"),
        ("kind: rest", "type: rest", "21:7 missing-key"),
        ("auth: {kind: header,", "auth: {", "18:5 missing-key"),
        ("auth: {kind: header, name: X", "auth: {kind: header, named: X", "18:5 missing-key|18:26 unknown-key"),
        ("  acme:", "  9acme:", "16:3 wrong-name"),
        ("  acme:", "  a.cme:", "16:3 wrong-name"),
        ("records: matches", "format: jsn", "25:17 unknown-kind"),
        ("kickoff: timestamp", "kickoff: {type: timestamp, format: [epoch_s, 5]}", "10:52 wrong-type"),
        ("kickoff: timestamp", "kickoff: {type: timestamp, format: 5}", "10:42 wrong-type"),
        ("kickoff: timestamp", "kickoff:", "10:15 wrong-type"),
        ("score: score.home", "score: {from: [a, 5]}", "32:29 wrong-type"),
        ("score: score.home", "score: {from: a, const: 1}", "32:18 wrong-value"),
    ],
)
def test_each_mistake_has_its_place(old: str, new: str, expected: str) -> None:
    found = [f"{problem.line}:{problem.column} {problem.code}" for problem in problems(GOOD.replace(old, new, 1))]
    assert "|".join(found) == expected


def test_the_kinds_that_exist_are_listed_for_an_unknown_one() -> None:
    problem = only(GOOD.replace("kind: websocket", "kind: websockets"))
    assert re.search(r"must be one of .*rest, sse, .*websocket", problem.message)
    assert (problem.path, problem.suggestion) == ("providers.acme.feeds.scores.kind", "websocket")


def test_alternatives_of_one_value_are_one_sentence() -> None:
    problem = only(GOOD.replace("kickoff: timestamp", "kickoff: {type: timestamp, format: 5}"))
    assert problem.message == "must be text or a list, but is a number"


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot read the configuration: No such file") as raised:
        load(tmp_path / "nowhere.yaml", {})
    assert raised.value.problems[0].code == "unreadable-file"


def test_a_file_with_a_byte_order_mark_is_read_and_one_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(file, ENVIRON).feeds()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file, ENVIRON)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("every: 30s", 'every: "${SECRET}"'),
        ("rate_limit: 10/min", 'rate_limit: "${SECRET}"'),
        ("into: matches", 'into: "${SECRET}"'),
        ("records: matches", 'records: "${SECRET}[x"'),
        ("url: https://api.acme.example/v4", 'url: "${SECRET}"'),
        ("kind: rest", 'kind: "${SECRET}"'),
        ("where: \"type == 'score'\"", 'where: "${SECRET} =="'),
        ("score: score.home", 'score: {const: "${SECRET}"}'),
        ("score: score.home", 'score: "${SECRET}..x"'),
        ("{type: text, values: [scheduled, live]}", '{type: text, pattern: "(${SECRET}"}'),
        ("kickoff: timestamp", 'kickoff: {type: timestamp, timezone: "${SECRET}"}'),
        ("kickoff: timestamp", 'kickoff: "${SECRET}"'),
        ("min: 0", 'min: "${SECRET}"'),
        ("version: updated_at", 'version: "${SECRET}"'),
        ('pool: "${POOL:-4}"', 'pool: "${SECRET}"'),
        ('url: "${DATABASE_URL:-embedded}"', 'url: ["${SECRET}"]'),
        ('value: "${ACME_TOKEN}"', 'value: {a: "${SECRET}"}'),
    ],
)
def test_a_value_that_came_from_a_variable_is_never_shown(old: str, new: str) -> None:
    assert old in GOOD
    secret = "hunter2-swordfish"
    with pytest.raises(ConfigError) as raised:
        loads(GOOD.replace(old, new, 1), "config.yaml", ENVIRON | {"SECRET": secret})
    shown = str(raised.value) + repr(raised.value.problems)
    assert not any(secret[i : i + 4] in shown for i in range(len(secret) - 3))


def test_a_password_in_a_url_is_not_shown() -> None:
    (problem,) = problems(GOOD.replace("into: matches", "into: https://user:hunter2@host/", 1))
    assert "hunter2" not in str(problem)


def test_secrets_do_not_show_in_the_configuration_itself() -> None:
    config = loads(
        GOOD, "config.yaml", ENVIRON | {"HEADRACE_TOKEN": "hunter2", "DATABASE_URL": "postgresql://u:hunter2@h/d"}
    )
    shown = f"{config} {config!r} {config.model_dump_json(fallback=str)}"
    assert "hunter2" not in shown
    assert "tok3n" not in shown


@given(st.text())
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loads(text, "config.yaml", {})
    assert raised.value.problems


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["${A}", "${", "$x", "a..b", "1e999", "9" * 400 + "s", "-1", "(", "%Q", "json", "rest", "epoch_ms"]
    )
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def plain(config: str) -> Any:
    return yaml.load(config, yaml.BaseLoader)


@given(data=st.data(), value=values)
def test_any_part_may_be_anything_and_the_rest_is_still_judged(data: st.DataObject, value: Any) -> None:
    document = plain(GOOD)
    *way, last = data.draw(st.sampled_from(places(document)[1:]))
    part = document
    for key in way:
        part = part[key]
    part[last] = value
    document["log"] = {"level": "loud"}
    found = problems(json.dumps(document, ensure_ascii=True))
    assert "log.level" in {problem.path for problem in found} or found[0].code == "yaml-syntax"
    assert all(problem.line >= 1 for problem in found)


BAD_PROVIDER = """\
tables:
  t: {key: [id], columns: {id: integer}}
providers:
  acme:
    url: https://a.example
    auth: {kind: hmac, secret: "${S:-topsecret}", message: "{tiemstamp}", headers: {X: "{signature}"}}
    rate_limit: [10/s, 5/h]
    errors: [{status: 404, action: skip}, {text: x, action: refresh_token}]
    feeds:
      f:
        kind: rest
        cron: "0 25 * * *"
        timezone: Europe/Lodnon
        weight: 6
        errors: [{when: "body.a ==", action: retry}, {action: ignore}]
        into: t
        map: {id: id}
"""
BAD_PROVIDER_AT = """\
6:60 wrong-value providers.acme.auth.message
8:36 wrong-value providers.acme.errors[0].action
8:61 idle-action providers.acme.errors[1].action
12:15 wrong-value providers.acme.feeds.f.cron
13:19 wrong-value providers.acme.feeds.f.timezone
14:17 wrong-value providers.acme.feeds.f.weight
15:25 wrong-expression providers.acme.feeds.f.errors[0].when
15:54 wrong-value providers.acme.feeds.f.errors[1]
"""


def test_mistakes_in_credentials_pace_and_rules_are_told_where_they_stand_without_secrets() -> None:
    found = problems(BAD_PROVIDER, {})
    places = [f"{problem.line}:{problem.column} {problem.code} {problem.path}" for problem in found]
    assert places == BAD_PROVIDER_AT.splitlines()
    assert "topsecret" not in "".join(map(str, found))
