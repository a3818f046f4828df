"""That the compiled path, whole and narrow, and the explaining path come to what a plain reading of the rules says."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from service.config.feeds import MapValue
from service.config.paths import parse_path
from service.config.tables import Column, Table
from service.errors import ConfigError
from service.model import Message
from service.transform.checks import plain
from service.transform.expression import Expression
from service.transform.fetch import word
from service.transform.given import given as given_by_code
from service.transform.kinds import KINDS
from service.transform.numbers import finer_than
from service.transform.texts import CLEANINGS
from service.transform.transform import Mapped, Piece, Transform
from service.transform.violations import Violation
from service.transform.where import Where
from tests.unit.transform.making import RECEIVED_AT, make

NUMBERS = [
    *("0", "-0", "0.0", "1", "-1", "1.0", "1.50", "1e0", "1E+2", "1e-2", "12", "12.5", "99", "0.1", "1.005", "1e400"),
    *("1e-400", "5e-324", "9007199254740993", "1e23", "1.5e15", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775809", "9223372036854775807.0", "12345678901234567890.123456789", "0e400", "1e131072"),
    *("1e-16384", "3.141592653589793238"),
]
COUNTS = [
    *("0", "1767355200", "1767355200123", "1767355200.1234567", "-62135596801", "1767355200123456000", "1767312000"),
    "946684799",
]
WORDS = [
    "",
    " ",
    "a",
    " a  B ",
    "Ab\u00a0c",
    "\u0130",
    "e\u0301",
    "<b>x</b>",
    "x\0",
    "aB12",
    "one",
    "two",
    "true",
    "No",
    "t",
    "2",
]
WRITTEN = ["12", "+5", "1_0", "\u0661", "1e400", "9007199254740993", "NaN", "-inf", "1.50", "99"]
MOMENTS = [
    *("2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.1234567Z"),
    *("2026-01-02 03:04:05+02:00", "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05+0000", "2026-07-02T03:04:05Z"),
    *(
        "2026-03-29T01:30:00",
        "2026-10-25T01:30:00",
        "0001-01-01T00:00:00+01:00",
        "1999-12-31T23:59:59Z",
        "2026-01-02T03:04Z",
    ),
    *("2026-01-02T03:04:05,5Z", "2026-01-02T24:00:00Z", "2026-01-02", "2026-02-29", "1999-12-31", "02.01.2026 03:04"),
    *("02.01.2026", "29.03.2026 01:30", "03:04", "03:04:05.5", "03:04:05Z", "23:59", "24:00", "T03:04:05"),
]
CODED = [
    "00000000-0000-0000-0000-000000000000",
    "0b0c1f2e-8f3c-4a7e-9a44-2f7c6a1b3d5e",
    "0B0C1F2E8F3C4A7E9A442F7C6A1B3D5E",
    "{0b0c}",
    "AAEC",
    "AA==",
    "AAECAwQF",
    "AAE",
]


def written(texts: Sequence[str]) -> list[str]:
    """Write texts as JSON."""
    return [msgspec.json.encode(text).decode() for text in texts]


NESTED = [
    "[]",
    "{}",
    "[1,2.50]",
    '["a"," b "]',
    "[null]",
    '["a",1,true]',
    '[{"a":1.0}]',
    '{"a":{"a":{"a":12}},"a":[1]}',
]
NEAR = {
    **dict.fromkeys(["integer", "float", "decimal"], NUMBERS + written(WRITTEN)),
    **dict.fromkeys(["timestamp", "date", "time"], COUNTS + written(MOMENTS)),
    **dict.fromkeys(["uuid", "bytes"], written(CODED)),
    "text": written(WORDS + WRITTEN) + NUMBERS,
    "boolean": ["0", "1", *written(WORDS)],
    "json": NESTED + NUMBERS,
}
"""Values that a type may well take, as JSON writes them, so that no digit is lost before it is sent."""
SOME = [
    "null",
    "12",
    "12.50",
    "-1",
    "true",
    '""',
    '"one"',
    '"12"',
    '" a "',
    '"x"',
    "[1,2]",
    '{"a":{"a":"x","c":"one"}}',
]
EACH = ["true", "false", "null", *dict.fromkeys(value for values in NEAR.values() for value in values), *NESTED]


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Give an object of some of three fields, one of which may come twice."""
    names = ["a", "b", "c", "a"][: draw(st.integers(0, 4))]
    fields = ",".join(f'"{name}":{draw(values)}' for name in names)
    return f"{{{fields}}}"


