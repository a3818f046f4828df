"""`headrace check --connect` against a real database, and real providers on loopback."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.site import Asked, Site
from tests.sql import execute, fetch
from tests.unit.cli.commands import headrace

CONFIG = """\
database: {{url: "{database}", migrate: {migrate}}}
tables:
  goals: {{key: id, columns: {{id: text, n: {{type: integer, null: true}}}}}}
providers:
  acme:
    url: "{site}"
    timeout: 1s
    auth: {{kind: header, name: X-Token, value: "${{ACME_TOKEN}}"}}
    feeds:
      polled: {{kind: rest, path: /goals, into: goals, map: {{id: id}}}}
      posted: {{kind: webhook, unverified: true, into: goals, map: {{id: id}}}}
      {more}
"""


def answer(asked: Asked) -> web.StreamResponse:
    if asked.headers["X-Token"] != "s3cr3t-t0ken":
        return web.Response(status=401, text=f"no: {asked.headers['X-Token']}")
    return web.json_response([{"id": "a"}, {"id": "b"}])


class Setting:
    def __init__(self, folder: Path, database: str, site: Site) -> None:
        self._folder, self._database, self._site = folder, database, site

    async def check(
        self,
        *more: str,
        migrate: str = "create",
        database: str | None = None,
        feeds: str = "",
        token: str = "s3cr3t-t0ken",
    ) -> tuple[int, list[str], str]:
        text = CONFIG.format(database=database or self._database, site=self._site.url, migrate=migrate, more=feeds)
        await asyncio.to_thread((self._folder / "config.yaml").write_text, text)
        ended = await asyncio.to_thread(headrace, self._folder, "check", "--connect", *more, ACME_TOKEN=token)
        assert "Traceback" not in ended.err
        assert token not in ended.out + ended.err
        return ended.code, ended.out.splitlines(), ended.err


async def test_what_answers_is_ok_and_nothing_is_changed(tmp_path: Path, database: str) -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send('{"id": "c"}')
        await connection.wait_closed()

    async with Site(answer) as site, serve(send, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        heard = f'heard: {{kind: websocket, url: "ws://127.0.0.1:{port}", into: goals, map: {{id: id}}}}'
        code, lines, _ = await Setting(tmp_path, database, site).check(feeds=heard)
    assert code == 0
    assert lines[-4:] == [
        "database: ok: tables or columns are missing, `headrace ddl --connect` prints them; `headrace run` makes them",
        "acme.polled: ok: 2 records came",
        "acme.posted: ok: is given its messages: there is nothing to connect to",
        "acme.heard: ok: 1 record came",
    ]
    assert len(site.asked) == 1
    assert await fetch(database, "SELECT 1 FROM information_schema.schemata WHERE schema_name = 'headrace'") == []
    assert await asyncio.to_thread(lambda: [path.name for path in tmp_path.iterdir()]) == ["config.yaml"]


async def test_what_fails_is_told_with_what_to_do_and_the_others_are_tried(tmp_path: Path, database: str) -> None:
    async with Site(answer) as site:
        setting = Setting(tmp_path, database, site)
        code, lines, _ = await setting.check(token="wr0ng-t0ken", database="postgresql://u:hunter2@127.0.0.1:9/x")
    assert code == 1
    told = dict(line.split(": ", 1) for line in lines[-3:])
    assert told["database"].startswith("failed: ")
    assert "hunter2" not in "".join(lines)
    assert told["acme.polled"].startswith("failed: ")
    assert "401" in told["acme.polled"]
    assert told["acme.polled"].endswith("; correct the address, the path or the credentials")
    assert told["acme.posted"].startswith("ok: ")


async def test_a_provider_that_says_nothing_is_not_waited_for_longer_than_its_timeout(
    tmp_path: Path, database: str
) -> None:
    async def hang(_: Asked) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with Site(hang) as site:
        code, lines, _ = await Setting(tmp_path, database, site).check()
    assert code == 1
    assert lines[-2].startswith("acme.polled: failed: ")


async def test_tables_that_differ_or_may_not_be_made_fail(tmp_path: Path, database: str) -> None:
    async with Site(answer) as site:
        setting = Setting(tmp_path, database, site)
        code, lines, _ = await setting.check(migrate="verify")
        assert code == 1
        assert lines[-3].endswith("run that, or set database.migrate to create")
        _, lines, _ = await setting.check(migrate="off")
        assert lines[-3].endswith("prints them; with `migrate: off` they are made by hand")
        await execute(database, "CREATE TABLE goals (id integer PRIMARY KEY)")
        code, lines, _ = await setting.check()
        assert (code, lines[-3].startswith("database: failed: ")) == (1, True)
        code, lines, _ = await setting.check("--json")
    found = json.loads("\n".join(lines))
    assert (code, found["ok"], found["problems"]) == (1, False, [])
    assert [(each["name"], each["ok"]) for each in found["connect"]] == [
        ("database", False),
        ("acme.polled", True),
        ("acme.posted", True),
    ]
    assert found["connect"][1]["told"] == "2 records came"


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_of_a_wrong_configuration_nothing_is_tried(
    tmp_path: Path, database: str, arguments: tuple[str, ...]
) -> None:
    async with Site(answer) as site:
        code, _, _ = await Setting(tmp_path, database, site).check(*arguments, migrate="nonsense")
        assert (code, site.asked) == (2, [])


AUTHORISED = """\
database: {{url: "{database}"}}
tables:
  goals: {{key: id, columns: {{id: text}}}}
  parents: {{key: id, columns: {{id: text}}}}
