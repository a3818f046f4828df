import pytest

from service.config.document import parse
from service.config.report import Report
from service.config.tablecheck import check_tables, columns_of


def check(table: str) -> list[tuple[str, str, str | None]]:
    document = parse(f"tables: {{t: {table}}}")
    report = Report("config.yaml", document)
    check_tables(document.data, report)
    return [(problem.code, problem.path.removeprefix("tables.t."), problem.suggestion) for problem in report.problems()]


def check_column(column: str) -> list[tuple[str, str]]:
    found = check(f"{{key: a, columns: {{a: text, c: {column}}}}}")
    return [(code, path.removeprefix("columns.c.")) for code, path, _suggestion in found]


def test_key_version_and_indexes_name_columns() -> None:
    assert check("{key: [idd, b], version: c, indexes: [[id], [id, nope]], columns: {id: text, b: text, x: text}}") == [
        ("unknown-column", "key[0]", "id"),
        ("unknown-column", "version", None),
        ("unknown-column", "indexes[1][1]", None),
    ]


def test_a_key_may_be_one_name() -> None:
    assert check("{key: ide, columns: {id: text}}") == [("unknown-column", "key", "id")]


def test_a_key_column_may_not_be_null_nor_come_twice() -> None:
    assert check("{key: [a, b, b], columns: {a: {type: text, null: true}, b: text}}") == [
        ("nullable-key", "key[0]", None),
        ("repeated-column", "key[2]", None),
    ]


@pytest.mark.parametrize("column", ["json", "{type: text, list: true}"])
def test_a_key_column_holds_a_single_value(column: str) -> None:
    assert check(f"{{key: [a, k], columns: {{a: text, k: {column}}}}}") == [("unfit-key", "key[1]", None)]


def test_a_table_may_not_be_called_as_on_conflict_calls_the_new_row() -> None:
    report = Report("config.yaml", document := parse("tables: {excluded: {key: a, columns: {a: text}}}"))
    check_tables(document.data, report)
    assert [(problem.code, problem.path) for problem in report.problems()] == [("wrong-name", "tables.excluded")]


def test_the_names_of_postgres_own_columns_are_taken() -> None:
    assert check("{key: a, columns: {a: text, xmax: integer}}") == [("wrong-name", "columns.xmax", None)]


@pytest.mark.parametrize("column", ["json", "boolean", "bytes", "{type: integer, list: true}"])
def test_a_version_must_have_an_order(column: str) -> None:
    assert check(f"{{key: a, version: v, columns: {{a: text, v: {column}}}}}") == [
        ("unordered-version", "version", None)
    ]


def test_a_name_that_postgres_would_cut_is_refused() -> None:
    assert check(f"{{key: a, columns: {{a: text, {'é' * 32}: text}}}}") == [("wrong-name", f"columns.{'é' * 32}", None)]


@pytest.mark.parametrize(
    "column",
    [
        "{type: integer, min: 0, max: 0}",
        "{type: decimal, min: '0.1', max: 1.5}",
        "{type: timestamp, min: 2026-01-01T00:00:00Z, format: [iso8601, epoch_ms, '%d.%m.%Y %H:%M']}",
        "{type: timestamp, min: 2026-01-01, timezone: Europe/London}",
        "{type: date, max: 2026-01-01, format: '%d/%m/%Y'}",
        "{type: text, pattern: '[a-z]+', min_length: 1, max_length: 1, values: [a, 1], clean: [lower], default: a}",
        "{type: integer, list: true, min_length: 1, default: [1, 2]}",
        "{type: boolean, default: false}",
        "{type: json, default: {a: [1, null]}}",
    ],
)
def test_rules_that_fit_their_type_pass(column: str) -> None:
    assert check_column(column) == []


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("{type: integer, min: 1.5}", ("misfit", "min")),
        ("{type: timestamp, max: 2026-01-01T00:00:00}", ("misfit", "max")),
        ("{type: integer, min: 2, max: 1}", ("empty-range", "max")),
        ("{type: text, min_length: 2, max_length: 1}", ("empty-range", "max_length")),
        ("{type: json, min: 1}", ("option-of-other-type", "min")),
        ("{type: integer, list: true, max: 1}", ("option-of-other-type", "max")),
        ("{type: integer, pattern: x}", ("option-of-other-type", "pattern")),
        ("{type: integer, clean: [lower]}", ("option-of-other-type", "clean")),
        ("{type: integer, max_length: 3}", ("option-of-other-type", "max_length")),
        ("{type: text, timezone: UTC}", ("option-of-other-type", "timezone")),
        ("{type: text, format: epoch_s}", ("option-of-other-type", "format")),
        ("{type: text, pattern: '(a'}", ("wrong-pattern", "pattern")),
        ("{type: text, pattern: 'a{99999999999}'}", ("wrong-pattern", "pattern")),
        ("{type: timestamp, format: epoch}", ("wrong-format", "format")),
        ("{type: timestamp, format: [iso8601, '%Q']}", ("wrong-format", "format[1]")),
        ("{type: timestamp, format: '%Y%'}", ("wrong-format", "format")),
        ("{type: date, format: epoch_s}", ("wrong-format", "format")),
        ("{type: timestamp, timezone: Europe}", ("unknown-timezone", "timezone")),
        ("{type: timestamp, timezone: ../etc/passwd}", ("unknown-timezone", "timezone")),
        ("{type: integer, values: [1, x]}", ("misfit", "values[1]")),
        ("{type: integer, default: x}", ("misfit", "default")),
        ("{type: integer, max: 3, default: 4}", ("misfit", "default")),
        ("{type: text, values: [a], default: b}", ("misfit", "default")),
        ("{type: integer, list: true, default: 3}", ("misfit", "default")),
        ("{type: integer, list: true, default: [x]}", ("misfit", "default")),
    ],
)
def test_rules_that_do_not_fit_their_type_are_reported(column: str, problem: tuple[str, str]) -> None:
    assert check_column(column) == [problem]


def test_a_column_that_is_wrong_in_itself_leaves_the_others_to_be_checked() -> None:
    table = {"columns": {"a": "txt", "b": "text", "c": 5}}
    assert list(columns_of(table)) == ["b"]
