"""Plain SQL for tests, past everything that is tested."""

from typing import Any

import asyncpg


async def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own; one text may hold several."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Run a query; give its rows."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()
