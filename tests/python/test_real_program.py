"""The notebooks and exported folders with the built program itself; skipped where it is not built."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from test_notebook import execute, images

from blockwise.files.run import read_run
from studies.plans import read_evaluation
from studies.program import program

GOLDEN = REPOSITORY / "tests" / "golden"
FAMILIES = ["gpt2", "llama", "llama_bias_tied", "mistral", "qwen2", "qwen3"]
OPTIONS = ["gpt2_gelu", "llama_mlp_bias", "llama_dynamic", "qwen3_yarn"]

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")


def write_tokens(path: Path, count: int, vocabulary: int) -> Path:
    """A token file in llm.c's layout."""
    header = struct.pack("<256i", 20240520, 1, count, *[0] * 253)
    tokens = [(7 * i * i + 3 * i) % vocabulary for i in range(count)]
    path.write_bytes(header + struct.pack(f"<{count}H", *tokens))
    return path


def small_run(folder: Path, name: str, rule: str, trainer: str) -> Path:
    """The YAML of a GPT of width 8 on 400 tokens, whose run goes to `run` beside it."""
    tokens = write_tokens(folder / "train.bin", 400, 61)
    config = folder / "run.yaml"
    config.write_text(
        f"name: '{name}'\noutput: {folder}/run\n"
        f"data: {{train: {tokens}, validation: {tokens}, vocab_size: 61, sequence_length: 8}}\n"
        "model: {family: gpt2, n_layer: 1, n_head: 2, n_embd: 8}\n"
        f"optimizer: {{rule: {rule}, learning_rate: 1.0e-3}}\nschedule: {{name: constant}}\n"
        f"trainer: {{micro_batch_size: 2, threads: 1, {trainer}}}\n",
        encoding="utf-8",
    )
    return config


def export(model: str, folder: Path) -> Path:
    subprocess.run(
        [program(), "export", "--model", GOLDEN / "hugging_face" / model, "--output", folder],
        check=True,
        capture_output=True,
    )
    return folder


