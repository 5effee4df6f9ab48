"""What `blockwise spectrum` writes of a Hugging Face folder, against numpy and against the loss itself;
skipped where the program is not built."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

from blockwise.figures.__main__ import main
from blockwise.figures.hessian_matrix import block_parameters, head_order
from blockwise.figures.spectrum_course import spectrum_course
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.spectra import Spectrum, read_spectrum
from studies.program import program

GPT2 = REPOSITORY / "tests" / "golden" / "hugging_face" / "gpt2"
LENGTH, WINDOWS = 8, 8
ATTENTION = "transformer.h.0.attn.c_attn.weight"
PROJECTION = "transformer.h.0.attn.c_proj.weight"

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a safetensors file."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[8 + size :][slice(*entry["data_offsets"])], "<f4")
        .reshape(entry["shape"]).copy()
        for name, entry in header.items()
    }  # fmt: skip


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, tensor in tensors.items():
        content = tensor.astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_tokens(path: Path) -> Path:
    count = LENGTH * WINDOWS + 1
    tokens = [(7 * i * i + 3 * i) % 61 for i in range(count)]
    header = struct.pack("<256i", 20240520, 1, count, *[0] * 253)
    path.write_bytes(header + struct.pack(f"<{count}H", *tokens))
    return path


def measure(folder: Path, tokens: Path, *more: object) -> Spectrum:
    settings = [
        f"hessian.{setting}"
        for setting in ("order=sequential", f"batch_size={WINDOWS}", "each=tensor")
    ]
    command = [
        program(), "spectrum", "--tokens", tokens, "--sequence-length", LENGTH, "--no-figure",
        "--threads", 1, "--output", folder, *[part for one in settings for part in ("--set", one)], *more,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return read_spectrum(folder)


def evaluated_loss(model: Path, tokens: Path) -> float:
    command = [
        program(), "eval", "--model", model, "--tokens", tokens, "--sequence-length", LENGTH,
        "--threads", 1, "--json",
    ]  # fmt: skip
    words = [str(part) for part in command]
    done = subprocess.run(words, check=True, capture_output=True, text=True, encoding="utf-8")
    return float(json.loads(done.stdout)["loss"])


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("tokens") / "tokens.bin")


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory, tokens: Path) -> Spectrum:
    """The four tensors of a layer's attention, exactly, with three eigenvectors each."""
    return measure(
        tmp_path_factory.mktemp("attention"), tokens, "--model", GPT2, "--exact",
        "--precision", "fp64", "--set", "hessian.parts.names=[transformer.h.0.attn.*]",
        "--set", "hessian.pairs.vectors=3",
    )  # fmt: skip


def test_parameters_have_the_shapes_of_hugging_face(attention: Spectrum) -> None:
    stored = read_tensors(GPT2 / "model.safetensors")
    rows = attention.parameters.set_index("name")
    assert set(rows.index) == set(stored)
    for name, tensor in stored.items():
        shape = rows.loc[name, "shape"]
        transposed = bool(rows.loc[name, "transposed"])
        assert (shape[::-1] if transposed else shape) == tensor.shape, name
        # Conv1D is what GPT-2 keeps as [in, out].
        assert transposed == (tensor.ndim == 2 and name.startswith("transformer.h.")), name


def test_eigenvectors_are_those_of_numpy_by_tensor(attention: Spectrum) -> None:
    assert len(attention.blocks) == 6  # query, key and value have a block each of weight and bias
    for block in range(len(attention.blocks)):
        matrix = attention.matrix(block)
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        order = np.argsort(-np.abs(values))[:3]
        found = attention.eigenvectors(block)
        # Two float64 solvers of one matrix.
        np.testing.assert_allclose([one.value for one in found], values[order], rtol=1e-9)
        for one, place in zip(found, order, strict=True):
            assert abs(one.vector @ vectors[:, place]) == pytest.approx(1, abs=1e-8)
            (name,) = one.tensors
            parts = one.tensors[name]
            assert np.linalg.norm(parts) == pytest.approx(1)
            assert parts.shape == read_tensors(GPT2 / "model.safetensors")[name].shape
    # The key's part of the fused tensor lies between the query's and the value's.
    (key,) = [i for i, name in enumerate(attention.blocks["name"]) if name == f"{ATTENTION} key"]
    part = attention.eigenvectors(key)[0].tensors[ATTENTION]
    assert not part[:, :16].any() and part[:, 16:32].any() and not part[:, 32:].any()


