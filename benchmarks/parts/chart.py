"""The chart: bars of rows per second, as an SVG that reads on light and on dark pages."""

from collections.abc import Mapping
from html import escape

WIDTH, LABEL, BAR, STEP = 760, 200, 16, 24
OURS, OTHERS, INK = "#2f81f7", "#8b949e", "#6e7781"
"""Greys and a blue with enough contrast on white and on black."""


def bars(groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Draw groups of bars; each group has a scale of its own, from zero to its largest figure."""
    parts: list[str] = []
    top = 0
    for title, figures in groups.items():
        parts.append(_text(0, top + 16, f"{title} ({unit})", "bold"))
        top += STEP + 4
        most = max(figures.values(), default=1.0)
        for label, value in figures.items():
            parts += _bar(top, label, value, value / most)
            top += STEP
        top += STEP // 2
    style = f"font: 13px system-ui, sans-serif; fill: {INK}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" style="{style}">'
    return "\n".join([head, f"<title>{escape(', '.join(groups))}: {escape(unit)}</title>", *parts, "</svg>", ""])


def _bar(top: int, label: str, value: float, part: float) -> list[str]:
    width = max(1, round(part * (WIDTH - LABEL - 80)))
    colour = OURS if label.startswith("headrace") else OTHERS
    return [
        _text(0, top + 13, label),
        f'<rect x="{LABEL}" y="{top}" width="{width}" height="{BAR}" rx="2" fill="{colour}"/>',
        _text(LABEL + width + 8, top + 13, f"{value:,.0f}"),
    ]


def _text(left: int, base: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{left}" y="{base}" font-weight="{weight}">{escape(text)}</text>'
