import pytest

from service.config.load import loads
from service.config.settings import Database
from service.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:geheim@db/x",
        "nonsense",
        "postgres//u:geheim@h/x",
        "postgresql://u:geheim@h:port/x",
        "postgresql://u:geheim/7@h/x",
        "postgresql://u:geheim#7@h/x",
        "",
    ],
)
def test_a_database_url_that_cannot_be_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a PostgreSQL") as refused:
        loads(f"database: {{url: '{url}'}}", "config.yaml", {})
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "postgres://h",
        "postgresql://u:a@b%2Fc@h:5432/x?sslmode=require",
        "postgresql://u@[::1]:5432/x",
        "postgresql://u:p@one:5432,two:5433/x?target_session_attrs=primary",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql+asyncpg://u:p@h/x",
    ],
)
def test_a_database_url_in_any_form_of_libpq_is_accepted(url: str) -> None:
    assert Database.model_validate({"url": url}).url.get_secret_value() == url
