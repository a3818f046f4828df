import pytest
from pydantic import ValidationError

from service.config.document import parse
from service.config.providercheck import check_providers
from service.config.report import Report
from service.config.settings import Provider


def check(provider: str, feed: str = "") -> list[tuple[str, str]]:
    document = parse(f"providers: {{p: {{{provider}, feeds: {{f: {{kind: rest, {feed}}}}}}}}}")
    report = Report("config.yaml", document)
    check_providers(document.data, report)
    return [(problem.code, problem.path) for problem in report.problems()]


RULE = "errors: [{status: 404, action: ignore}, {%s}]"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("when: 'body.a == 1', action: retry", None),
        ("when: 'body.a ==', action: retry", "wrong-expression"),
        ("text: x, action: refresh_token", "idle-action"),
    ],
)
def test_rules_are_checked_where_they_stand(rule: str, code: str | None) -> None:
    at = "when" if code == "wrong-expression" else "action"
    wanted = [(code, f"providers.p.errors[1].{at}")] if code else []
    assert check(RULE % rule) == wanted
    wanted = [(code, f"providers.p.feeds.f.errors[1].{at}")] if code else []
    assert check("url: x", RULE % rule) == wanted


@pytest.mark.parametrize(
    ("auth", "is_idle"),
    [("{kind: oauth2}", False), ("{kind: login}", False), ("{kind: bearer}", True), ("{kind: nonsense}", False)],
)
def test_only_a_token_can_be_refreshed(auth: str, is_idle: bool) -> None:
    found = check(f"auth: {auth}, {RULE % 'text: x, action: refresh_token'}")
    assert bool(found) is is_idle


def test_only_pages_can_be_started_anew() -> None:
    rule = RULE % "status: 400, action: reset_pagination"
    assert check("url: x", rule) == [("idle-action", "providers.p.feeds.f.errors[1].action")]
    assert check("url: x", f"{rule}, paginate: link") == []
    assert check(rule) == []


@pytest.mark.parametrize(
    ("limit", "weight", "fits"),
    [("10/s", 10, True), ("10/s", 11, False), ("[100/s, 10/h]", 11, False), ("0.5/s", 1, True), ("soon", 9, True)],
)
def test_a_request_must_fit_into_the_rate_limit(limit: str, weight: int, fits: bool) -> None:
    found = check(f"rate_limit: {limit}", f"weight: {weight}")
    assert found == ([] if fits else [("wrong-value", "providers.p.feeds.f.weight")])


@pytest.mark.parametrize(
    "document", ["[]", "providers: 3", "providers: {p: 3}", "providers: {p: {errors: [1], feeds: [2]}}"]
)
def test_what_has_another_shape_is_left_to_the_models(document: str) -> None:
    parsed = parse(document)
    report = Report("config.yaml", parsed)
    check_providers(parsed.data, report)
    assert report.problems() == []


def test_a_socks_proxy_without_its_libraries_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.config.settings.find_spec", lambda _name: None)
    with pytest.raises(ValidationError, match=r"needs the extra `socks`.*pip install 'headrace\[socks\]'"):
        Provider.model_validate({"proxy": "socks5h://x:1", "feeds": {}})
