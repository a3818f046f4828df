import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from service.cli.check import check

GOOD = """\
database: {url: "${DATABASE_URL:-embedded}"}
tables:
  goals: {key: id, version: at, columns: {id: text, at: timestamp}}
providers:
  acme:
    url: https://acme.example
    auth: {kind: header, name: X-Token, value: "${ACME_TOKEN}"}
    feeds:
      polled: {kind: rest, into: goals, map: {id: id, at: at}}
      heard: {kind: websocket, url: "wss://acme.example", into: goals, map: {id: a, at: b}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME_TOKEN", "hunter2")
    return tmp_path / "config.yaml"


def run(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command("check")(check)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_a_good_configuration_is_explained(file: Path) -> None:
    file.write_text(GOOD)
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "acme.polled (rest) into goals: exactly once\n" in out
    assert "acme.heard (websocket) into goals: best effort\n" in out
    assert "  Parks once more than half of its last 1000 records are refused, until corrected or resumed.\n" in out
    assert "goals: 2 columns, key id; the greatest at wins\n" in out
    assert "database: embedded PostgreSQL, schema public\n" in out
    assert "memory: queues hold at most 16 MiB\n" in out
    assert out.endswith("config.yaml is fine\n")
    assert "\x1b" not in out
    assert "hunter2" not in out


MODES = """\
tables:
  goals: {key: id, version: at, history: true, columns: {id: text, at: timestamp}}
  notes: {key: id, mode: update, columns: {id: text, n: integer}}
  log: {mode: append, columns: {id: text}}
providers:
  acme:
    url: https://acme.example
    feeds:
      all: {kind: rest, into: notes, map: {id: $feed, n: {const: 1}}, absent: delete}
      some: {kind: rest, into: goals, map: {id: id, at: at}, delete_when: "gone == true"}
      more: {kind: rest, into: log, map: {id: id}}
"""


def test_modes_are_explained(file: Path) -> None:
    file.write_text(MODES)
    _code, out, err = run()
    assert err == ""
    assert "  Rows that are no longer in its full set (of those with id = $feed) are deleted.\n" in out
    assert "  Deletes the row of a record for which `gone == true` holds.\n" in out
    assert "goals: 2 columns, key id; the greatest at wins; every version is kept in goals_history\n" in out
    assert "notes: 2 columns, key id; the last to arrive wins; only rows that exist are updated\n" in out
    assert "log: 1 columns; every record is a new row\n" in out


def test_problems_go_to_stderr_with_their_count_and_exit_2(file: Path) -> None:
    file.write_text(GOOD.replace("into: goals", "into: goal").replace("key: id", "kee: id"))
    code, out, err = run("-c", "config.yaml")
    assert (code, out) == (2, "")
    dangling = "there is no table 'goal'; did you mean 'goals'? [unknown-table]"
    assert err.splitlines() == [
        "config.yaml:3:3: tables.goals.key: this key is required [missing-key]",
        "config.yaml:3:11: tables.goals.kee: unknown key; did you mean 'key'? [unknown-key]",
        f"config.yaml:9:34: providers.acme.feeds.polled.into: {dangling}",
        f"config.yaml:10:65: providers.acme.feeds.heard.into: {dangling}",
        "4 problems",
    ]


def test_a_missing_file_is_one_problem(file: Path) -> None:
    code, _out, err = run()
    assert code == 2
    assert err == "config.yaml: cannot read the configuration: No such file or directory [unreadable-file]\n1 problem\n"


def test_machines_get_the_problems_as_json(file: Path) -> None:
    file.write_text(GOOD.replace("polled: {kind: rest", "polled: {kind: rests"))
    code, out, err = run("--config", str(file), "--json")
    found = json.loads(out)
    assert (code, err, found["ok"]) == (2, "", False)
    assert found["problems"] == [
        {
            "code": "unknown-kind",
            "path": "providers.acme.feeds.polled.kind",
            "message": found["problems"][0]["message"],
            "file": str(file),
            "line": 9,
            "column": 22,
            "suggestion": "rest",
        }
    ]


def test_machines_get_the_meaning_as_json(file: Path) -> None:
    file.write_text(GOOD)
    code, out, _err = run("--json")
    found = json.loads(out)
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    assert [feed["guarantee"] for feed in found["feeds"]] == ["exactly once", "best effort"]
    assert found["tables"][0]["key"] == ["id"]
    assert "hunter2" not in out


def test_the_sql_is_shown_and_none_where_none_is_run(file: Path) -> None:
    file.write_text(GOOD)
    _, out, _ = run()
    assert "  CREATE TABLE public.goals (\n" in out
    assert "headrace.positions" not in out
    assert json.loads(run("--json")[1])["sql"].startswith("CREATE TABLE public.goals (")
    file.write_text(GOOD.replace('"${DATABASE_URL:-embedded}"', "embedded, migrate: verify"))
    _, out, _ = run()
    assert "sql: none is run: `migrate: verify`\n" in out
    assert "CREATE TABLE" not in out


@pytest.mark.parametrize(
    ("feed", "limit", "needed"),
    [
        ("every: 10s", "5/min", 6),
        ("every: 10s", "6/min", None),
        ("every: 10s, weight: 2", "[10/s, 11/min]", 12),
        ("cron: '*/5 * * * *'", "11/h", 12),
        ("cron: '*/5 * * * *'", "12/h", None),
    ],
)
def test_a_rate_limit_that_polls_exceed_is_told(file: Path, feed: str, limit: str, needed: float | None) -> None:
    text = GOOD.replace("polled: {kind: rest,", f"polled: {{kind: rest, {feed},")
    file.write_text(text.replace("    feeds:", f"    rate_limit: {limit}\n    feeds:"))
    code, out, _ = run()
    assert code == 0
    assert [each["asked"] for each in json.loads(run("--json")[1])["limits"]] == ([needed] if needed else [])
    assert (f"acme: rate_limit is exceeded: polls need at least {needed} requests in " in out) == bool(needed)
