"""The lint of links finds what is broken, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

LINT = Path(__file__).parents[1] / "lint/check_links.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_links", LINT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links = load()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("docs/train.md", ""),
        ("docs/train.md#exit-codes", ""),
        ("docs", ""),
        ("#two-commands", ""),
        ("https://example.org/nothing#there", ""),
        ("docs/trian.md", "there is no such file"),
        ("docs/train.md#exit-code", "there is no such heading"),
        ("#one-command", "there is no such heading"),
        ("../outside.md", "leads out of the repository"),
        ("docs/train.yaml#exit-codes", "there is no such heading"),
    ],
)
def test_a_link_is_followed_to_its_heading(tmp_path: Path, target: str, wrong: str) -> None:
    root = tmp_path / "root"
    write(tmp_path, "outside.md", "")
    write(root, "docs/train.md", "# Train\n\n## Exit codes\n")
    write(root, "docs/train.yaml", "")
    write(root, "README.md", f"# Two commands\n\n[text]({target})\n")
    expected = [f"README.md:3: {target}: {wrong}"] if wrong else []
    assert links.broken_links(root) == expected


def test_pictures_and_several_links_of_a_line_are_seen(tmp_path: Path) -> None:
    write(tmp_path, "a.md", '![a [b] c](no.png) and [x](no.md "title")\n')
    assert [line.split(": ")[1] for line in links.broken_links(tmp_path)] == ["no.png", "no.md"]


def test_code_holds_neither_links_nor_headings(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "```sh\n# comment\n[x](no.md)\n```\n`[y](no.md)` [z](#comment)\n")
    assert links.broken_links(tmp_path) == ["a.md:5: #comment: there is no such heading"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("A learning rate per block", "a-learning-rate-per-block"),
        ("leave-x-out.yaml: one rate", "leave-x-outyaml-one-rate"),
        ("`train` and [eval](x.md)'s words", "train-and-evals-words"),
        ("mean(v), kept", "meanv-kept"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert links.anchor(heading) == anchor


def test_headings_that_repeat_are_numbered(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "# X\n## Y\n## Y\n[first](#y) [second](#y-1) [third](#y-2)\n")
    assert links.broken_links(tmp_path) == ["a.md:4: #y-2: there is no such heading"]


def test_a_page_that_the_contents_leave_out_is_named(tmp_path: Path) -> None:
    write(tmp_path, "docs/README.md", "[in](in.md)\n")
    write(tmp_path, "docs/in.md", "")
    write(tmp_path, "docs/lost.md", "")
    assert links.unreachable_pages(tmp_path) == ["docs/README.md: lost.md is not in it"]


def test_runs_and_builds_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "build/a.md", "[x](no.md)\n")
    write(tmp_path, ".venv/lib/a.md", "[x](no.md)\n")
    assert links.markdown_files(tmp_path) == []
