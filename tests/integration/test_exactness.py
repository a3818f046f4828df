"""Exactness, from the bytes of a message to Postgres and back: stored as sent, or refused with a reason."""

import base64
import json
import math
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from service.config.feeds import FeedSettings
from service.errors import FormatError
from service.model import Message
from service.store.store import Store
from service.transform.transform import Piece, Transform
from tests.store_feed import Feed, rows_of, store_of, table

pytestmark = pytest.mark.usefixtures("either_way")

KINDS = ("text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "json", "bytes")
COLUMNS: dict[str, Any] = {kind: {"type": kind, "null": True} for kind in KINDS}
COLUMNS |= {
    "local": {"type": "timestamp", "timezone": "Europe/London", "null": True},
    "epoch": {"type": "timestamp", "format": "epoch_ms", "null": True},
    "integers": {"type": "integer", "list": True, "null": True},
    "texts": {"type": "text", "list": True, "null": True},
    "moments": {"type": "timestamp", "list": True, "null": True},
    "cents": {"type": "decimal", "scale": 2, "null": True},
}
TABLE = table("id", {"id": "integer", **COLUMNS})
TRANSFORM = Transform(
    "acme.all", FeedSettings.model_validate({"into": "t", "map": {name: name for name in TABLE.columns}}), {"t": TABLE}
)
NAMES = list(TABLE.columns)
LONDON = ZoneInfo("Europe/London")
REFUSED = object()
"""What is expected of a value that cannot be stored exactly."""

Case = tuple[str, Any]
"""The literal JSON of a value, and what is to be found in the database."""


def quoted(text: str) -> str:
    return json.dumps(text)


def among(*cases: Case) -> SearchStrategy[Case]:
    return st.sampled_from(cases)


def refused(*literals: str) -> SearchStrategy[Case]:
    return st.sampled_from([(literal, REFUSED) for literal in literals])


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
TEXT = WORDS.map(lambda text: (quoted(text), text.strip() or None))
BIGINT = st.integers(-(2**63), 2**63 - 1)
INTEGER = BIGINT.map(lambda n: (str(n), n)) | BIGINT.map(lambda n: (quoted(f" {n} "), n))
INTEGER |= st.integers(-(10**6), 10**6).map(lambda n: (f"{n}.000", n))
DIGITS = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: -300 < d.adjusted() < 300)
MOMENTS = st.datetimes(timezones=st.integers(-1439, 1439).map(lambda n: timezone(timedelta(minutes=n))))
STAMP = MOMENTS.map(lambda moment: (quoted(moment.isoformat()), in_utc(moment)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | DIGITS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def in_utc(moment: datetime) -> Any:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return REFUSED


def in_london(moment: datetime) -> Any:
    """Place a local time by going to UTC and back, which needs no rule about clocks."""
    found = set()
    for fold in (0, 1):
        try:
            utc = moment.replace(tzinfo=LONDON, fold=fold).astimezone(UTC)
        except OverflowError:
            return REFUSED
        if utc.astimezone(LONDON).replace(tzinfo=None) == moment:
            found.add(utc)
    return found.pop() if len(found) == 1 else REFUSED


def written(value: Any) -> str:
    """Write JSON with the digits of decimals."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{written(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(map(written, value)) + "]" if isinstance(value, list) else json.dumps(value)


def cents(number: int) -> Case:
    return f"{Decimal(number).scaleb(-3)}", Decimal(number).scaleb(-3) if number % 10 == 0 else REFUSED


CLOCKS = st.sampled_from(["2026-03-29T01:00", "2026-10-25T01:00", "2026-07-01T00:00"]).map(datetime.fromisoformat)
LOCAL = st.tuples(CLOCKS, st.integers(-120, 120)).map(lambda pair: pair[0] + timedelta(minutes=pair[1]))
VALUES: dict[str, SearchStrategy[Case]] = {
    "text": TEXT
    | DIGITS.map(lambda d: (str(d), format(d, "f")))
    | refused('"a\\u0000"', "true", "[1]", "{}", "1e5000"),
    "integer": INTEGER
    | among(('""', None), ("null", None), ("-0", 0), ("1e3", 1000))
    | refused(str(2**63), str(-(2**63) - 1), '"12.5"', "0.1", "1e400", '"1_000"', "true", '"x"', "[]", '"٣"'),
    "float": st.floats(allow_nan=False, allow_infinity=False).map(lambda f: (repr(f), f))
    | among(('"NaN"', math.nan), ('"-Infinity"', -math.inf), ("0.1000000000000000055511151231257827", 0.1))
    | refused("1e400", "1e-400", "true", '"1,5"'),
    "decimal": DIGITS.map(lambda d: (str(d), d))
    | among(("1e131071", Decimal("1e131071")), ("1e-16383", Decimal("1e-16383")), ("0e5", Decimal(0)))
    | refused("1e131072", "1e-16384", '"NaN"', '"Infinity"', "false"),
    "boolean": among(("true", True), ('"f"', False), ('" ON "', True), ("0", False), ('"1"', True), ('" "', None))
    | refused("2", "1.0", '"maybe"', "[]"),
    "timestamp": STAMP
    | among(('"2026-01-02T03:04:05.1234560Z"', datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)))
    | refused('"2026-01-02T03:04:05"', '"2026-01-02T03:04:05.1234567Z"', '"0001-01-01T00:00:00+01:00"', "1767355200"),
    "date": st.dates().map(lambda day: (quoted(day.isoformat()), day))
    | among(('"0001-01-01"', date(1, 1, 1)), ('"9999-12-31"', date(9999, 12, 31)))
    | refused('"2026-02-29"', '"2026-01-02T00:00:01"', "20260102"),
    "time": st.times().map(lambda clock: (quoted(clock.isoformat()), clock))
    | among(('"23:59:59.999999"', time(23, 59, 59, 999999)))
    | refused('"24:00:01"', '"12:00:00Z"', '"12:00:00.1234567"'),
    "uuid": st.uuids().map(lambda uuid: (quoted(str(uuid)), uuid))
    | st.uuids().map(lambda uuid: (quoted(uuid.hex.upper()), uuid))
    | refused('"123e4567"', "5"),
    "json": JSON.filter(lambda value: value is not None).map(lambda value: (written(value), value))
    | among(('{"a": 1, "a": 2}', {"a": 2}), ("[" * 500 + "]" * 500, json.loads("[" * 500 + "]" * 500)))
    | refused('{"a\\u0000": 1}', '["\\u0000"]', "[1e131072]"),
    "bytes": st.binary(max_size=40).map(lambda data: (quoted(base64.b64encode(data).decode()), data or None))
    | refused('"a"', '"ä==="', "1"),
    "local": LOCAL.map(lambda moment: (quoted(moment.isoformat()), in_london(moment))),
    "epoch": st.integers(-62_135_596_800_000, 253_402_300_799_999).map(
        lambda ms: (str(ms), datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
    )
    | refused("253402300800000", "0.0001", '"2026-01-01T00:00:00Z"'),
    "integers": st.lists(BIGINT, max_size=4).map(lambda items: (json.dumps(items), items))
    | refused("[1, null]", "[1, 0.5]", "1"),
    "texts": st.lists(WORDS.filter(str.strip), max_size=4).map(
        lambda items: (json.dumps(items), [*map(str.strip, items)])
    )
    | refused('["a", ""]', '["\\u0000"]'),
    "moments": st.lists(STAMP.filter(lambda case: case[1] is not REFUSED), max_size=3).map(
        lambda items: (f"[{','.join(literal for literal, _ in items)}]", [moment for _, moment in items])
    ),
    "cents": st.integers(-(10**9), 10**9).map(cents),
}
CASES = st.lists(
    st.sampled_from(list(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name])), min_size=1, max_size=25
)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with store_of(database, {"t": TABLE}) as opened:
        await opened.prepare()
        yield opened


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    return isinstance(found, type(wanted)) and bool(found == wanted)


def test_every_column_has_its_values() -> None:
    assert VALUES.keys() == COLUMNS.keys()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CASES)
@example([("local", ('"2026-10-25T01:30:00"', REFUSED)), ("local", ('"2026-03-29T01:30:00"', REFUSED))])
async def test_what_is_stored_is_what_was_sent_or_the_record_is_refused_with_a_reason(
    store: Store, database: str, cases: list[tuple[str, Case]]
) -> None:
    await rows_of(database, "TRUNCATE t, headrace.positions")
    records = [f'{{"id": {number}, "{name}": {literal}}}' for number, (name, (literal, _)) in enumerate(cases)]
    sent = Message(f"[{','.join(records)}]".encode(), 0.0)
    mapped = TRANSFORM.map([Piece(sent, TRANSFORM.read(sent))])
    await Feed(store).load(mapped.rows, "t")
    stored = {row[0]: row for row in await rows_of(database, "SELECT * FROM t")}
    refusals = {refusal.index: refusal for refusal in mapped.refusals}
    assert len(stored) + len(refusals) == len(cases)
    for number, (name, (literal, wanted)) in enumerate(cases):
        if wanted is REFUSED:
            assert refusals[number].reason.startswith(f"{name}: "), literal
            assert refusals[number].detail
            continue
        assert number not in refusals, (literal, refusals[number].detail)
        found = stored[number][NAMES.index(name)]
        if name == "json":
            found = json.loads(found, parse_float=Decimal)
            assert found == wanted
        else:
            assert same(found, wanted), (name, literal, found)


@pytest.mark.parametrize("body", [b'[{"id": 1, "text": "\\ud800"}]', b"[" * 5000 + b"]" * 5000, b'[{"id": NaN}]'])
def test_what_is_no_json_is_refused_whole(body: bytes) -> None:
    sent = Message(body, 0.0)
    with pytest.raises(FormatError):
        TRANSFORM.read(sent)
