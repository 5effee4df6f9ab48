"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockwise.files.atomic_file import replaced_on_success, write_bytes_atomically


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_was_put_there_is_removed_and_not_followed(
    tmp_path: Path, exists: bool
) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("mine")
    (tmp_path / "a.partial.png").symlink_to(victim)
    write_bytes_atomically(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"
    assert not (tmp_path / "a.png").is_symlink()
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "mine"


def test_what_an_earlier_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "a.partial.png").write_text("half" * 100)
    write_bytes_atomically(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), replaced_on_success(tmp_path / "a") as partial:
        partial.write_text("new")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
