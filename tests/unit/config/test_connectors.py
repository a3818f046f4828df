from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from service.config.connectors import Connector, OneOf, Settings, discover
from service.config.feeds import FeedSettings
from service.formats.json import Json


class Holder(Settings):
    wanted: Annotated[Connector, OneOf("service.formats")]
    usual: Annotated[Connector, OneOf("service.formats", default="json")] | None = None


def test_connectors_are_found_by_their_kind() -> None:
    assert discover("service.formats")["json"] is Json


def test_a_bare_kind_is_short_for_its_settings() -> None:
    assert Holder.model_validate({"wanted": "json"}) == Holder.model_validate({"wanted": {"kind": "json"}})


def test_a_default_kind_need_not_be_written() -> None:
    assert Holder.model_validate({"wanted": "json", "usual": {}}).usual == Json()


def test_a_connector_that_is_built_already_stays() -> None:
    connector = Json()
    assert Holder(wanted=connector).wanted is connector


@pytest.mark.parametrize(
    ("value", "kind", "where"),
    [
        ({}, "missing-kind", ("wanted", "kind")),
        ("jsn", "unknown-kind", ("wanted", "kind")),
        ({"kind": 5}, "unknown-kind", ("wanted", "kind")),
        (5, "dict_type", ("wanted",)),
        ({"kind": "json", "x": 1}, "extra_forbidden", ("wanted", "x")),
    ],
)
def test_errors_have_the_path_of_the_file_and_no_tags(value: object, kind: str, where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as raised:
        Holder.model_validate({"wanted": value})
    (error,) = raised.value.errors()
    assert (error["type"], error["loc"]) == (kind, where)


def test_a_source_cannot_be_asked_again_unless_it_says_so() -> None:
    class Heard(FeedSettings):
        kind: Literal["heard"] = "heard"

    assert Heard.replayable is False
    assert discover("service.sources")["rest"].replayable is True  # type: ignore[attr-defined]
