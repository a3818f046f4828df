import gzip
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import FormatError
from service.model import Message
from service.recording.event import VERSION, Event, Header, arrived
from service.recording.reading import Recording, is_recording, messages
from service.recording.writing import Writer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEADER = Header(VERSION, "0.1.0", "acme.scores", 1.5, {"kind": "websocket"})
JSON: Any = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text())
MESSAGES = st.builds(
    Message, st.binary(), st.floats(0, 4e9, allow_nan=False), st.none() | JSON, st.none() | JSON.filter(bool)
)


def write(path: Path, *blocks: list[Event]) -> list[int]:
    """Write a recording; give the size of the file after the header and after each block."""
    with Writer(path, HEADER) as writer:
        sizes = [writer.size]
        for block in blocks:
            writer.write(block)
            sizes.append(writer.size)
    return sizes


def block(start: int, count: int = 3) -> list[Event]:
    return [arrived(Message(b'{"n":%d}' % number, 1e9 + number / 3), 0) for number in range(start, start + count)]


def collect(path: Path, found: list[Event]) -> None:
    """Add events as they come, up to an error."""
    for event in Recording(path).events():
        found.append(event)  # noqa: PERF402  what came before an error is kept


@given(st.lists(st.lists(MESSAGES, min_size=1, max_size=5), max_size=4))
def test_what_is_recorded_is_read_again_byte_for_byte_and_to_the_last_digit_of_its_time(
    groups: list[list[Message]],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        write(path, *([arrived(message, 1) for message in group] for group in groups))
        recording = Recording(path)
        assert list(recording.messages()) == [message for group in groups for message in group]
        assert recording.header == HEADER
        assert recording.torn == 0
        assert recording.read == path.stat().st_size


def test_a_tail_that_was_torn_anywhere_costs_its_block_and_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    blocks = [block(0), block(3), block(6)]
    sizes = write(whole, *blocks)
    data, torn = whole.read_bytes(), tmp_path / "torn"
    for cut in range(sizes[0], len(data) + 1):
        torn.write_bytes(data[:cut])
        sound = max(number for number, size in enumerate(sizes) if size <= cut)
        recording = Recording(torn)
        assert list(recording.events()) == [event for each in blocks[:sound] for event in each]
        assert recording.torn == cut - sizes[sound]


def test_damage_is_told_after_all_that_lies_before_it(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    sizes = write(path, block(0), block(3), block(6))
    data = bytearray(path.read_bytes())
    data[(sizes[1] + sizes[2]) // 2] ^= 0x10
    path.write_bytes(data)
    found: list[Event] = []
    with pytest.raises(FormatError, match=f"damaged from byte {sizes[1]} on"):
        collect(path, found)
    assert found == block(0)


def test_a_recording_is_lines_of_json_to_any_tool_for_zstd(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    write(path, [Event(1.25, "open", 0, "wss://x"), arrived(Message(b"\xff", 2.5), 0)])
    lines = zstd.decompress(path.read_bytes()).splitlines()
    assert lines == [
        b'{"recording":1,"headrace":"0.1.0","feed":"acme.scores","begun_at":1.5,"settings":{"kind":"websocket"}}',
        b'{"at":1.25,"kind":"open","text":"wss://x"}',
        b'{"at":2.5,"kind":"message","raw":"/w=="}',
    ]


def test_nothing_that_was_recorded_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    write(path, block(0))
    with pytest.raises(FileExistsError):
        Writer(path, HEADER)
    assert len(list(messages(path))) == 3


def test_what_a_provider_sent_is_for_its_owners_eyes(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    write(path, block(0))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_of_a_later_release_is_refused_with_what_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with Writer(path, Header(VERSION + 1, "9.0.0", "a.b", 1.0)):
        pass
    with pytest.raises(FormatError, match=r"version 2 .* read it with Headrace 9\.0\.0 or later"):
        Recording(path)


@pytest.mark.parametrize(
    "data", [b"", b'{"a": 1}\n', b"id,name\n1,x\n", gzip.compress(b"12: 13\n", mtime=0), b"\x28\xb5\x2f\xfd"]
)
def test_other_files_are_no_recordings(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_recording(path)
    with pytest.raises(FormatError, match="is no recording"):
        messages(path)


CAPTURE = b"""\
configuration: {"exchange": "X"}
wss://a.example <-> 1618678132.368463
wss://b.example <-> 1618678132.4
wss://a.example <- 1618678132.83097: {"event":"subscribe"}
1618678132.8314681: {"event":"status"}
https://a.example/book?x=1 -> 1618678133.0 header: {"Server": "x"}
https://a.example/book?x=1 -> 1618678133.0: [1, 2]
1618678133.5: {"lines":
  "two"}
1618678134:\x20

"""


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_capture_of_cryptofeed_is_read_line_by_line(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "capture"
    path.write_bytes(packed(CAPTURE))
    recording = Recording(path)
    assert recording.header is None
    assert [(event.at, event.kind, event.connection, event.text) for event in recording.events()] == [
        (1618678132.368463, "open", 0, "wss://a.example"),
        (1618678132.4, "open", 1, "wss://b.example"),
        (1618678132.83097, "sent", 0, '{"event":"subscribe"}'),
        (1618678132.8314681, "message", 0, '{"event":"status"}'),
        (1618678133.0, "heard", 2, '{"Server": "x"}'),
        (1618678133.0, "message", 2, "[1, 2]"),
        (1618678133.5, "message", 0, '{"lines":\n  "two"}'),
        (1618678134.0, "message", 0, ""),
    ]


def test_of_a_gzip_that_ends_early_the_end_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    data = gzip.compress(b"".join(b"16186781%02d.5: {%d}\n" % (number, number) for number in range(90)))
    path.write_bytes(data[:-20])
    recording = Recording(path)
    assert 0 < len(list(recording.messages())) < 91
    assert recording.torn > 0
