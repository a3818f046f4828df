"""Faults under a running season: whatever happens, the table becomes what the oracle says, and the ledger balances."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.demo.faults import Faults
from service.demo.providers import Providers
from tests.daemon import Daemon, balanced, rows
from tests.postgres import Cluster

EVENTS = 3000
POISON = 0.01


def _environ(providers: Providers, database: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database,
        "ACME_URL": providers.rest_url,
        "ACME_LIVE_URL": providers.websocket_url,
    }


def _received(target: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["ledger"]["received"] >= target


def _heard(feed: str, messages: int, *, after: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a feed is live again, after so many reconnects, and has heard so many messages."""

    def condition(status: dict[str, Any]) -> bool:
        found = status["feeds"].get(feed, {})
        live = found.get("state") == "live" and found["reconnects"] >= after
        return live and bool(found["messages"] >= messages)

    return condition


async def _until_equal(daemon: Daemon, providers: Providers, database: str) -> dict[str, Any]:
    """Wait until the table equals the oracle and nothing is on its way; say what differs if it never does."""
    await providers.finished()
    expected = sorted(providers.oracle().rows.values(), key=lambda row: str(row["match_id"]))
    for _ in range(120):
        found = await rows(database, 'select * from matches order by match_id collate "C"')
        if found == expected:
            break
        await asyncio.sleep(0.25)
    assert found == expected
    status = await daemon.until(
        lambda status: (
            status["ready"]
            and status["ledger"]["received"] > 0
            and status["ledger"]["in_flight"] == 0
            and status["buffer"]["messages"] == 0
        )
    )
    assert balanced(status)
    await _nothing_twice(database, status)
    return status


async def _nothing_twice(database: str, status: dict[str, Any]) -> None:
    """The durable account of batches, positions and quarantine agrees with the status."""
    (positions,) = await rows(
        database,
        "select sum(received)::bigint received, sum(inserted)::bigint inserted, sum(quarantined)::bigint quarantined"
        " from headrace.positions",
    )
    (batches,) = await rows(database, "select sum(received)::bigint received from headrace.batches")
    (quarantine,) = await rows(database, "select count(*) from headrace.quarantine")
    (table,) = await rows(database, "select count(*) from matches")
    overlapping = await rows(
        database,
        "select a.id from headrace.batches a join headrace.batches b on a.feed = b.feed and a.id < b.id"
        " and a.last_sequence >= b.first_sequence",
    )
    assert positions["received"] == batches["received"] == status["ledger"]["received"]
    assert positions["quarantined"] == quarantine["count"] == status["ledger"]["quarantined"]
    assert positions["inserted"] == table["count"]
    assert overlapping == []


async def test_kill_9_in_mid_stream_loses_nothing_and_doubles_nothing(database: str, tmp_path: Path) -> None:
    async with (
        Providers(speed=600, total=EVENTS, audience=1, faults=Faults(poison=POISON)) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        for target in (800, 1500, 2200):
            await daemon.until(_received(target))
            await daemon.kill()
            await daemon.start()
        await _until_equal(daemon, providers, database)


async def test_a_database_that_stops_and_starts_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.url("postgres")
    async with (
        Providers(speed=150, total=EVENTS, audience=1, faults=Faults(poison=POISON)) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        await daemon.until(lambda status: status["ledger"]["loaded"] >= 200)
        before = await daemon.status()
        await asyncio.to_thread(cluster.stop)
        await daemon.until(lambda status: not status["ready"] and status["checks"]["database"] != "ok")
        # The promise is about an outage of 20 s, so this one lasts 20 s.
        await asyncio.sleep(20)
        during = await daemon.status()
        assert (await daemon.get("/livez"))[0] == 200
        assert (await daemon.get("/readyz"))[0] == 503
        assert during["feeds"]["acme.scores"]["state"] == "live"
        assert during["feeds"]["acme.scores"]["messages"] > before["feeds"]["acme.scores"]["messages"]
        assert during["buffer"]["messages"] > 0
        await asyncio.to_thread(cluster.start)
        await _until_equal(daemon, providers, database)
        await daemon.until(lambda status: status["ready"])
        assert (await daemon.get("/readyz"))[0] == 200


async def test_a_provider_that_cuts_connections_leaves_no_hole_in_the_table(database: str, tmp_path: Path) -> None:
    faults = Faults(poison=POISON, drop=0.01)
    async with (
        Providers(speed=150, total=1500, audience=1, faults=faults) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        for cuts in range(4):
            await daemon.until(_heard("acme.scores", 100 * (cuts + 1), after=cuts))
            providers.cut()
        status = await _until_equal(daemon, providers, database)
        assert status["feeds"]["acme.scores"]["reconnects"] >= 4
        assert status["feeds"]["acme.scores"]["gaps"] >= 4
        status = await daemon.until(lambda status: status["feeds"]["acme.scores"]["open_gaps"] == 0)
        query = "select cause, count(*), count(filled_at) filled from headrace.gaps group by cause"
        gaps = {row["cause"]: row for row in await rows(database, query)}
        assert sum(row["count"] for row in gaps.values()) == status["feeds"]["acme.scores"]["gaps"]
        assert all(row["count"] == row["filled"] for row in gaps.values())
        assert gaps["reconnect"]["count"] >= 4
        assert gaps["sequence"]["count"] >= 1
        assert status["feeds"]["acme.fixtures"]["gaps"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_under_load_drains_and_exits_0(number: signal.Signals, database: str, tmp_path: Path) -> None:
    async with (
        Providers(speed=600, total=EVENTS, audience=1, faults=Faults(poison=POISON)) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        await daemon.until(lambda status: status["ledger"]["loaded"] >= 500)
        assert await daemon.stop(number) == 0
        (position,) = await rows(database, "select sum(received)::bigint received from headrace.positions")
        assert position["received"] >= 500
        await daemon.start()
        await _until_equal(daemon, providers, database)


async def test_a_second_signal_ends_at_once_and_keeps_what_the_buffer_holds(cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.url("postgres")
    async with (
        Providers(speed=300, total=1500, audience=1) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        await daemon.until(lambda status: status["ledger"]["loaded"] >= 200)
        await asyncio.to_thread(cluster.stop)
        await daemon.until(lambda status: status["buffer"]["messages"] > 50)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.stop(signal.SIGTERM) == 0
        await asyncio.to_thread(cluster.start)
        await daemon.start()
        await _until_equal(daemon, providers, database)


async def test_a_daemon_that_starts_without_its_database_keeps_what_it_hears_even_when_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    database = cluster.url("postgres")
    await asyncio.to_thread(cluster.stop)
    async with (
        Providers(speed=300, total=1000, audience=1, faults=Faults(poison=POISON)) as providers,
        Daemon(tmp_path, _environ(providers, database)) as daemon,
    ):
        status = await daemon.until(lambda status: status["buffer"]["messages"] > 300)
        assert not status["ready"]
        await daemon.kill()
        await asyncio.to_thread(cluster.start)
        await daemon.start()
        await _until_equal(daemon, providers, database)
        (kept,) = await rows(database, "select received from headrace.positions where feed = 'acme.scores'")
        assert kept["received"] >= 300
