"""Every benchmark, one after the other; then the tables and the chart of the README.

python -m benchmarks.everything [--quick] [--only-write]
"""

import argparse
import asyncio
import sys
import traceback

from benchmarks import growth, latency, load, overload, poison, receive, rest
from benchmarks.parts.chart import bars
from benchmarks.parts.report import FOLDER, kept, write_readme
from benchmarks.parts.script import measured

ALL = {
    "receive": receive.measure,
    "load": load.measure,
    "rest": rest.measure,
    "latency": latency.measure,
    "growth": growth.measure,
    "overload": overload.measure,
    "poison": poison.measure,
}
CHARTED = {"load": "WebSocket to rows", "rest-json": "REST pages of JSON to rows", "rest-csv": "CSV over HTTP to rows"}


def write() -> None:
    """Write what the results file holds into the README and the chart."""
    results = kept()
    groups = {title: results[name]["series"] for name, title in CHARTED.items() if name in results}
    (FOLDER / "chart.svg").write_text(bars(groups, "rows per second"))
    write_readme(results)


def main() -> int:
    """Run; a benchmark that fails does not take the others with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: some minutes in all")
    parser.add_argument("--only-write", action="store_true", help="measure nothing; write what is in results.json")
    options = parser.parse_args()
    failed = []
    for name, measure in ({} if options.only_write else ALL).items():
        try:
            asyncio.run(measured(measure, quick=options.quick))
        except Exception:  # noqa: BLE001  whatever it was, the others are still to be measured
            traceback.print_exc()
            failed.append(name)
    write()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
