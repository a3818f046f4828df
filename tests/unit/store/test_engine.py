"""URLs: every option of libpq is understood, passed on or left out, never sent to the server as a setting."""

from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from service.errors import StartError
from service.store.engine import _connect_args
from tests.store_feed import store_of, table


def options(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(_connect_args(url)["dsn"]).query)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_all_schemes_of_postgresql_mean_the_same(scheme: str) -> None:
    dsn = _connect_args(f"{scheme}://me:a%40b@db:6432/x")["dsn"]
    assert dsn == "postgresql://me:a%40b@db:6432/x?application_name=headrace"


def test_options_of_the_driver_and_settings_of_the_server_stay(tmp_path: Path) -> None:
    root = tmp_path / "a b"
    root.touch()
    tls = f"sslmode=verify-full&sslrootcert={quote(str(root))}"
    url = f"postgresql://db/x?{tls}&options=-c%20jit%3Doff&application_name=mine"
    assert options(url) == {
        "sslmode": ["verify-full"],
        "sslrootcert": [str(root)],
        "options": ["-c jit=off"],
        "application_name": ["mine"],
    }


def test_options_that_only_libpq_knows_are_left_out() -> None:
    url = "postgresql://db/x?connect_timeout=3&keepalives_idle=5&channel_binding=prefer"
    assert options(url) == {"application_name": ["headrace"]}
    assert _connect_args(url)["timeout"] == 3.0


async def test_such_a_url_reaches_a_server(database: str) -> None:
    url = f"{database.replace('postgresql:', 'postgres:')}?sslmode=prefer&options=-c%20jit%3Doff&keepalives=1"
    async with store_of(url, {"matches": table("id", {"id": "text"})}) as store:
        await store.ping()


def test_a_timeout_that_is_no_number_is_one_sentence() -> None:
    with pytest.raises(StartError, match="no whole number of seconds: soon"):
        _connect_args("postgresql://db/x?connect_timeout=soon")