def records(kinds: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Give records, with values that columns of these types may take, and others."""
    near = st.sampled_from([value for kind in kinds for value in NEAR[kind]])
    values = near | near | st.sampled_from(EACH)
    inner = values | objects(values) | st.lists(values, max_size=3).map(lambda found: f"[{','.join(found)}]")
    return st.lists(objects(values) | objects(inner) | objects(objects(inner)) | inner, min_size=1, max_size=6)


OWN: dict[str, dict[str, Sequence[Any]]] = {
    "text": {
        "min": ["B"], "max": ["b"], "min_length": [0, 2], "max_length": [3], "pattern": [r"\d+|[A-Za-z ]+"],
        "values": [["a", "12", "one"]], "default": ["a", "12"], "trim": [False],
        "clean": [*([name] for name in CLEANINGS), ["strip_tags", "collapse", "upper"], ["nfc", "title"]],
    },
    "integer": {"min": [0], "max": [100, 2**53], "values": [[1, 12]], "default": [0, 12]},
    "float": {"min": [0.5], "max": [100], "values": [[1, 12.5]], "default": [0, 12.5]},
    "decimal": {"min": [0.5, "1.5"], "max": [100], "values": [[1, 12.5]], "scale": [0, 2], "default": [1, "12.5"]},
    "boolean": {"values": [[True]], "default": [True, False]},
    "timestamp": {
        "format": ["iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%S%z",
                   ["epoch_ms", "iso8601"], ["iso8601", "epoch_s", "%d.%m.%Y"]],
        "timezone": ["Europe/London", "UTC", "Asia/Kolkata"],
        "min": ["2000-01-01T00:00:00Z"], "max": ["2026-06-01T00:00:00Z"], "default": ["2020-01-01T00:00:00Z"],
    },
    "date": {
        "format": ["iso8601", "epoch_s", "%d.%m.%Y", ["%d.%m.%Y", "iso8601"]],
        "min": ["2000-01-01"], "default": ["2020-01-01"],
    },
    "time": {"format": ["iso8601", "%H:%M", ["%H:%M", "iso8601"]], "max": ["12:00"], "default": ["00:00"]},
    "uuid": {"values": [["0b0c1f2e-8f3c-4a7e-9a44-2f7c6a1b3d5e"]], "default": ["0b0c1f2e-8f3c-4a7e-9a44-2f7c6a1b3d5e"]},
    "json": {"default": [1, [1.5], {"a": None}]},
    "bytes": {"min_length": [2], "max_length": [2], "default": ["AAEC"]},
}  # fmt: skip
"""The options of each type, beyond those of every type, and what they may be."""
PATHS = [
    "a",
    "b",
    "c",
    "a.b",
    "b[0]",
    "c.a[1].b",
    "a.a.a",
    "$record",
    "$record.a",
    "$received_at",
    "$params.p",
    "$feed",
]
EXPRESSIONS = ["a", "b.a", "a + a", "a == 'x' ? b : c", "size(c)", "[a, b]", "{'k': a}", "has(record.a)", "1.5", "b[0]"]
CONDITIONS = [
    *("a == 12", "a != null", "a in ['a', '12']", "!b.a || c == null", "a < 12.5 && b > 0", "a == true", "size(a) > 1"),
    *("has(record.a)", "b.a.c == 'one'", "a >= 'a'", "(a == 12 || b == 12) && !(c == 'a')", "c.exists(x, x == 'x')"),
    *("b != 'x'", "c == null || c != 1"),
]
OTHERS = ["null", "[]", "12", '"a"', '{"a":true}', '{"a":false,"b":[1]}']
COMBINED = [
    *(f'{{"a":{a},"b":{b},"c":{c}}}' for a, b in product(SOME, OTHERS) for c in ('["x"]', "1", '{"a":[1,{"b":"x"}]}')),
    *(f'{{"{name}":{value}}}' for name, value in product("ab", SOME)),
    *SOME,
]
"""Records that expressions and paths may well find something in."""
MOSTLY = st.sampled_from([True, True, True, False])


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    """Give a column with some of the options that its type has."""
    kind = draw(st.sampled_from(sorted(OWN)))
    column: dict[str, Any] = {"type": kind, "null": draw(MOSTLY)}
    column["on_invalid"] = draw(st.sampled_from([None, None, "quarantine", "null", "null", "drop"]))
    names = draw(st.lists(st.sampled_from(sorted(OWN[kind])), max_size=3, unique=True))
    column |= {name: draw(st.sampled_from(OWN[kind][name])) for name in names}
    if not draw(MOSTLY):
        column = {**column, "list": True, "default": None, "max_length": draw(st.sampled_from([None, 2]))}
    return column


@st.composite
def sources(draw: st.DrawFn) -> Any:
    """Give what a column comes from."""
    paths = st.sampled_from(PATHS)
    match draw(st.sampled_from(["path", "path", "paths", "values", "expr", "const"])):
        case "path":
            return draw(paths)
        case "paths":
            return {"from": draw(st.lists(paths, min_size=1, max_size=3))}
        case "values":
            otherwise = {"otherwise": draw(st.sampled_from([None, "12"]))} if draw(st.booleans()) else {}
            return {"from": draw(paths), "values": {"one": "12", "true": "1", "12": None, "a": "12"}, **otherwise}
        case "expr":
            return {"expr": draw(st.sampled_from(EXPRESSIONS))}
        case _:
            return {"const": "12"}


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    """Give a transform of some columns, with or without a condition."""
    made = {f"k{number}": draw(columns()) for number in range(draw(st.integers(1, 3)))}
    table = {"on_invalid": draw(st.sampled_from(["quarantine", "quarantine", "null", "drop"]))}
    feed: dict[str, Any] = {} if draw(MOSTLY) else {"where": draw(st.sampled_from(CONDITIONS))}
    try:
        return make(made, {name: draw(sources()) for name in made}, table, **feed)
    except ConfigError:  # what the configuration itself holds does not fit
        reject()


class Plain:
    """Says of one record what a plain reading of the rules says: its row, why it is refused, or that it is left out.

    Args:
        transform: whose configuration is read.
    """

    def __init__(self, transform: Transform) -> None:
        (self._route,) = transform.routes.all
        self._table: Table = self._route._table
        self._where: Where | None = transform.routes._where
        self._kinds = transform.routes.kinds

    def outcome(self, record: Any, message: Message) -> str:
        if type(record) not in self._kinds:
            return "record: not an object"
        try:
            if self._where is not None and not self._where(record):
                return "left out"
        except Violation:
            return "where: not computable"
        row, reasons = [], []
        for name, column in self._table.columns.items():
            source, on_invalid = self._route.map[name], column.on_invalid or self._table.on_invalid
            default = self._default(column, source)
            try:
                row.append(settled(column, source, default, record, message))
            except Violation as violation:
                if on_invalid == "drop":
                    return "left out"
                row.append(default)
                if on_invalid != "null" or (default is None and not column.null):
                    reasons.append(f"{name}: {violation.rule}")
        return reasons[0] if reasons else repr(tuple(row))

    @staticmethod
    def _default(column: Column, source: MapValue) -> Any:
        written = source.default if source.default is not None else column.default
        return None if written is None else checked(plain(column), written)


def settled(column: Column, source: MapValue, default: Any, record: Any, message: Message) -> Any:
    """Give what is stored of a record in a column, or raise the Violation."""
    if "const" in source.model_fields_set:
        value = checked(plain(column), source.const)
    elif source.expr is not None:
        value = given_by_code(Expression(source.expr, "expr").value(record), in_order=False)
        value = checked(column, value)
    else:
        found = (fetched(path, record, message) for path in source.from_)
        value = next((each for each in found if each is not None), None)
        if column.type == "json" and isinstance(value, str) and not value.strip() and has_texts_only(message):
            value = None
        value = checked(column, value) if source.values is None else translated(column, source, value)
    value = default if value is None else value
    if value is None and not column.null:
        raise Violation(value, "required", "", "")
    return value


def has_texts_only(message: Message) -> bool:
    """Say whether a message is of a format without types."""
    return str((message.meta or {}).get("content_type", "")).endswith(("csv", "xml"))


def fetched(written: str, record: Any, message: Message) -> Any:
    """Walk a path."""
    first, *rest = parse_path(written)
    envelope: dict[Any, Any] = {
        "$record": record,
        "$received_at": datetime.fromtimestamp(message.received_at, UTC),
        "$params": (message.meta or {}).get("params"),
        "$feed": "acme.scores",
    }
    value = envelope.get(first, record)
    for step in rest if first in envelope else (first, *rest):
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def translated(column: Column, source: MapValue, value: Any) -> Any:
    """Give our word for the provider's."""
    if value is None or word(value) == "":
        return None
    words: dict[str, Any] = source.values or {}
    if word(value) not in words and "otherwise" not in source.model_fields_set:
        raise Violation(value, "values", "", "")
    return checked(plain(column), words.get(word(value), source.otherwise))


def checked(column: Column, value: Any) -> Any:
    """Convert, clean and check a value."""
    if column.list:
        return checked_list(column, value)
    stored = None if value is None else KINDS[column.type].convert(column)(value)
    if column.type == "text" and stored is not None:
        for name in column.clean:
            stored = CLEANINGS[name](stored)
        stored = (stored.strip() if column.trim else stored) or None
    if stored is None:
        return None

    def ours(written: Any) -> Any:
        return KINDS[column.type].convert(plain(column))(written)

    rules = {
        "min": column.min is not None and not stored >= ours(column.min),
        "max": column.max is not None and not stored <= ours(column.max),
        "values": column.values is not None and stored not in [ours(each) for each in column.values],
        "scale": column.scale is not None and isinstance(stored, Decimal) and finer_than(stored, column.scale),
        "pattern": column.pattern is not None and re.fullmatch(column.pattern, stored) is None,
    }
    for rule in (rule for rule, is_broken in rules.items() if is_broken):
        raise Violation(value, rule, "", "")
    if column.type in {"text", "bytes"}:
        bounded(column, stored)
    return stored


def checked_list(column: Column, value: Any) -> Any:
    """Check each item, and how many there are."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    one = column.model_copy(update={"list": False, "min_length": None, "max_length": None})
    items = [checked(one, item) for item in value] if isinstance(value, list) else [None]
    if None in items:
        raise Violation(value, "list", "", "")
    bounded(column, items)
    return items


def bounded(column: Column, value: Any) -> None:
    """Refuse what is too short or too long."""
    if column.min_length is not None and len(value) < column.min_length:
        raise Violation(value, "min_length", "", "")
    if column.max_length is not None and len(value) > column.max_length:
        raise Violation(value, "max_length", "", "")


def outcome(mapped: Mapped) -> str:
    """Give what became of one record, as ``Plain`` says it."""
    assert len(mapped.rows) + len(mapped.refusals) + mapped.filtered == 1
    if mapped.refusals:
        return mapped.refusals[0].reason
    return repr(mapped.rows[0]) if mapped.rows else "left out"


def listed(records: Sequence[str]) -> Message:
    """Make a message of a list of records."""
    return Message(f"[{','.join(records)}]".encode(), RECEIVED_AT, meta={"params": {"p": "12"}})


def agree(transform: Transform, sent: Message) -> Counter[str]:
    """Assert that all paths agree on the records of a message; count what became of them, rows under an empty word."""
    whole, narrow, plainly = transform.decode(sent), transform.read(sent), Plain(transform)
    said = [plainly.outcome(record, sent) for record in whole]
    for read in (whole, narrow):
        assert [outcome(transform.map([Piece(sent, [record], at)])) for at, record in enumerate(read)] == said
        mapped = transform.map([Piece(sent, read)])
        assert [repr(row) for row in mapped.rows] == [each for each in said if each.startswith("(")]
        assert [each.reason for each in mapped.refusals] == [each for each in said if each[0] != "(" and ": " in each]
        assert mapped.filtered == said.count("left out")
    (route,) = transform.routes.all
    for record, expected in zip(whole, said, strict=True):
        verdict = transform.attempt(sent, record)
        assert (verdict.reason or (repr(verdict.row) if verdict.row is not None else "left out")) == expected
        if expected.startswith("("):
            assert repr(route.judge(record, sent).row) == expected
    return Counter("" if each.startswith("(") else each.rpartition(": ")[2] for each in said)


@pytest.mark.parametrize("kind", sorted(OWN))
def test_all_paths_agree_on_each_value_for_each_option_of_a_type(kind: str) -> None:
    choices: list[dict[str, Any]] = [{}, *({name: each} for name, found in OWN[kind].items() for each in found)]
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"on_invalid": "null"},
        {"on_invalid": "drop", "null": False},
        {"list": True},
    )
    sent = listed([f'{{"a":{value}}}' for value in EACH] + [f'{{"a":[{value}]}}' for value in NEAR[kind]])
    seen = Counter[str]()
    for options, way in product(choices, ways):
        if "list" not in way or not {"default", "min_length"} & options.keys():
            seen += agree(make({"k": {"type": kind, "null": True, **options, **way}}, {"k": "a"}), sent)
    checks = {"min", "max", "values", "scale", "pattern", "min_length", "max_length"}
    assert seen.keys() >= {"", "list", "left out"} | (checks & OWN[kind].keys())


@pytest.mark.parametrize("kind", ["text", "decimal", "boolean", "json"])
def test_all_paths_agree_wherever_a_value_comes_from(kind: str) -> None:
    sources = [*PATHS, {"from": ["c", "a", "b"]}, {"const": "1"}, *({"expr": each} for each in EXPRESSIONS)]
    words = {"values": {"one": "1", "a": "1", "true": "1", "12": None}}
    sources += [{"from": path, **words, **rest} for path in ("a", "$record.a") for rest in ({}, {"otherwise": "1"})]
    seen = Counter[str]()
    for source in sources:
        seen += agree(make({"k": {"type": kind}}, {"k": source}), listed(COMBINED))
    assert seen.keys() >= {"", "required", "expr", "values"}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_all_paths_agree_on_what_a_condition_leaves_out(condition: str) -> None:
    seen = agree(make({"k": {"type": "json", "null": True}}, {"k": "b"}, where=condition), listed(COMBINED))
    assert seen.keys() >= {"", "left out"}


@pytest.mark.parametrize("kind", ["csv", "xml", "ndjson", "auto"])
def test_all_paths_agree_whatever_the_format(kind: str) -> None:
    texts = [text for text in [*WORDS, *WRITTEN, *MOMENTS, *CODED] if "\0" not in text and "<" not in text]
    elements = "".join(f'<i b="{text}"><a>x</a><c>{text}</c></i>' for text in texts)
    bodies = {
        "csv": "a,b\n" + "".join(f'x,"{text}"\n' for text in texts),
        "xml": f"<r>{elements}</r>",
        "ndjson": "".join(f'{{"a":"x","b":{value}}}\n' for value in EACH),
    }
    media = "text/csv" if kind == "auto" else f"application/{kind}"
    sent = Message(bodies[media.rpartition("/")[2]].encode(), RECEIVED_AT, meta={"content_type": media})
    for type_ in sorted(OWN):
        columns: Any = {"a": "text", "b": {"type": type_, "null": True}, "c": {"type": type_, "null": True}}
        mapping = {"a": "a", "b": '"@b"' if kind == "xml" else "b", "c": "c"}
        found = agree(make(columns, mapping, format=kind, records="r/i" if kind == "xml" else None), sent)
        assert found[""]


@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(transforms(), st.data())
def test_the_compiled_path_and_the_explaining_path_come_to_what_the_rules_say(
    transform: Transform, data: st.DataObject
) -> None:
    kinds = [column.column.type for column in transform.routes.all[0].columns]
    agree(transform, listed(data.draw(records(kinds))))
