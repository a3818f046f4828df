import asyncio
import gzip
import json
from pathlib import Path

import pytest
from aiohttp import web

from service.config.load import loads
from tests.site import Asked, Site
from tests.unit.cli.commands import CONFIG, headrace

PAGE = {"matches": [{"id": str(n), "homeTeam": {"name": f"t{n}"}, "lastUpdated": 1767355200000 + n} for n in range(9)]}


def test_a_file_gives_a_configuration_that_is_valid_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "season.json.gz").write_bytes(gzip.compress(json.dumps(PAGE).encode()))
    code, out, err = headrace(tmp_path, "infer", "season.json.gz")
    assert (code, err) == (0, "")
    table = loads(out, "proposal", {}).tables["matches"]
    assert (table.key, table.version) == (("id",), "last_updated")
    assert "# key: unique over 9 records, never null" in out
    (tmp_path / "config.yaml").write_text(out)
    assert headrace(tmp_path, "check").code == 0
    assert headrace(tmp_path, "preview", "sample.season", "--from", "season.json.gz").code == 0


def test_lines_that_are_lists_are_records_each(tmp_path: Path) -> None:
    lines = [{"event": "status"}, *([n, ["1.5", f"{n}"], "ticker", f"X{n}"] for n in range(3))]
    (tmp_path / "frames.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    code, out, err = headrace(tmp_path, "infer", "frames.ndjson")
    assert (code, err) == (0, "")
    (tmp_path / "config.yaml").write_text(out)
    assert "# 3 records of frames.ndjson" in out
    assert headrace(tmp_path, "check").code == 0


async def test_an_address_is_asked_and_its_secrets_become_variables(tmp_path: Path) -> None:
    async with Site(lambda _: web.json_response(PAGE)) as site:
        arguments = (f"{site.url}/v4/games?api_key=hunter2&day=1", "--header", "X-Auth-Token: hunter3")
        code, out, err = await asyncio.to_thread(headrace, tmp_path, "infer", *arguments)
    assert (code, err) == (0, "")
    assert site.asked[0].headers["X-Auth-Token"] == "hunter3"
    assert "hunter" not in out
    config = loads(out, "proposal", {"API_KEY": "k", "X_AUTH_TOKEN": "t"})
    (feed,) = config.feeds()
    assert feed.endswith(".games")
    assert 'params: {api_key: "${API_KEY}", day: "1"}' in out


async def test_a_feed_is_asked_with_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)

    def answer(_: Asked) -> web.StreamResponse:
        return web.json_response(PAGE)

    async with Site(answer) as site:
        code, out, err = await asyncio.to_thread(headrace, tmp_path, "infer", "acme.polled", ACME_URL=site.url)
    assert (code, err) == (0, "")
    assert "  acme:\n    feeds:\n      polled:\n" in out
    assert "home_team_name: homeTeam.name" in out


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("nothing", 2, "'nothing' is neither a file, nor a URL, nor PROVIDER.FEED"),
        ("none.json", 1, "none.json: No such file or directory"),
        ("broken.json", 1, "broken.json: "),
        ("ftp://example.com/x?key=hunter2", 1, "only http:// and https://"),
        ("http://127.0.0.1:9/x?token=hunter2", 1, "cannot connect"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path, source: str, code: int, said: str) -> None:
    (tmp_path / "broken.json").write_text('{"a":')
    ended = headrace(tmp_path, "infer", source)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "hunter2" not in ended.err
    assert "Traceback" not in ended.err