def test_the_memory_notebook_plans_and_evaluates_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_CHECKPOINT", str(GOLDEN / "hugging_face" / "llama"))
    monkeypatch.setenv("BLOCKWISE_TOKENS", str(write_tokens(tmp_path / "tokens.bin", 600, 61)))
    monkeypatch.setenv("BLOCKWISE_SEQUENCE_LENGTH", "12")
    # Three sizes, to be quick; test_plans.py plans every file.
    sizes = [f"configs/{size}.yaml" for size in ("gpt2/125m", "llama/39m", "llama/13b")]
    monkeypatch.setenv("BLOCKWISE_CONFIGS", " ".join(sizes))
    outputs = execute("memory.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True] * 3
    (table,) = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    for name in ("gpt2-125m", "llama-39m", "llama-13b"):
        assert name in table
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


def test_the_precision_notebook_reads_a_small_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(tmp_path / "train.bin", 4000, 61)
    write_tokens(tmp_path / "validation.bin", 1000, 61)
    small = {
        "data.train": tmp_path / "train.bin", "data.validation": tmp_path / "validation.bin",
        "data.vocab_size": 61, "data.sequence_length": 16, "data.validation_tokens": 128,
        "model.n_embd": 16, "model.n_head": 2, "trainer.steps": 4, "trainer.micro_batch_size": 2,
        "trainer.evaluate_every": 2, "schedule.warmup_steps": 1, "output": tmp_path / "sweep",
    }  # fmt: skip
    settings = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    subprocess.run(
        [program(), "sweep", REPOSITORY / "configs/studies/precision.yaml", "--jobs", "2"]
        + settings,
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(tmp_path / "sweep"))
    outputs = execute("precision.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True, True]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


@pytest.mark.parametrize("model", FAMILIES + OPTIONS)
def test_exported_folders_give_the_logits_of_transformers(model: str, tmp_path: Path) -> None:
    python = os.environ.get("BLOCKWISE_TRANSFORMERS_PYTHON", sys.executable)
    if python == sys.executable and importlib.util.find_spec("transformers") is None:
        pytest.skip(
            "set BLOCKWISE_TRANSFORMERS_PYTHON to a Python with torch==2.13.0, transformers==5.23.0"
        )
    folder = export(model, tmp_path / "out")
    expected = GOLDEN / "hugging_face" / model / "expected.safetensors"
    check = subprocess.run(
        [python, GOLDEN / "check_hugging_face.py", folder, expected], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_an_exported_folder_evaluates_like_the_one_it_came_from(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.bin", 300, 61)
    original = read_evaluation(GOLDEN / "hugging_face" / "qwen3", tokens, 12)
    exported = read_evaluation(export("qwen3", tmp_path / "out"), tokens, 12)
    assert exported["loss"] == original["loss"]
    assert len(exported["loss_by_position"]) == 12


def test_text_goes_through_a_trained_bpe_and_back(tmp_path: Path) -> None:
    words = "the cat sat on the mat and the dog sat on the log; naïve café\n"
    for name in ("train", "validation"):
        (tmp_path / f"{name}.txt").write_text(words * 200, encoding="utf-8")
    run = [str(program())]

    def blockwise(*arguments: object) -> str:
        words = [*run, *map(str, arguments)]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    texts = ["--train", tmp_path / "train.txt", "--validation", tmp_path / "validation.txt"]
    blockwise(
        "data", *texts, "--tokenizer", "bpe", "--vocab-size", 280, "--output", tmp_path / "tokens"
    )
    config = tmp_path / "run.yaml"
    config.write_text(
        f"name: bpe\noutput: {tmp_path}/run\n"
        f"data: {{train: {tmp_path}/tokens/train.bin, validation: {tmp_path}/tokens/validation.bin,"
        " sequence_length: 32}\n"
        "model: {family: llama, n_layer: 1, n_head: 2, n_embd: 32}\n"
        "optimizer: {rule: adamw, learning_rate: 1.0e-2}\n"
        "trainer: {steps: 80, micro_batch_size: 8, threads: 1}\n"
    )
    blockwise("train", config)
    prompt = "the cat"
    text = blockwise(
        "generate", "--model", tmp_path / "run", "--prompt", prompt, "--tokens", 8,
        "--temperature", 0, "--threads", 1,
    )  # fmt: skip
    assert text.startswith(prompt)
    assert set(text.split()) <= set(words.split()), text  # whole words of the text, learnt by heart
    blockwise("export", "--model", tmp_path / "run", "--output", tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    again = blockwise(
        "generate", "--model", tmp_path / "out", "--prompt", prompt, "--tokens", 8,
        "--temperature", 0, "--threads", 1,
    )  # fmt: skip
    assert again == text


def test_text_in_a_run_file_is_text(tmp_path: Path) -> None:
    """h5py gives attributes as str where they are of variable length; all of a run's are."""
    config = small_run(tmp_path, "größer", "adam_mini", "steps: 2, norms_every: 1")
    subprocess.run([program(), "train", config], check=True, capture_output=True)
    seen: list[str] = []

    def check(name: str, item: h5py.HLObject) -> None:
        for key, value in item.attrs.items():
            assert isinstance(value, str | np.integer), (name, key, value)
            seen.append(key)

    with h5py.File(tmp_path / "run" / "run.h5", "r") as file:
        check("/", file)
        file.visititems(check)
        assert file.attrs["format"] == "blockwise-run"
        assert file["steps/loss"].attrs["units"] == "nats"
        assert "größer" in file["config/yaml"].asstr()[()]
    assert {"hash", "units", "description", "git_commit", "rule"} <= set(seen)
    run = read_run(tmp_path / "run")
    assert "größer" in run.config
    assert all(isinstance(value, str | int) for value in run.provenance.values())
    assert {type(value) for value in run.partition["tensor"]} == {str}
    # A row per tensor and step, whose norms add up to those of the whole.
    tensors = set(run.partition["tensor"])
    assert [(step, set(rows)) for step, rows in run.norms.groupby("step")["tensor"]] == [
        (1, tensors), (2, tensors)
    ]  # fmt: skip
    squares = run.norms.groupby("step")[["gradient", "update"]].agg(lambda norms: (norms**2).sum())
    whole = run.steps[["grad_norm", "update_norm"]] ** 2
    # Gradients' squares are added in float lanes, a chunk at a time, and tensors cut the chunks.
    np.testing.assert_allclose(squares.to_numpy(), whole.to_numpy(), rtol=4e-7)
    assert (run.norms["weight"] >= 0).all()


def test_what_a_user_adds_to_a_run_file_stays_when_the_run_goes_on(tmp_path: Path) -> None:
    config = small_run(tmp_path, "r", "adamw", "steps: 4")
    subprocess.run([program(), "train", config], check=True, capture_output=True)
    file = tmp_path / "run" / "run.h5"
    with h5py.File(file, "a") as opened:
        opened.attrs["array"] = np.arange(3.0)
        opened.attrs["tags"] = ["a", "bé"]
        opened.attrs["none"] = h5py.Empty("f8")
        opened["steps"].attrs["note"] = "mine"
        opened["link"] = h5py.SoftLink("/nowhere")
    done = subprocess.run(
        [program(), "train", config, "--set", "trainer.steps=6"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(file, "r") as opened:
        assert opened.attrs["array"].tolist() == [0.0, 1.0, 2.0]
        assert list(opened.attrs["tags"]) == ["a", "bé"]
        assert isinstance(opened.attrs["none"], h5py.Empty)
        assert opened["steps"].attrs["note"] == "mine"
        assert isinstance(opened.get("link", getlink=True), h5py.SoftLink)
        assert len(opened["steps/step"]) == 6