providers:
  signed: {{url: "{site}",
    auth: &token {{kind: oauth2, token_url: "{site}/token", client_id: we, client_secret: right, client: body}},
    feeds: {{polled: &polled {{kind: rest, path: /goals, into: goals, map: {{id: id}}}}}}}}
  missigned: {{url: "{site}", auth: {{<<: *token, client_secret: wr0ng}}, feeds: {{polled: *polled}}}}
  logged: {{url: "{site}", auth: &login {{kind: login, url: "{site}/login", body: {{password: right}}, token: token}},
    feeds: {{polled: *polled}}}}
  mislogged: {{url: "{site}", auth: {{<<: *login, body: {{password: wr0ng}}}}, feeds: {{polled: *polled}}}}
  open:
    url: "{site}"
    timeout: 1s
    feeds:
      each: {{kind: rest, path: "/each/{{id}}", for_each: {{table: parents}}, into: goals, map: {{id: id}}}}
      events: {{kind: sse, path: /events, into: goals, map: {{id: id}}}}
      read: {{kind: file, path: "*.ndjson", into: goals, map: {{id: id}}}}
      unread: {{kind: file, path: none.ndjson, into: goals, map: {{id: id}}}}
      page: {{kind: rest, path: /page, into: goals, map: {{id: id}}}}
"""


async def every_kind(asked: Asked) -> web.StreamResponse:
    match asked.path:
        case "/token" | "/login" if b"wr0ng" in asked.body:
            return web.json_response({"error": "wr0ng is wrong"}, status=401)
        case "/token" | "/login":
            return web.json_response({"access_token": "T", "token": "T", "expires_in": 60, "token_type": "Bearer"})
        case "/goals" if asked.headers.get("Authorization") != "Bearer T":
            return web.Response(status=401)
        case "/events":
            return web.Response(text='data: {"id": "e"}\n\n', content_type="text/event-stream")
        case "/page":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
    return web.json_response([{"id": "a"}, {"id": "b"}])


async def test_feeds_of_every_kind_are_tried(tmp_path: Path, database: str) -> None:
    (tmp_path / "one.ndjson").write_text('{"id": "f"}\n')
    async with Site(every_kind) as site:
        (tmp_path / "config.yaml").write_text(AUTHORISED.format(database=database, site=site.url))
        first = await asyncio.to_thread(headrace, tmp_path, "check", "--connect", "--json")
        await execute(database, "CREATE TABLE parents (id text PRIMARY KEY)")
        bare = await asyncio.to_thread(headrace, tmp_path, "check", "--connect", "--json")
        await execute(database, "INSERT INTO parents VALUES ('7')")
        full = await asyncio.to_thread(headrace, tmp_path, "check", "--connect", "--json")
    told = {each["name"]: (each["ok"], each["told"]) for each in json.loads(first.out)["connect"]}
    assert "wr0ng" not in first.out
    assert [name for name, (ok, _) in told.items() if not ok] == [
        "missigned.polled", "mislogged.polled", "open.unread", "open.page",
    ]  # fmt: skip
    assert told["signed.polled"][1] == told["logged.polled"][1] == "2 records came"
    assert told["open.events"][1] == told["open.read"][1] == "1 record came"
    assert told["open.page"][1].startswith("what came cannot be read: ")
    assert told["open.each"][1].startswith("not tried: the rows of `for_each` lie in a table that is not made yet")
    for ended, expected in ((bare, "not tried: `for_each` gives no row"), (full, "2 records came")):
        of_each = [each["told"] for each in json.loads(ended.out)["connect"] if each["name"] == "open.each"]
        assert of_each[0].startswith(expected)
