"""config.yaml to ``Config``, or to everything that is wrong with it at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yarl import URL

from service.config.document import parse
from service.config.feedcheck import check_feeds
from service.config.modecheck import check_modes
from service.config.models import fill_models
from service.config.parentcheck import check_parents
from service.config.paths import Path as Steps
from service.config.providercheck import check_providers
from service.config.report import Report
from service.config.settings import Config
from service.config.substitute import Unsubstituted, substitute
from service.config.tablecheck import check_tables
from service.config.wording import report_errors
from service.errors import ConfigError, Problem

_SENT = frozenset({"url", "path", "params", "body"})
"""Keys under which stands what is sent, besides headers."""


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration file.

    Args:
        path: of the file; its text is UTF-8.
        environ: the variables that ``${NAME}`` means.

    Raises:
        ConfigError: the file cannot be read, or holds problems; all of them are in the error.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"cannot read the configuration: {reason}"
        raise ConfigError([Problem("unreadable-file", "", message, file=str(path))]) from None
    return loads(text, str(path), environ)


def loads(text: str, name: str, environ: Mapping[str, str]) -> Config:
    """Read a configuration from text.

    Args:
        text: YAML.
        name: what to call the file in problems.
        environ: the variables that ``${NAME}`` means.

    Raises:
        ConfigError: with every problem of the text, in its order.
    """
    document = parse(text)
    report = Report(name, document)
    if document.data is None and document.faults:  # not YAML: nothing further can be said
        raise ConfigError(report.problems())
    data = _substituted({} if document.data is None else document.data, (), environ, report)
    fill_models(data, report)
    config = None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        report_errors(error.errors(include_url=False), data, report)
    check_tables(data, report)
    check_providers(data, report)
    check_feeds(data, report)
    check_modes(data, report)
    check_parents(data, report)
    problems = report.problems()
    if config is None or problems:
        raise ConfigError(problems) from None
    _hide(config, report)
    return config


def _hide(config: Config, report: Report) -> None:
    """Note what variables put into what is sent; not into a host: errors must say of whom they are."""
    for path, (_, text) in report.substituted.items():
        if path[0] != "providers" or not _SENT.intersection(path[2:]):
            continue
        provider = config.providers[str(path[1])]
        if path[2] == "feeds" and getattr(provider.feeds[str(path[3])], "kind", "") == "file":
            continue  # its path is sent to nobody
        host = URL(text).authority if "url" in path else ""
        provider.hidden.extend(part for part in text.hidden if part not in host and "://" not in part)


def _substituted(value: Any, path: Steps, environ: Mapping[str, str], report: Report) -> Any:
    """Give the data with its variables replaced; one without a value stays as it is, and is reported."""
    if isinstance(value, dict):
        return {key: _substituted(item, (*path, key), environ, report) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, (*path, index), environ, report) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        found = substitute(value, environ)
    except Unsubstituted as error:
        report.add("missing-variable", path, str(error))
        return value
    report.substituted[path] = (value, found)
    return found
