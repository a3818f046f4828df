"""dlt's REST source into its Postgres destination, merging by key; runs in an environment of its own.

Settings that make it fast here: orjson is installed, telemetry and state sync are off, records are flattened to the
table's columns as they are extracted (else the lineup becomes a child table), types are declared. The merge strategy is
the second argument.
"""

import sys
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found]  # in its own environment
from dlt.common.runtime import run_context  # type: ignore[import-not-found]  # in its own environment
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found]  # in its own environment

from benchmarks.peers.mapping import COLUMNS, row

TYPES = {
    "provider": "text", "match_id": "text", "kickoff": "timestamp", "home": "text", "away": "text", "status": "text",
    "home_score": "bigint", "away_score": "bigint", "odds_home": "double", "odds_away": "double", "minute": "bigint",
    "updated_at": "timestamp",
}  # fmt: skip


def flat(message: dict[str, Any]) -> dict[str, Any]:
    """Map one record."""
    return dict(zip(COLUMNS, row(message), strict=True))


def main(url: str, address: str, strategy: str) -> None:
    """Load everything once."""
    run_context.global_dir = lambda: str(Path("state").absolute())  # for root it is /var/dlt, whatever is configured
    source = rest_api_source(
        {
            "client": {"base_url": address.rpartition("/")[0], "paginator": "header_link"},
            "resources": [
                {
                    "name": "matches",
                    "endpoint": {"path": address, "data_selector": "matches"},
                    "primary_key": ["provider", "match_id"],
                    "write_disposition": {"disposition": "merge", "strategy": strategy},
                    "columns": {name: {"data_type": kind} for name, kind in TYPES.items()},
                    "processing_steps": [{"map": flat}],
                }
            ],
        }
    )
    pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(url), dataset_name="dlt")
    pipeline.run(source)


main(*sys.argv[1:])
