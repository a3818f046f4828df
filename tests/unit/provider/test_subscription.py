"""Subscriptions are packed by the provider's cap: all of them, in order, none twice, no connection too full."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.provider.subscription import Subscription, packed, wanted

SPECS = st.lists(st.lists(st.integers(0, 99).map(str), max_size=12), max_size=5).map(
    lambda groups: [
        Subscription.model_validate({"send": {"n": number, "i": "{item}"}, "for": group})
        for number, group in enumerate(groups)
    ]
)


@settings(deadline=None)
@given(specs=SPECS, most=st.none() | st.integers(1, 7))
def test_packing_keeps_everything_in_order_and_under_the_cap(specs: list[Subscription], most: int | None) -> None:
    parts = packed(specs, most)
    flat = [(each.spec.send, each.item) for part in parts for each in wanted(part)]
    assert flat == [(each.spec.send, each.item) for each in wanted(specs)]
    assert parts
    if most is not None:
        assert all(len(list(wanted(part))) <= most for part in parts)
        assert all(len(list(wanted(part))) == most for part in parts[:-1])


def test_names_are_the_item_the_number_or_what_is_configured() -> None:
    specs = [
        Subscription.model_validate({"send": "a"}),
        Subscription.model_validate({"send": "b", "for": ["X", 7]}),
        Subscription.model_validate({"send": "c", "for": ["X"], "name": "book:{item}"}),
    ]
    names = [each.name(number) for number, each in enumerate(wanted(specs), 1)]
    assert names == ["1", "X", "7", "book:X"]


@pytest.mark.parametrize(
    "settings",
    [
        {"send": "a", "batch": 2},
        {"send": "{itme}"},
        {"send": "a", "data": {"s": "{nobody}"}},
        {"send": "a", "batch": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Subscription.model_validate(settings)