@pytest.mark.parametrize("block", [PROJECTION, f"{ATTENTION} value"])
def test_along_a_named_eigenvector_the_loss_curves_by_its_eigenvalue(
    attention: Spectrum, tokens: Path, tmp_path: Path, block: str
) -> None:
    """(L(w + h u) - 2 L(w) + L(w - h u)) / h^2 with u added to the tensors of the file."""
    top = attention.eigenvectors(block)[0]
    step = 0.02
    losses = []
    for sign in (-1, 0, 1):
        folder = tmp_path / f"{sign}"
        folder.mkdir()
        shutil.copy(GPT2 / "config.json", folder)
        tensors = read_tensors(GPT2 / "model.safetensors")
        for name, part in top.tensors.items():
            tensors[name] += (sign * step * part).astype(np.float32)
        write_tensors(folder / "model.safetensors", tensors)
        losses.append(evaluated_loss(folder, tokens))
    curvature = (losses[0] - 2 * losses[1] + losses[2]) / step**2
    # Float32 losses leave 1e-7 / h^2 = 2.5e-4, fourth derivatives at h = 0.02 a percent or two. A
    # wrong transposition or another order of the parts gives some mean over all directions.
    assert curvature == pytest.approx(top.value, rel=0.05)


def test_the_measured_tokens_are_in_the_file(attention: Spectrum, tokens: Path) -> None:
    inputs, targets = attention.windows()
    everything = np.frombuffer(tokens.read_bytes()[1024:], "<u2").astype(np.int64)
    np.testing.assert_array_equal(inputs.ravel(), everything[:-1])
    np.testing.assert_array_equal(targets.ravel(), everything[1:])
    assert list(attention.examples["file"]) == [str(tokens)] * WINDOWS
    assert list(attention.examples["position"]) == list(range(0, LENGTH * WINDOWS, LENGTH))
    assert attention.points.to_dict("records") == [{"step": 0, "model": str(GPT2)}]


def test_heads_stand_together_and_have_lines(
    attention: Spectrum, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Four heads of the query are rows 0 to 15 of [48, 16]: side by side already.
    order, ends = head_order(attention, f"{ATTENTION} query")
    assert list(order) == list(range(256)) and ends == [64, 128, 192]
    # Those of the output's projection are groups of four columns of [16, 16].
    order, ends = head_order(attention, PROJECTION)
    assert ends == [64, 128, 192]
    assert list(order[:8]) == [0, 1, 2, 3, 16, 17, 18, 19]
    assert sorted(order) == list(range(256))
    assert list(block_parameters(attention, PROJECTION)["name"]) == [PROJECTION]
    output = tmp_path / "matrix.svg"
    folder = str(attention.path.parent)
    assert main([folder, "--matrix", PROJECTION, "--heads", "--output", str(output)]) == 0
    assert "dotted: heads" in output.read_text()
    bias = "transformer.h.0.attn.c_proj.bias"
    assert main([folder, "--matrix", bias, "--heads", "--output", str(output)]) == 2
    assert "is not known to have several heads" in capsys.readouterr().err
    assert main([folder, "--matrix", "7", "--output", str(output)]) == 2
    assert "there are blocks 0 to 5" in capsys.readouterr().err
    assert main([folder, "--matrix", "--step", "3", "--output", str(output)]) == 2
    assert "step 3 was not measured" in capsys.readouterr().err


def test_several_models_give_a_course(tokens: Path, tmp_path: Path) -> None:
    names = ("--set", "hessian.parts.names=[transformer.ln_f.*]", "--set", "hessian.pairs.vectors=1")
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(GPT2 / "config.json", moved)
    tensors = read_tensors(GPT2 / "model.safetensors")
    tensors["transformer.ln_f.weight"] *= 1.5
    write_tensors(moved / "model.safetensors", tensors)
    both = measure(tmp_path / "both", tokens, "--model", GPT2, "--model", moved, *names)
    alone = measure(tmp_path / "alone", tokens, "--model", moved, *names)
    assert both.steps == [0, 1]
    assert list(both.points["model"]) == [str(GPT2), str(moved)]
    course = spectrum_course(both).set_index(["step", "block"])
    assert course.loc[(1, 0), "largest"] == spectrum_course(alone)["largest"][0]
    assert course.loc[(0, 0), "largest"] != course.loc[(1, 0), "largest"]
    for step, spectrum in ((1, both), (0, alone)):
        np.testing.assert_array_equal(
            spectrum.eigenvectors(0, step)[0].vector, alone.eigenvectors(0)[0].vector
        )
    output = tmp_path / "course.svg"
    assert main([str(tmp_path / "both"), "--output", str(output)]) == 0
    assert "Largest eigenvalue" in output.read_text()
    with pytest.raises(RunFileError, match="no exact matrix"):
        both.matrix(0)
