"""The sequence numbers of a feed's messages: the code that reads them, of the record where that is the message."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from service.config.paths import Path, parse_path
from service.config.sequence import MAX_KEY, MAX_NUMBER, Sequence
from service.errors import FormatError
from service.formats import Format
from service.model import Message
from service.transform.code import Code, build
from service.transform.fetch import emit_fetch, word
from service.transform.shape import Shape
from service.transform.violations import Violation
from service.transform.where import Where


class Numbered(NamedTuple):
    """What a message says of its place.

    Attributes:
        first: the first number that it covers.
        last: the last one.
        key: of its sequence; empty where the feed has only one.
        epoch: what changes when the numbers begin anew; None where nothing does.
        resets: whether it begins the numbers anew.
    """

    first: int
    last: int
    key: str = ""
    epoch: str | None = None
    resets: bool = False


class Numbering:
    """Reads the numbers of messages.

    Args:
        feed: ``provider.feed``.
        settings: of the sequence.
        form: the feed's format.
        records: the path to the records in a message; None where the message is the record, or a list of them.

    Attributes:
        paths: of the fields that records must have for it; None where they must be whole.
    """

    def __init__(self, feed: str, settings: Sequence, form: Format, records: str | None) -> None:
        self._feed = feed
        self._settings = settings
        self._format = form
        self._apart = records is not None
        self._resets = Where(settings.reset_when, "reset_when") if settings.reset_when is not None else None
        asked = self._resets.paths if self._resets is not None else []
        own = [parse_path(path) for path in settings.paths().values() if not path.startswith("$")]
        needed: list[Path] | None = [*own, *asked] if asked is not None else None
        self.paths: list[Path] | None = [] if self._apart else needed
        self._decode: Callable[[Message], list[Any]] | None = None
        shape = _shape(needed) if self._apart else None
        if shape is not None:
            self._decode = form.typed(None, shape.type)
        self._read = self._compile(shape if self._decode is not None else None)

    def narrow(self, shape: Shape) -> None:
        """Read records that are decoded to a shape from now on."""
        if not self._apart:
            self._read = self._compile(shape)

    def read(self, message: Message, records: Iterable[Any]) -> list[Numbered]:
        """Give the numbers of a message, whose records were decoded; what has none is left out."""
        if self._apart:
            try:
                records = self._decode(message) if self._decode is not None else self._format.decode(message, None)
            except FormatError:  # the records were found all the same
                return []
        read = self._read
        return [found for record in records if (found := read(record, message)) is not None]

    def _compile(self, shape: Shape | None) -> Callable[[Any, Message], Numbered | None]:
        """Make ``numbered(r, m)``."""
        code, settings = Code("n"), self._settings
        kinds: tuple[type, ...] = (dict, list) if shape is None else (shape.type,)
        # What does not fit a shape is decoded whole.
        other = "None" if shape is None else f"{code.constant(self._compile(None))}(r, m)"
        code.add(f"if type(r) not in {code.constant(kinds)}:", f"    return {other}")
        code.add(*(shape.lines if shape is not None else ()))
        number, text = code.constant(whole), code.constant(_text)
        for name, path in settings.paths().items():
            emit_fetch(code, (path,), self._feed, lists=shape is None, shape=shape)
            if name in {"key", "epoch"}:
                fits = f"type(v) is str and len(v) <= {MAX_KEY} and '\\0' not in v"
                code.add(f"{name} = v if {fits} else {text}(v)")
            else:
                fits = f"type(v) is int and {-MAX_NUMBER} < v < {MAX_NUMBER}"
                code.add(f"{name} = v if {fits} else {number}(v)", f"if {name} is None:", "    return None")
        code.add(*(("if key is None:", "    return None") if settings.key is not None else ("key = ''",)))
        code.add(*(() if settings.epoch is not None else ("epoch = None",)))
        first, last = ("field", "field") if settings.field is not None else ("first", "last")
        if settings.previous is not None:
            first = "previous + 1"
        if self._resets is not None:
            self._resets.emit_test(code, shape)
        resets = "w" if self._resets is not None else "False"
        code.add(f"return {code.constant(Numbered)}({first}, {last}, key, epoch, {resets})")
        made = build("numbered(r, m)", code.lines, code.constants)
        return _guarded(made) if self._resets is not None else made


def _shape(paths: list[Path] | None) -> Shape | None:
    try:
        return Shape(paths) if paths is not None else None
    except ValueError:
        return None


def _guarded(read: Callable[[Any, Message], Numbered | None]) -> Callable[[Any, Message], Numbered | None]:
    """Take a message for one without number if its `reset_when` cannot be evaluated."""

    def guarded(record: Any, message: Message) -> Numbered | None:
        try:
            return read(record, message)
        except Violation:
            return None

    return guarded


def whole(value: Any) -> int | None:
    """Give a number, though written as text or with a fraction of zero; None for what is none, or too great."""
    try:
        number = Decimal(value) if isinstance(value, str | Decimal) or type(value) is int else None
        found = int(number) if number is not None and abs(number) < MAX_NUMBER else None
    except ArithmeticError:
        return None
    return found if found == number else None


def _text(value: Any) -> str | None:
    """Give a key as it can be kept; None for what cannot."""
    if value is None:
        return None
    try:
        text = word(value)
    except Violation:
        return None
    return text if len(text) <= MAX_KEY and "\0" not in text else None
