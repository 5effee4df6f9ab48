"""Partition files in Python: read, drawn, and trained with as the program does."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_real_program import write_tokens

from blockwise.figures.__main__ import draw, main
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_file import read_partition_file
from studies.program import program

FILE = """format: blockwise-partition
version: 1
hash: abc
model: {parameters: 44, tensors: 2}
provenance:
  objective: 'energy'
tensors:
  - name: 'a.weight'
    shape: [10, 4]
    sections:
      - {rows: [0, 4], role: query, rule: head, structure: tiles, tile: [2, 4],
         evidence: {lift: 0.5}}
      - {rows: [4, 8], role: key, rule: factored, structure: factored, group: 3}
      - {rows: [8, 10], role: value, rule: own, structure: labels, labels: "0*5 2*2 1*1"}
  - name: 'a.bias'
    shape: [4]
    sections:
      - {rows: [0, 4], role: bias, rule: element, structure: elements}
"""

RUN = """name: ten
output: {folder}/run
data: {{kind: tokens, train: {folder}/train.bin, validation: {folder}/train.bin,
        sequence_length: 16, vocab_size: 61}}
model: {{family: gpt2, n_layer: 1, n_head: 2, n_embd: 16, tie_word_embeddings: false}}
optimizer: {{rule: adam_mini, learning_rate: 3.0e-3, weight_decay: 0.1, gradient_clip: 0.0}}
schedule: {{name: constant}}
trainer: {{steps: 10, micro_batch_size: 4, checkpoint_every: 1, keep_checkpoints: 20, threads: 1}}
"""


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    path = tmp_path / "partition.yaml"
    path.write_text(FILE)
    return path


def test_a_file_is_a_table(partition: Path) -> None:
    file = read_partition_file(partition)
    table = file.partition
    assert file.provenance == {"objective": "energy"}
    assert list(table["blocks"]) == [2, 2, 3, 4]
    assert list(table["state_elements"]) == [2, 4 + 2 * 4, 3, 4]
    assert table["evidence_lift"][0] == 0.5
    assert np.isnan(table["evidence_lift"][1])


def test_plain_pytorch_reads_with_the_guard_of_the_other_readers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from adam_mini_pytorch import AdamMini

    path = tmp_path / "partition.yaml"
    for text, reason in {
        "a: &a [1]\nb: *a\n": "aliases are not read",
        "[" * 2000: "nested too deep",
        FILE.replace("structure: elements", "structure: rings"): "structure 'rings'",
        FILE.replace("0*5 2*2 1*1", "0*5 2*2 1*9999999999"): "labels of 8 elements",
        FILE.replace("rows: [0, 4], role: query", "role: query"): "no 'rows'",
    }.items():
        path.write_text(text)
        with pytest.raises(RunFileError, match=reason):
            AdamMini([], path, lr=1.0)


def test_a_file_is_drawn(partition: Path, tmp_path: Path) -> None:
    texts = [text.get_text() for text in draw(partition).axes[0].texts]
    assert any("by energy: 21 second moments for 44 parameters" in text for text in texts)
    picture = tmp_path / "picture.png"
    assert main([str(partition), "--output", str(picture)]) == 0
    assert picture.stat().st_size > 5000


@pytest.mark.parametrize("text", ["format: other\n", "a: [1\n", "[]"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(RunFileError, match="other.yaml"):
        read_partition_file(path)


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """A float32 safetensors file."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


