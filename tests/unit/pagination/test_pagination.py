"""Paginators: which page follows which."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from service.config.connectors import discover
from service.pagination import Page, Paginator, Step

HERE = URL("https://api.example/v4/matches?page=1")


def paginator(**settings: Any) -> Paginator:
    return cast("Paginator", TypeAdapter(discover("service.pagination")[settings["kind"]]).validate_python(settings))


def page(document: Any = None, count: int = 0, link: str | None = None) -> Page:
    return Page(HERE, {} if link is None else {"link": link}, document, count)


def test_a_cursor_is_followed_until_there_is_none() -> None:
    cursor = paginator(kind="cursor", next="paging.next", param="after")
    first = cursor.first()
    second = cursor.next(first, page({"paging": {"next": "abc"}}))
    assert first == Step()
    assert second == Step(params={"after": "abc"}, number=1)
    assert second is not None
    ends: list[Any] = [{}, {"paging": None}, {"paging": {"next": None}}, {"paging": {"next": ""}}, [], None]
    for end in ends:
        assert cursor.next(second, page(end)) is None


def test_a_cursor_that_is_a_number_stays_one() -> None:
    step = paginator(kind="cursor", next="[0].id").next(Step(), page([{"id": 17}]))
    assert step == Step(params={"cursor": 17}, number=1)


def test_a_wrong_path_is_refused_with_the_configuration() -> None:
    with pytest.raises(ValidationError, match="is not a path"):
        paginator(kind="cursor", next="a..b")


def test_page_numbers_end_with_a_short_page() -> None:
    pages = paginator(kind="page", size=50, size_param="per_page")
    assert pages.first() == Step(params={"page": 1, "per_page": 50})
    assert pages.next(pages.first(), page(count=50)) == Step(params={"page": 2, "per_page": 50}, number=1)
    assert pages.next(pages.first(), page(count=49)) is None


def test_page_numbers_without_a_size_end_with_an_empty_page() -> None:
    pages = paginator(kind="page", start=0)
    second = pages.next(pages.first(), page(count=1))
    assert second == Step(params={"page": 1}, number=1)
    assert second is not None
    assert pages.next(second, page(count=0)) is None


@given(total=st.integers(0, 500), limit=st.integers(1, 60))
def test_offsets_visit_each_record_once(total: int, limit: int) -> None:
    offsets = paginator(kind="offset", limit=limit)
    step: Step | None = offsets.first()
    seen: list[int] = []
    while step is not None:
        start = int(step.params["offset"])
        got = list(range(start, min(start + limit, total)))
        seen += got
        step = offsets.next(step, page(count=len(got)))
    assert seen == list(range(total))


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://other.example/p2>; rel="next"', "https://other.example/p2"),
        ("</v4/matches?page=2>; rel=next", "https://api.example/v4/matches?page=2"),
        ('<?page=9>; rel="last", <?page=2>; title="a, b"; rel="prefetch next"', f"{HERE.with_query(page=2)}"),
        ('<?page=2>; REL="NEXT"', f"{HERE.with_query(page=2)}"),
        ('<?page=9>; rel="last"', None),
        ('<?page=9>; title="rel=next"', None),
        ('<?page=9>; rel="nextish"', None),
        ("", None),
        (None, None),
    ],
)
def test_the_link_header_names_the_next_page(header: str | None, target: str | None) -> None:
    step = paginator(kind="link").next(Step(), page(link=header))
    assert (step.url if step is not None else None) == target


@given(st.text(max_size=200))
def test_any_link_header_is_survived(header: str) -> None:
    try:
        step = paginator(kind="link").next(Step(), page(link=header))
    except ValueError:  # an address that is none: the source says so
        return
    assert step is None or step.number == 1


def test_a_next_address_may_be_relative() -> None:
    follow = paginator(kind="next_url", next="links.next")
    assert follow.next(Step(), page({"links": {"next": "?page=2"}})) == Step(url=f"{HERE.with_query(page=2)}", number=1)
    assert follow.next(Step(), page({"links": {"next": "//evil.example/x"}})) == Step(
        url="https://evil.example/x", number=1
    )
    assert follow.next(Step(), page({"links": {}})) is None
    assert follow.next(Step(), page({"links": {"next": 5}})) is None
