"""Results: tables as they are printed, kept in a JSON file, and written into the README."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).parents[1]
RESULTS = FOLDER / "results.json"
README = FOLDER / "README.md"


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        name: marks its place in the README.
        columns: the heads; all but the first are aligned to the right.
        rows: as they are shown.
        about: one sentence: sizes, rounds, what is counted.
        notes: what else must be said, such as a contestant that was left out, and why.
        series: figures for the chart, by label.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str
    notes: Sequence[str] = ()
    series: dict[str, float] = field(default_factory=dict)

    def markdown(self) -> str:
        """Give the table with what is said about it."""
        rule = " | ".join(["---", *["---:"] * (len(self.columns) - 1)])
        rows = [" | ".join(row) for row in self.rows]
        lines = [f"| {line} |" for line in (" | ".join(self.columns), rule, *rows)]
        return "\n".join([self.about, "", *lines, *(f"\n{note}" for note in self.notes)])


def machine() -> dict[str, Any]:
    """Say on what and when the figures were taken."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "taken": datetime.now(UTC).date().isoformat(),
    }


def keep(section: Section, *, quick: bool) -> None:
    """Print a table and put it, with the machine, into the results file; others that are there stay."""
    print(f"\n## {section.name}\n{section.markdown()}", flush=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[section.name] = {**asdict(section), "machine": machine(), "quick": quick}
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def kept() -> dict[str, dict[str, Any]]:
    """Give the results file."""
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def write_readme(results: dict[str, dict[str, Any]]) -> None:
    """Write each table into its place in the README: between ``<!-- NAME -->`` and ``<!-- end -->``."""
    text = README.read_text()
    for name, result in results.items():
        facts = {part: result[part] for part in ("columns", "rows", "about", "notes")}
        table = Section(name=name, **facts).markdown()
        block = f"<!-- {name} -->\n{table}\n\n{_footing(result)}\n<!-- end -->"
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = before + block + rest.partition("<!-- end -->")[2] if mark else text
    README.write_text(text)


def _footing(result: dict[str, Any]) -> str:
    at = result["machine"]
    sizes = "quick sizes" if result["quick"] else "full sizes"
    return (
        f"<sub>{at['taken']}, {sizes}; {at['cpu']}, {at['cores']} cores, {at['memory_gib']} GiB, {at['system']},"
        f" {at['python']}</sub>"
    )
