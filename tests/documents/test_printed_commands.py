"""Every command that README.md, docs/ and the other documents print works in a fresh clone.

Cheap ones run as they are printed, page by page, on small stand-ins (stand_ins.py). What would take
minutes or needs what a clone does not have is in NOT_RUN with the reason, and is checked as far as
it goes without: the verb, its flags, its configuration and every `--set` by a dry run.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from printed_commands import Command, fenced_commands, head_commands, spans, yaml_blocks
from stand_ins import ROOT, environment, make_clone

PROGRAM = Path(os.environ.get("BLOCKWISE_PROGRAM", ROOT / "build/release/blockwise"))

# In the order of reading, which is that of running: later pages use the runs of earlier ones.
PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in (
        "README", "install", "train", "parallel", "data", "partitions", "compare", "cluster", "learning-rates", "curvature",
        "models", "memory", "speed", "cuda", "python", "library", "replay", "behaviour", "files", "glossary", "code", "limits",
    )),
    "configs/studies/README.md", "configs/studies/optimizers.md", "configs/hessian/README.md",
    "configs/ladder/README.md", "CONTRIBUTING.md",
]  # fmt: skip
HEADS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.yaml"))

LAUNCHER = r"^(\S*torchrun|mpirun|srun) (-\S+ (\d+ )?)*(?=blockwise )"
DRY, HELP, MAKE, NONE = "dry run", "help", "make --dry-run", "nothing"
# (what a command contains, how it is checked, why it is not run): the first that fits.
NOT_RUN = [
    (r"BLOCKWISE_BEHAVIOUR=", NONE, "a C++ test that writes into the sources"),
    (r"^(cmake|ctest) ", NONE, "builds everything; CI does so by `make test`"),
    (r"^make ", MAKE, "builds, installs or downloads; CI does so by `make test`"),
    (r"pip install \./python", NONE, "tests/python/test_package.py installs it"),
    (r"(?i)transformers", NONE, "needs transformers, which is not among the requirements"),
    (r"--(tensorboard|wandb)", HELP, "needs tensorboardX or wandb; tests/python/test_curve_files.py"),
    (r"gpt2_124M\.bin", HELP, "needs llm.c's file of 500 MB"),
    (r"sweep configs/(studies|published|hessian|nadamw-list)", DRY, "minutes to days of training"),
    (r"(sweep|train) configs/ladder", DRY, "minutes to hours of the whole machine"),
    (r"spectrum configs/ladder", HELP, "needs 12 GB of free memory"),
    (r"runs/(llama-7b|llama-1b|ladder|gap|found)", HELP, "needs the runs of the ladder"),
    (r"(partition|search-lr) configs/studies", DRY, "minutes of training or of products"),
    (r"train configs/hessian", DRY, "half a minute each; tests/python/test_hessian_studies.py"),
    (r"-m studies\.(quadratics|attribution|hessian_studies|optimizer_study|claims)", HELP, "minutes; small in tests/python"),
    (r"runs/(partition|query|precision|attribution|optimizers)", HELP, "needs the runs of a study"),
    (r"^blockwise bench", HELP, "a minute of the whole machine; small in test_experiments 'bench*'"),
    (r"tests/benchmarks/(peers|scaling)/", NONE, "minutes of the whole machine; peers needs packages of its own"),
    (LAUNCHER, DRY, "test_experiments 'ranks*' starts processes as launchers do; one of them is tried"),
    (r"--launcher slurm --jobs|^squeue", HELP, "needs a cluster; tests/python/test_slurm.py starts one"),
    (r"jupyter lab", HELP, "a server with a browser"),
    (r"jupyter execute", HELP, "end_to_end.quickstart runs this notebook"),
]


def how(command: Command) -> tuple[str, str]:
    """How a command is checked that is not run, and why; empty where it is run."""
    for pattern, check, reason in NOT_RUN:
        if re.search(pattern, command.text):
            return check, reason
    return "", ""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    make_clone(folder, PROGRAM)
    return folder


def run(clone: Path, script: str, text: str) -> None:
    result = subprocess.run(
        ["bash", "-euc", script + text], cwd=clone, env=environment(clone), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{text}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"


# As printed, but every start of the program ends where the work would begin. A model that a study
# would have left is not there: its own configuration's fresh one stands for it.
DRY_RUN = """
blockwise() {
  local words=()
  while [ $# -gt 0 ]; do
    if [ "$1" = --model ] && [ ! -e "$2" ]; then shift 2; continue; fi
    [ "$1" = --dry-run ] || words+=("$1")
    shift
  done
  command blockwise "${words[@]}" --dry-run
}
"""


@cache
def help_of(program: tuple[str, ...], clone: Path) -> str:
    result = subprocess.run(
        [*program, "--help"], cwd=clone, env=environment(clone), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{program}: {result.stderr}"
    return result.stdout


def check_flags(command: Command, clone: Path) -> None:
    """Its verb or module is there and explains every flag; its configuration is there."""
    words = command.words()
    length = 3 if words[0].endswith("python") else 2
    if words[0] in ("blockwise", ".venv/bin/python", ".venv/bin/jupyter") and "-c" not in words:
        text = help_of(tuple(words[:length]), clone)
        for flag in (word.split("=")[0] for word in words[length:] if word.startswith("--")):
            assert re.search(rf"{flag}\b", text), f"{words[:length]} has no {flag}"
    for word in words:
        if re.fullmatch(r"(configs|notebooks|python|tests)/\S+\.\w+", word):
            assert (clone / word).exists(), word


_checked = set[str]()


def check(command: Command, clone: Path) -> None:
    kind, _ = how(command)
    if kind and command.text in _checked:  # nothing that is not run depends on what ran before
        return
    _checked.add(command.text)
    if kind == DRY:
        run(clone, DRY_RUN, re.sub(LAUNCHER, "", command.text))
    elif kind == MAKE:
        run(clone, 'make() { command make --dry-run "$@" > /dev/null; }\n', command.text)
    elif kind == HELP:
        check_flags(command, clone)
    elif not kind:
        run(clone, "", command.text)


def printed(page: str) -> list[Command]:
    path = ROOT / page
    return head_commands(path, page) if page.endswith(".yaml") else fenced_commands(path, page)


def test_every_page_is_here() -> None:
    pages = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")}
    assert pages <= set(PAGES)
    assert sum(len(printed(page)) for page in PAGES) > 60
    assert sum(len(printed(page)) for page in HEADS) > 20


@pytest.mark.parametrize(
    "command", [c for page in PAGES for c in printed(page)], ids=lambda command: command.place
)
def test_a_command_works_as_printed(command: Command, clone: Path) -> None:
    check(command, clone)


@pytest.mark.parametrize(
    "command", [c for page in HEADS for c in printed(page)], ids=lambda command: command.place
)
def test_the_recipe_in_a_head_works(command: Command, clone: Path) -> None:
    check(command, clone)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_have_their_verbs_and_flags(page: str, clone: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (clone / "Makefile").read_text(), re.MULTILINE)
    for command in spans(ROOT / page, page):
        words = command.words()
        if words[0] == "make":
            assert words[1] in targets, command
        elif re.fullmatch("[a-z-]+", words[1]):
            check_flags(command, clone)


@pytest.mark.parametrize(
    ("text", "place"), [block for page in PAGES for block in yaml_blocks(ROOT / page, page)]
)
def test_a_yaml_block_is_taken(text: str, place: str, clone: Path) -> None:
    """A whole file by itself; a section as one of a small configuration."""
    document = yaml.safe_load(text)
    if "name" not in document:
        base = "configs/quickstart.yaml" if "sweep" in document else "configs/gpt2-tiny.yaml"
        document = yaml.safe_load((clone / base).read_text()) | document
    path = clone / "printed.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    verb = "sweep" if "sweep" in document else "train"
    run(clone, "", f"blockwise {verb} {path.name} --dry-run --set output=runs/printed")


@pytest.mark.parametrize("page", ["README.md", "docs/train.md"])
def test_the_printed_configuration_is_that_of_the_file(page: str) -> None:
    text, _ = yaml_blocks(ROOT / page, page)[0]
    file = (ROOT / "configs/gpt2-tiny.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == yaml.safe_load(file)


def test_the_advice_for_a_missing_corpus_makes_it(clone: Path) -> None:
    folder = clone / "data/shakespeare-byte"
    folder.rename(folder.with_name("elsewhere"))
    search = "blockwise partition configs/studies/partition-by-loss.yaml --dry-run"
    refused = subprocess.run(
        search.split(), cwd=clone, env=environment(clone), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2, refused.stderr
    advice = re.search(r"`(blockwise data [^`]*)`", refused.stderr)
    assert advice is not None, refused.stderr
    run(clone, "", advice.group(1).replace("TEXT", "input.txt"))
    run(clone, "", search)
