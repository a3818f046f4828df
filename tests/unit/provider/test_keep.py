"""The file of a refresh token."""

import stat
from pathlib import Path

import pytest

from service.provider.keep import Keep


def test_what_was_saved_last_is_there_for_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "secrets"
    for refresh in ("one", "two"):
        Keep(folder, "acme").save("lineage", refresh)
    assert Keep(folder, "acme").load("lineage") == "two"
    assert [file.name for file in folder.iterdir()] == ["acme.json"]


def test_nobody_else_can_read_it_whatever_lay_there_before(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    keep = Keep(folder, "acme")
    keep.save("lineage", "one")
    (folder / "acme.new").touch(0o666)
    (folder / "acme.json").chmod(0o644)
    keep.save("lineage", "two")
    assert stat.S_IMODE((folder / "acme.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_token_of_another_lineage_is_of_no_use(tmp_path: Path) -> None:
    keep = Keep(tmp_path, "acme")
    keep.save("old", "one")
    assert keep.load("new") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"lineage": 1}', b"\xff"])
def test_a_file_that_is_none_of_ours_holds_no_token(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "acme.json").write_bytes(content)
    assert Keep(tmp_path, "acme").load("lineage") is None


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert Keep(tmp_path / "nowhere", "acme").load("lineage") is None


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "secrets").touch()
    with pytest.raises(OSError, match="secrets"):
        Keep(tmp_path / "secrets", "acme").save("lineage", "one")
