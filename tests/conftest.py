"""Fixtures that the whole suite shares: real PostgreSQL clusters and fresh databases."""

import signal
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from service.store import direct
from tests.pgbouncer import Bouncer
from tests.postgres import POSTGRES_15, Cluster, needs_postgres_15

settings.register_profile("untimed", deadline=None)  # how long an example takes on a busy machine says nothing
settings.load_profile("untimed")
_numbers = count(1)


def pytest_configure() -> None:
    """Let SIGINT reach the programs under test: whom a shell runs in the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is set up once and never started: the others are copies of it."""
    template = Cluster(tmp_path_factory.mktemp("template") / "data")
    template.make()
    yield template
    template.remove()


@pytest.fixture(scope="session")
def postgres(_template: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The running cluster that all tests of this process share; leave it running."""
    shared = _template.clone(tmp_path_factory.mktemp("postgres") / "data")
    shared.start()
    yield shared
    shared.remove()


@pytest.fixture
async def database(postgres: Cluster) -> AsyncIterator[str]:
    """The URL of a fresh, empty database."""
    name = f"test_{next(_numbers)}"
    await postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    await postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def cluster(_template: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster of the test's own, to stop and start at will."""
    private = _template.clone(tmp_path / "postgres")
    private.start()
    yield private
    private.remove()


@pytest.fixture(scope="session")
def _template_15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """As ``_template``, of Debian's PostgreSQL 15."""
    template = Cluster(tmp_path_factory.mktemp("template_15") / "data", programs=POSTGRES_15)
    template.make()
    yield template
    template.remove()


@pytest.fixture
def cluster_15(_template_15: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster of PostgreSQL 15, of the test's own; mark the test with ``needs_postgres_15``."""
    private = _template_15.clone(tmp_path / "postgres_15")
    private.start()
    yield private
    private.remove()


@pytest.fixture(scope="module", params=["default", pytest.param("15", marks=needs_postgres_15)])
def any_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster of each major version that is at hand: the wheel's, or the chosen one, and Debian's."""
    template: Cluster = request.getfixturevalue("_template_15" if request.param == "15" else "_template")
    shared = template.clone(tmp_path_factory.mktemp(f"postgres_{request.param}") / "data")
    shared.start()
    yield shared
    shared.remove()


@pytest.fixture
def bouncer(postgres: Cluster, tmp_path: Path) -> Iterator[Bouncer]:
    """A running pgbouncer in front of the shared cluster; mark the test with ``needs_pgbouncer``."""
    started = Bouncer(postgres, tmp_path)
    started.start()
    yield started
    started.stop()


@pytest.fixture(params=["staged", "direct"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test's few rows written through a temporary table, as many rows are, and then as few rows are."""
    if request.param == "staged":
        monkeypatch.setattr(direct, "FEW", 0)
