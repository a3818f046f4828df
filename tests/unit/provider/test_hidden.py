"""Our own secrets are blanked out of whatever is shown, wherever the configuration has them."""

from collections.abc import Mapping

import pytest

from service.config.load import loads
from service.provider import Provider

SECRET = "s3cr3t-of-ours"


def blanked(settings: str, feed: str, text: str, environ: Mapping[str, str]) -> str:
    config = loads(
        f"tables: {{t: {{key: id, columns: {{id: text}}}}}}\n"
        f"providers: {{acme: {{{settings}, feeds: {{f: {{{feed}, into: t, map: {{id: id}}}}}}}}}}",
        "config.yaml",
        environ,
    )
    return Provider("acme", config.providers["acme"]).blanked(text)


REST, SITE = "kind: rest", 'url: "https://a.example"'


@pytest.mark.parametrize(
    ("settings", "feed", "shown"),
    [
        (SITE, f'{REST}, path: "/bot${{SECRET}}/updates"', f"https://a.example/bot{SECRET}/updates"),
        ('url: "https://a.example/${SECRET}"', REST, f"https://a.example/{SECRET}: 500"),
        (SITE, f"{REST}, params: {{apikey: {SECRET}}}", f"you sent ?apikey={SECRET}"),
        (SITE, f'{REST}, params: {{x: "${{SECRET}}"}}', f"you sent ?x={SECRET}"),
        (SITE, f'{REST}, method: POST, body: {{x: "${{SECRET}}"}}', f"you sent {SECRET}"),
        (SITE, f'kind: websocket, url: "wss://b.example/?token={SECRET}"', f"you sent {SECRET}"),
        (f'{SITE}, auth: {{kind: basic, user: me, password: "{SECRET}"}}', REST, "Basic bWU6czNjcjN0LW9mLW91cnM="),
        (f'url: "https://me:{SECRET}@a.example"', REST, "Basic bWU6czNjcjN0LW9mLW91cnM="),
    ],
)
def test_a_secret_is_blanked_out_wherever_it_was_configured(settings: str, feed: str, shown: str) -> None:
    said = blanked(settings, feed, shown, {"SECRET": SECRET})
    assert "***" in said
    assert SECRET not in said
    assert "bWU6" not in said


def test_a_host_and_the_path_of_a_file_are_shown_though_they_come_from_variables() -> None:
    variables = {"HOST": "a.example", "URL": "wss://b.example/live", "FOLDER": "/var/history"}
    said = "https://a.example/x, wss://b.example/live, /var/history/x.csv"
    assert blanked('url: "https://${HOST}/v4"', 'kind: websocket, url: "${URL}"', said, variables) == said
    assert blanked(SITE, 'kind: file, path: "${FOLDER}/x.csv"', said, variables) == said
