"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from blockwise.tokens import progress as module
from blockwise.tokens.progress import Progress, duration_text


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def test_elsewhere_there_is_a_line_every_ten_seconds(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("tokens", 100_000_000)
    for _ in range(25):
        clock.now += 1
        progress.advance(2_000_000)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "40s left, tokens: 20.0 of 100.0 MB, 2.0 MB/s",
        "30s left, tokens: 40.0 of 100.0 MB, 2.0 MB/s",
    ]


def test_on_a_terminal_there_is_a_bar(
    clock: _Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress("tokens", 8_000_000)
    for _ in range(2):
        clock.now += 2
        progress.advance(3_000_000)
    progress.finish()
    first, second, end = capsys.readouterr().err.split("\r")[1:]
    assert first == "\033[K" + "█" * 9 + "░" * 15 + "  38% 3s left, tokens: 3.0 of 8.0 MB, 1.5 MB/s"
    assert second.startswith("\033[K" + "█" * 18 + "░" * 6 + "  75%")
    assert end == "\033[K"
    assert all(len(line) - 3 <= 90 for line in (first, second))


@pytest.mark.parametrize("columns", [30, 45, 60, 80])
@pytest.mark.parametrize(("locale", "term"), [("C", "xterm"), ("C.UTF-8", "dumb")])
def test_lines_fit_and_are_ascii_where_nothing_else_is_drawn(
    clock: _Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    columns: int, locale: str, term: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    for name, value in (("COLUMNS", str(columns)), ("LC_ALL", locale), ("TERM", term)):
        monkeypatch.setenv(name, value)
    progress = Progress("training the tokenizer", 8_000_000)
    clock.now += 2
    progress.advance(3_000_000)
    shown = capsys.readouterr().err
    line = shown.split("\r")[-1].removeprefix("\033[K")
    assert shown.isascii()
    assert len(line) < columns
    assert "#" in line
    assert ("3s left" in line) == (columns >= 45)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (200, "3m 20s"), (3720, "1h 02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_program_draws_a_bar_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text " * 4_000_000)
    ours, theirs = pty.openpty()
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "blockwise.tokens", "--train", tmp_path / "a.txt",
         "--validation-fraction", "0.1", "--output", tmp_path / "tokens"],
        stderr=theirs, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root / "python"), "LC_ALL": "C.UTF-8", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    text = shown.decode()
    assert "░" in text
    assert "MB/s" in text
    assert "18,000,000 tokens in 1 file, 1.00 bytes each" in text