def merge_whole(file: Path, roles: tuple[str, str]) -> None:
    """Makes the sections of two roles whole, with one value for both of them."""
    document = yaml.safe_load(file.read_text())
    del document["hash"]
    for tensor in document["tensors"]:
        for section in tensor["sections"]:
            if section["role"] in roles:
                rows = section["rows"][1] - section["rows"][0]
                section |= {"structure": "tiles", "tile": [rows, tensor["shape"][1]], "merged": 3}
                section.pop("group", None)
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def blockwise(*arguments: object) -> None:
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("merged", [(), ("mlp_in", "value")], ids=["found", "merged"])
@pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")
def test_ten_steps_in_plain_pytorch_are_the_programs(
    tmp_path: Path, merged: tuple[str, str]
) -> None:
    torch = pytest.importorskip("torch")
    from adam_mini_pytorch import AdamMini

    write_tokens(tmp_path / "train.bin", 4000, 61)
    run = tmp_path / "run.yaml"
    run.write_text(RUN.format(folder=tmp_path))
    found = tmp_path / "found"
    vectors = "discovery.vectors=2"
    blockwise("partition", run, "--objective", "homogeneity", "--output", found, "--set", vectors)
    file = found / "partition.yaml"
    assert {"factored", "tiles", "elements"} >= set(read_partition_file(file).partition.structure)
    if merged:
        merge_whole(file, merged)
        assert (read_partition_file(file).partition["merged"] == 3).sum() == 2
    # At rate 0 the first step changes nothing: its checkpoint is the start.
    start = tmp_path / "start"
    still = ["optimizer.learning_rate=0", "trainer.steps=1"]
    blockwise("train", run, "--output", start, "--set", still[0], "--set", still[1])
    blockwise("train", run, "--set", f"optimizer.partition.file={file}")

    def at_step(folder: Path, step: int, name: str) -> dict[str, np.ndarray]:
        return tensors_of(folder / f"checkpoints/step_{step:08d}/{name}.safetensors")

    parameters = {
        name: torch.nn.Parameter(torch.tensor(values))
        for name, values in at_step(start, 1, "parameters").items()
    }
    order = list(read_partition_file(file).partition["tensor"].drop_duplicates())
    named = [(name, parameters[name]) for name in order]
    optimizer = AdamMini(named, file, lr=3e-3, weight_decay=0.1)
    before = np.zeros(sum(p.numel() for p in parameters.values()), np.float64)
    for step in range(1, 11):
        # The gradient out of two averages: m' = 0.9 m + 0.1 g.
        saved = at_step(tmp_path / "run", step, "optimizer")
        averages = [saved[f"exp_avg/{name}"].ravel() for name, _ in named]
        after = np.concatenate(averages).astype(np.float64)
        gradient = torch.tensor(((after - 0.9 * before) / 0.1).astype(np.float32))
        before = after
        place = 0
        for _, parameter in named:
            part = gradient[place : place + parameter.numel()]
            parameter.grad = part.view_as(parameter).clone()
            place += parameter.numel()
        optimizer.step()
        theirs = at_step(tmp_path / "run", step, "parameters")
        for name, parameter in named:
            # A step moves by 3e-3; gradients out of float32 averages are good to 1e-5 of it, but
            # those near zero, whose direction is that of rounding.
            difference = np.abs(parameter.detach().numpy() - theirs[name])
            assert np.quantile(difference, 0.99) < 1e-6, (step, name)
            assert difference.max() < 3e-5, (step, name)


def test_a_tensor_that_is_missing_or_misshapen_is_named(partition: Path) -> None:
    torch = pytest.importorskip("torch")
    from adam_mini_pytorch import AdamMini

    weight = torch.nn.Parameter(torch.ones(10, 4))
    with pytest.raises(ValueError, match="has no tensor 'b.weight'"):
        AdamMini([("b.weight", weight)], partition, lr=1.0)
    with pytest.raises(ValueError, match=r"'a.weight': \[10, 5\]"):
        AdamMini([("a.weight", torch.nn.Parameter(torch.ones(10, 5)))], partition, lr=1.0)
    # Every structure, one step by hand: tile means, then v / (1 - beta2) = mean of g^2.
    weight.grad = torch.arange(40.0).view(10, 4)
    AdamMini([("a.weight", weight)], partition, lr=1.0).step()
    tile = weight.grad[:2]
    assert torch.allclose(1.0 - weight[:2], tile / tile.square().mean().sqrt(), atol=1e-6)


def test_plain_pytorch_goes_on_from_what_it_saved(partition: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from adam_mini_pytorch import AdamMini

    def made(dtype: object = torch.float32) -> tuple[AdamMini, list]:
        parameters = [torch.ones(10, 4, dtype=dtype), torch.ones(4, dtype=dtype)]
        named = list(zip(("a.weight", "a.bias"), map(torch.nn.Parameter, parameters), strict=True))
        return AdamMini(named, partition, lr=0.1), [parameter for _, parameter in named]

    def step(optimizer: AdamMini, parameters: list, number: int) -> None:
        for parameter in parameters:
            parameter.grad = torch.cos(torch.arange(parameter.numel()) + number).view_as(parameter)
        optimizer.step()

    whole, expected = made()
    for number in range(4):
        step(whole, expected, number)
    first, halfway = made()
    for number in range(2):
        step(first, halfway, number)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second, found = made()
    second.load_state_dict(torch.load(tmp_path / "state.pt"))
    for mine, there in zip(found, halfway, strict=True):
        mine.data.copy_(there.data)
    for number in range(2, 4):
        step(second, found, number)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
    # Every structure in another type, too.
    for dtype in (torch.float64, torch.bfloat16):
        optimizer, parameters = made(dtype)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert all(torch.isfinite(parameter).all() for parameter in parameters)


def test_the_folder_of_a_partition_is_drawn(partition: Path) -> None:
    assert draw(partition.parent).axes
