"""The table of `blockwise curves` for TensorBoard and Weights & Biases."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blockwise.files.curve_files import main, read_curves

TABLE = """run,group,seed,stage,optimizer.learning_rate,step,tokens,seconds,quantity,value
"a, 1",adamw,7,search,0.5,1,64,0.5,train/loss,2.5
"a, 1",adamw,7,search,0.5,2,128,1.0,train/loss,2.25
"a, 1",adamw,7,search,0.5,0,0,0,validation/loss,3
b,adam_mini,8,confirmed,,1,64,0.5,train/loss,nan
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "curves.csv"
    path.write_text(TABLE)
    return path


def test_what_confirms_can_be_told_from_what_chose(table: Path) -> None:
    with table.open() as stream:
        settings = {curves.run: curves.settings for curves in read_curves(stream)}
    assert settings == {
        "a, 1": {"stage": "search", "optimizer.learning_rate": "0.5"},
        "b": {"stage": "confirmed"},
    }


class Writer:
    """Stands for tensorboardX.SummaryWriter."""

    written: dict[str, list[tuple[Any, ...]]] = {}

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.points = self.written.setdefault(Path(folder).name, [])

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def add_scalar(self, *point: Any) -> None:
        self.points.append(point)


def test_every_run_has_its_scalars_by_step(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = ModuleType("tensorboardX")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", board)
    old = tmp_path / "board" / "b" / "events.out.tfevents.1"
    old.parent.mkdir(parents=True)
    old.touch()
    assert main(["tensorboard", str(table), str(tmp_path / "board")]) == 0
    assert Writer.written["a, 1"] == [
        ("validation/loss", 3.0, 0, 0.0),
        ("train/loss", 2.5, 1, 0.5),
        ("train/loss", 2.25, 2, 1.0),
    ]
    assert [point[:1] for point in Writer.written["b"]] == [("train/loss",)]
    assert not old.exists()  # its events would be drawn twice
    assert "2 runs in" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_refused_with_what_to_do(
    table: Path, tmp_path: Path, kind: str, package: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    assert main([kind, str(table), str(tmp_path / "out")]) == 2
    assert f"{package} is missing: {sys.executable} -m pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "not a table of `blockwise curves`"),
        (TABLE.replace('"a, 1"', "../x"), "cannot be a folder's name"),
        (TABLE.replace(",2.25", ",x"), "'a, 1': could not convert"),
    ],
)
def test_other_tables_are_refused(
    tmp_path: Path, text: str, reason: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    board = ModuleType("tensorboardX")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", board)
    (tmp_path / "curves.csv").write_text(text)
    assert main(["tensorboard", str(tmp_path / "curves.csv"), str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err


def test_tensorboard_reads_the_event_files(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    event_file = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        assert main(["tensorboard", str(table), str(tmp_path / "board")]) == 0
    events = event_file.EventAccumulator(str(tmp_path / "board" / "a, 1"))
    events.Reload()
    scalars = events.Scalars("train/loss")
    assert [(one.step, one.value, one.wall_time) for one in scalars] == [(1, 2.5, 0.5), (2, 2.25, 1)]


def test_wandb_keeps_offline_runs(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    assert main(["wandb", str(table), str(tmp_path / "out")]) == 0
    runs = sorted((tmp_path / "out" / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert all(list(run.glob("*.wandb")) for run in runs)
