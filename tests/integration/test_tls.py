"""TLS to the database, with the parameters of libpq: what is promised is checked, and a refusal says why."""

import asyncio
from pathlib import Path

import pytest
import trustme

from service.errors import StartError, StoreLost, TableRefused
from tests.postgres import Cluster, needs_postgres_15
from tests.store_feed import Feed, store_of, table

TABLES = {"matches": table("id", {"id": "text"})}
HBA = "hostssl all certified 127.0.0.1/32 cert\nhost all postgres 127.0.0.1/32 trust\n"


pytestmark = needs_postgres_15  # the wheel's PostgreSQL is built without TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(cluster_15: Cluster, authority: trustme.CA, tmp_path: Path) -> Cluster:
    """A cluster with a certificate for 127.0.0.1, which knows clients by theirs."""
    cluster = cluster_15
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(cluster.data / "server.key")
    (cluster.data / "server.key").chmod(0o600)
    issued.cert_chain_pems[0].write_to_path(cluster.data / "server.crt")
    authority.cert_pem.write_to_path(cluster.data / "root.crt")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    (cluster.data / "pg_hba.conf").write_text(HBA)
    await cluster.execute(
        "ALTER SYSTEM SET ssl = on",
        "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
        "CREATE ROLE certified SUPERUSER LOGIN",
    )
    await asyncio.to_thread(cluster.restart)
    return cluster


async def load(url: str) -> bool:
    """Load a row; say whether the session was encrypted, as the server saw it."""
    async with store_of(url, TABLES) as store:
        await store.prepare()
        assert (await Feed(store).load([("a",)])).settled == 1
        async with store._engine.connect() as connection:
            found = await connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool(found.scalar_one())


@pytest.mark.parametrize("options", ["sslmode=verify-full&sslrootcert={ca}", "sslmode=verify-ca&sslrootcert={ca}",
                                     "sslmode=require", "sslmode=prefer"])  # fmt: skip
async def test_a_server_with_a_good_certificate_is_spoken_to_in_secret(
    server: Cluster, tmp_path: Path, options: str
) -> None:
    assert await load(f"{server.url()}?{options.format(ca=tmp_path / 'ca.pem')}")


async def test_disable_speaks_plainly(server: Cluster) -> None:
    assert not await load(f"{server.url()}?sslmode=disable")


async def test_a_certificate_of_another_authority_is_refused(server: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoreLost, match=r"certificate.*is not accepted: .*sslrootcert") as refused:
        await load(f"{server.url()}?sslmode=verify-full&sslrootcert={tmp_path / 'other.pem'}")
    assert "_ssl.c" not in str(refused.value)


async def test_a_certificate_for_another_host_is_refused_by_verify_full_alone(server: Cluster, tmp_path: Path) -> None:
    url = server.url().replace("127.0.0.1", "localhost")
    options = f"sslrootcert={tmp_path / 'ca.pem'}"
    with pytest.raises(StoreLost, match=r"is not accepted: Hostname mismatch, .*'localhost'"):
        await load(f"{url}?sslmode=verify-full&{options}")
    assert await load(f"{url}?sslmode=verify-ca&{options}")


async def test_a_client_is_known_by_its_certificate(server: Cluster, authority: trustme.CA, tmp_path: Path) -> None:
    issued = authority.issue_cert(common_name="certified")
    issued.private_key_pem.write_to_path(tmp_path / "client.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "client.crt")
    url = server.url().replace("postgres@", "certified@")
    root = f"sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}"
    mine = f"sslcert={tmp_path / 'client.crt'}&sslkey={tmp_path / 'client.key'}"
    assert await load(f"{url}?{root}&{mine}")
    with pytest.raises(TableRefused, match="requires a valid client certificate"):
        await load(f"{url}?{root}")


async def test_a_server_without_tls_is_refused_where_tls_is_required(database: str) -> None:
    with pytest.raises(StoreLost, match=r"rejected SSL upgrade"):
        await load(f"{database}?sslmode=require")


async def test_a_root_certificate_that_is_not_there_is_named(database: str) -> None:
    with pytest.raises(StartError, match=r"`sslrootcert` of database\.url .* does not exist: /nowhere/root\.pem"):
        await load(f"{database}?sslmode=verify-full&sslrootcert=/nowhere/root.pem")
