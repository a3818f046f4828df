import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.site import Asked, Site
from tests.unit.cli.commands import CONFIG, headrace

GOOD = '{"id":"a","when":{"at":"2026-01-01T10:00:00Z"},"n":1,"price":2.10}'
BAD = '{"id":"b","when":{"at":"2026-01-01T10:00:00Z"},"n":12}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "good.json").write_text(f'{{"goals":[{GOOD}]}}')
    (tmp_path / "both.json").write_text(f'{{"goals":[{GOOD},{BAD}]}}')
    return tmp_path


def test_a_record_is_shown_beside_its_row_with_the_mapped_values_marked(folder: Path) -> None:
    code, out, err = headrace(folder, "preview", "acme.polled", "--from", "good.json")
    lines = [line.rstrip() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == "record 1 loads into goals"
    assert '•   "id": "a",                            at    2026-01-01T10:00:00Z' in lines
    assert any(line.startswith('•     "at": "2026-01-01T10:00:00Z"') for line in lines)
    assert any(line.endswith("price 2.10") for line in lines)
    assert lines[-1] == "acme.polled: 1 record: 1 load, 0 left out, 0 refused"
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_a_refused_record_comes_first_and_says_why(folder: Path) -> None:
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "both.json", "--limit", "1")
    assert code == 1
    assert out.startswith("record 2 is refused: n: max\n")
    assert '✗   "n": 12' in out
    assert "✗ n     max" in out
    assert "12 is more than the maximum 9 [max]" in " ".join(out.split())
    assert "1 load, 0 left out, 1 refused: n: max (1)" in out


def test_machines_get_raw_row_and_reason_with_exact_digits(folder: Path) -> None:
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "both.json", "--json")
    found = json.loads(out)
    assert (code, found["records"]) == (1, {"loads": 1, "deletes": 0, "filtered": 0, "refused": 1})
    assert [shown["reason"] for shown in found["shown"]] == ["n: max", None]
    assert '"price": 2.10' in out
    assert found["shown"][1]["row"] == {"id": "a", "at": "2026-01-01T10:00:00Z", "n": 1, "price": 2.1}


def test_secrets_are_masked_on_both_sides_and_for_machines(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        CONFIG.replace(
            "{id: text,", "{id: text, held: {type: text, null: true}, extra: {type: json, null: true},"
        ).replace("{id: id,", MORE, 1)
    )
    (folder / "secret.json").write_text(f'{{"goals":[{GOOD[:-1]},"api_key":"t0ps3cr3t","long":"{"x" * 5000}"}}]}}')
    for more in ([], ["--json"]):
        code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "secret.json", *more)
        assert code == 0
        assert "t0ps3cr3t" not in out
        assert "***" in out
    assert len(headrace(folder, "preview", "acme.polled", "--from", "secret.json").out) < 3000


MORE = "{held: api_key, extra: $record, id: id,"


def test_a_provider_does_not_steer_the_terminal(folder: Path) -> None:
    record = GOOD.replace('"a"', r'"\u001b[31m\u009b2J"')
    (folder / "odd.json").write_text(f'{{"goals":[{record}]}}')
    _, out, _ = headrace(folder, "preview", "acme.polled", "--from", "odd.json")
    assert not {"\x1b", "\x9b"} & set(out)
    assert r"\x1b[31m\x9b2J" in out


def test_of_a_line_that_cannot_be_read_its_text_is_shown(folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("records: goals,", "format: ndjson,"))
    (folder / "lines").write_text(GOOD + "\nnot json\n")
    _, out, _ = headrace(folder, "preview", "acme.polled", "--from", "lines", "--json")
    assert json.loads(out)["shown"][0]["raw"] == "not json"


def test_that_nothing_came_and_that_it_was_empty_are_told_apart(folder: Path) -> None:
    (folder / "empty.json").write_text('{"goals":[]}')
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "empty.json")
    assert (code, out) == (1, "acme.polled: what came holds no record; if it should, correct `records`\n")
    (folder / "config.yaml").write_text(
        CONFIG + "      posted: {kind: webhook, unverified: true, into: goals, map: {id: a, at: b, n: c}}\n"
    )
    code, out, err = headrace(folder, "preview", "acme.posted")
    assert (code, out) == (1, "")
    assert err.startswith("headrace: acme.posted is given its messages: --from takes recorded bytes")


def test_a_file_of_frames_has_one_in_each_line(folder: Path) -> None:
    (folder / "frames").write_text('{"kind":"goal","a":"x","b":"2026-01-01T10:00:00Z","c":1}\n{"kind":"pong"}\n\n')
    code, out, _ = headrace(folder, "preview", "acme.heard", "--from", "frames")
    assert code == 0
    assert "2 records: 1 load, 1 left out, 0 refused" in out


def test_a_record_that_deletes_says_so(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        CONFIG.replace("records: goals,", "records: goals, delete_when: 'gone == true',")
    )
    (folder / "gone.json").write_text(f'{{"goals":[{GOOD[:-1]},"gone":true}},{GOOD}]}}')
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "gone.json")
    assert code == 0
    assert out.startswith("record 1 deletes its row of goals\n")
    assert "2 records: 1 load, 1 delete, 0 left out, 0 refused" in out


def test_bytes_that_do_not_decode_are_refused_whole(folder: Path) -> None:
    (folder / "broken").write_text('{"goals":[')
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "broken")
    assert code == 1
    assert "record 1 is refused: json: not decodable" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["acme.poled"], 2, "there is no feed 'acme.poled' in the configuration; did you mean acme.polled?"),
        (["acme.polled", "--from", "nothing"], 1, "nothing: No such file or directory"),
        (["acme.polled", "--from", "good.json", "-c", "none.yaml"], 2, "cannot read the configuration"),
        (["acme.polled"], 1, "cannot connect"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(folder: Path, arguments: list[str], code: int, said: str) -> None:
    ended = headrace(folder, "preview", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


async def test_a_real_provider_is_asked_once_and_nothing_is_loaded(folder: Path) -> None:
    def answer(_: Asked) -> web.StreamResponse:
        return web.json_response({"goals": [json.loads(GOOD)] * 2})

    async with Site(answer) as site:
        preview = asyncio.to_thread(headrace, folder, "preview", "acme.polled", ACME_URL=site.url)
        code, out, err = await preview
    assert (code, err, len(site.asked)) == (0, "", 1)
    assert "2 records: 2 load" in out
    left = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir()))
    assert left == ["both.json", "config.yaml", "good.json"]  # no spool, no database


def test_of_a_delta_only_what_it_carries_is_shown(folder: Path) -> None:
    config = CONFIG.replace("records: goals,", "records: goals, partial: true,").replace(
        "n: {type: integer, max: 9}", "n: {type: integer, null: true, max: 9, default: 3}"
    )
    (folder / "config.yaml").write_text(config)
    (folder / "delta.json").write_text('{"goals":[{"id":"a","when":{"at":"2026-01-01T10:00:00Z"},"price":null}]}')
    code, out, _ = headrace(folder, "preview", "acme.polled", "--from", "delta.json")
    assert code == 0
    assert "price null" in out
    assert " n " not in out
    _, out, _ = headrace(folder, "preview", "acme.polled", "--from", "delta.json", "--json")
    assert json.loads(out)["shown"][0]["row"] == {"id": "a", "at": "2026-01-01T10:00:00Z", "price": None}
