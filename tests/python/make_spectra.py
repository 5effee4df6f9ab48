"""Writes synthetic Hessian measurements in the format of the C++ program.

Also a program: `python tests/python/make_spectra.py DIR` leaves DIR/spectrum.h5 to try figures on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

STATES = {"running": 0, "finished": 1, "diverged": 2, "failed": 3, "interrupted": 4}

Table = dict[str, list]

COLUMNS = {
    "blocks": "name role layer index elements",
    "parameters": "name role layer offset elements",
    "symmetry_names": "name",
    "rules": "name",
    "tensors": "name",
    "function_names": "name",
    "summary": "step block loss gradient_norm noise asymmetry nonlinearity products gradients "
    "seconds peak_bytes trace trace_error squared_frobenius squared_frobenius_error "
    "difference_error trace_low trace_high",
    "probes": "step block probe lanczos_steps broke_down",
    "eigenvalues": "step block index value residual_bound residual",
    "quadrature": "step block probe node weight",
    "symmetries": "step symmetry error",
    "couplings": "step row_block column_block squared_norm squared_norm_error",
    "distances": "step row_block column_block jensen_shannon jensen_shannon_error",
    "preconditioning": "step block tau tau_error condition condition_adam ratio ratio_error left_out",
    "energies": "step tensor rule blocks share share_error random_share lift homogeneity "
    "share_half_width",
    "functions": "step block function value error probes",
}
TEXTS = ("name", "role")
INTEGERS = (
    "step", "block", "row_block", "column_block", "index", "layer", "offset", "elements",
    "symmetry", "rule", "tensor", "blocks", "lanczos_steps", "broke_down", "products", "converged",
    "peak_bytes", "probe", "function", "probes",
)  # fmt: skip


@dataclass
class Block:
    """A diagonal block with known eigenvalues; a whole tensor."""

    name: str
    eigenvalues: np.ndarray = field(repr=False)
    role: str = ""
    layer: int = -1


@dataclass
class SpectrumSpec:
    """What is measured; the default is one flat spectrum at step 0."""

    blocks: list[Block] = field(default_factory=lambda: [Block("model", flat_eigenvalues())])
    parameters: list[tuple[str, str, int, int]] = field(default_factory=list)
    steps: Sequence[int] = (0,)
    lanczos_steps: int = 30
    probes: int = 4
    eigenpairs: int = 5
    exact: Mapping[int, np.ndarray] = field(default_factory=dict, repr=False)
    tables: Mapping[str, Table] = field(default_factory=dict, repr=False)
    status: str = "finished"
    message: str = ""
    config: str = "seed: 1\nhessian:\n  each: model\n"
    seed: int = 1


# ---- spectra -----------------------------------------------------------------------------------


def flat_eigenvalues(count: int = 2000) -> np.ndarray:
    return np.linspace(-1.0, 1.0, count)


def semicircle_eigenvalues(count: int = 2000) -> np.ndarray:
    """Wigner's semicircle on [-1, 1]."""
    x = np.linspace(-1, 1, 20001)
    distribution = 0.5 + (x * np.sqrt(1 - x * x) + np.arcsin(x)) / np.pi
    return np.interp((np.arange(count) + 0.5) / count, distribution, x)


def planted_eigenvalues(
    outliers: Sequence[float] = (-2.5, 3.0, 5.0, 9.0, 20.0), count: int = 2000
) -> np.ndarray:
    """A semicircle and a few eigenvalues outside it."""
    return np.sort(np.concatenate([semicircle_eigenvalues(count - len(outliers)), outliers]))


def network_eigenvalues(count: int = 4000, scale: float = 1.0, seed: int = 1) -> np.ndarray:
    """Most near zero, a tail of large positive ones and a shorter one of negative ones."""
    random = np.random.default_rng([seed, 3])
    large, negative = max(count // 40, 3), max(count // 150, 2)
    bulk = 2e-3 * random.standard_normal(count - large - negative)
    tails = [10 ** random.uniform(-2.3, 1.2, large), -(10 ** random.uniform(-2.3, -0.5, negative))]
    return scale * np.sort(np.concatenate([bulk, *tails]))


def lanczos_quadrature(
    eigenvalues: np.ndarray, steps: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Lanczos process on diag(eigenvalues) from a Gaussian direction."""
    q = random.standard_normal(len(eigenvalues))
    basis = [q / np.linalg.norm(q)]
    alpha: list[float] = []
    beta: list[float] = []
    for _ in range(min(steps, len(eigenvalues))):
        w = eigenvalues * basis[-1]
        alpha.append(float(basis[-1] @ w))
        for _ in range(2):  # full reorthogonalisation, twice
            w = w - np.transpose(basis) @ (np.array(basis) @ w)
        beta.append(float(np.linalg.norm(w)))
        if beta[-1] <= 1e-10 * np.abs(eigenvalues).max():
            break
        basis.append(w / beta[-1])
    off = beta[: len(alpha) - 1]
    nodes, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(off, 1) + np.diag(off, -1))
    return nodes, vectors[0] ** 2


# ---- tables ------------------------------------------------------------------------------------


def _summary(spec: SpectrumSpec) -> Table:
    """Exact traces and norms with errors of 1 %, and numbers that tell their places."""
    rows = []
    for step in spec.steps:
        for b, block in enumerate(spec.blocks):
            values = _at(block, step)
            trace, square = float(values.sum()), float((values**2).sum())
            products = spec.lanczos_steps * spec.probes
            rows.append((step, b, 3.5 - 1e-3 * step, 0.5 + b, 1e-7, 2e-7, 3e-4, products, 2.5,
                         0.25, 10_000_000 + b, trace, 0.01 * abs(trace), square, 0.01 * square, np.nan,
                         trace - 0.02 * abs(trace), trace + 0.03 * abs(trace)))  # fmt: skip
    return _table("summary", rows)


def _at(block: Block, step: int) -> np.ndarray:
    """Eigenvalues grow with training."""
    return block.eigenvalues * (1 + step / 100)


def _eigenvalues(spec: SpectrumSpec) -> Table:
    rows = []
    for step in spec.steps:
        for b, block in enumerate(spec.blocks):
            values = np.sort(_at(block, step))[::-1]
            k = min(spec.eigenpairs, len(values) // 2)
            indices = [*range(k), *range(-1, -k - 1, -1)]
            if b in spec.exact:
                indices = list(range(len(values)))
            rows += [(step, b, i, values[i], 1e-4 * (1 + abs(i)), 2e-5) for i in indices]
    return _table("eigenvalues", rows)


def _quadrature(spec: SpectrumSpec) -> Table:
    rows = []
    for step in spec.steps:
        for b, block in enumerate(spec.blocks):
            for probe in range(spec.probes):
                random = np.random.default_rng([spec.seed, b, probe])
                nodes, weights = lanczos_quadrature(_at(block, step), spec.lanczos_steps, random)
                rows += [(step, b, probe, *pair) for pair in zip(nodes, weights, strict=True)]
    return _table("quadrature", rows)


def _table(name: str, rows: Sequence[tuple]) -> Table:
    columns = COLUMNS[name].split()
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return {column: list(one) for column, one in zip(columns, values, strict=True)}


def table(name: str, rows: Sequence[tuple]) -> dict[str, Table]:
    """One entry of SpectrumSpec.tables."""
    return {name: _table(name, rows)}


def _tables(spec: SpectrumSpec) -> dict[str, Table]:
    tables = {name: _table(name, []) for name in COLUMNS}
    blocks = [(b.name, b.role, b.layer, -1, len(b.eigenvalues)) for b in spec.blocks]
    tables["blocks"] = _table("blocks", blocks)
    parameters = spec.parameters or [
        (b.name, b.role, b.layer, len(b.eigenvalues)) for b in spec.blocks
    ]
    ends = np.cumsum([parameter[3] for parameter in parameters])
    tables["parameters"] = _table(
        "parameters",
        [(*one[:3], int(end) - one[3], one[3]) for one, end in zip(parameters, ends, strict=True)],
    )
    tables["summary"] = _summary(spec)
    tables["eigenvalues"] = _eigenvalues(spec)
    tables["quadrature"] = _quadrature(spec)
    return tables | dict(spec.tables)


# ---- files -------------------------------------------------------------------------------------


def _text(value: str, size: int = 0) -> np.ndarray:
    encoded = value.encode()
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(size, len(encoded), 1)))


def _column(group: h5py.Group, name: str, values: Sequence) -> None:
    if name in TEXTS:
        encoded = [value.encode() for value in values]
        dtype = h5py.string_dtype("utf-8", max([1, *map(len, encoded)]))
        dataset = group.create_dataset(name, data=np.array(encoded, dtype=dtype))
    else:
        dataset = group.create_dataset(
            name, data=np.array(values), dtype="i8" if name in INTEGERS else "f8",
            maxshape=(None,), chunks=(1024,),
        )  # fmt: skip
    dataset.attrs["units"] = _text("1")
    dataset.attrs["description"] = _text(f"synthetic {dataset.name}")


def write_hessian(file: h5py.File, spec: SpectrumSpec) -> None:
    """The group /hessian; also for run files."""
    for name, columns in _tables(spec).items():
        group = file.create_group(f"hessian/{name}")
        for column, values in columns.items():
            _column(group, column, values)
    for block, matrix in spec.exact.items():
        file[f"hessian/exact/{block}/matrix"] = matrix


def write_spectrum(path: Path, spec: SpectrumSpec) -> Path:
    """A spectrum.h5 whose program has ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = _text("blockwise-spectrum")
        file.attrs["format_version"] = np.int64(1)
        file["config/yaml"] = _text(spec.config)
        file["config"].attrs["hash"] = _text("0123456789abcdef")
        provenance = file.create_group("provenance")
        provenance.attrs["compiler"] = _text("some compiler")
        provenance.attrs["threads"] = np.int64(2)
        file.create_dataset(
            "status/state", data=STATES[spec.status], dtype=h5py.enum_dtype(STATES, basetype="i1")
        )
        file["status/message"] = _text(spec.message, 256)
        write_hessian(file, spec)
    return path


# ---- whole measurements ------------------------------------------------------------------------


def gpt2_parameters(
    layers: int = 2, width: int = 16, vocabulary: int = 61
) -> list[tuple[str, str, int, int]]:
    """Name, role, layer and elements of a small GPT-2's tensors."""
    parameters = [
        ("wte.weight", "token_embedding", -1, vocabulary * width),
        ("wpe.weight", "position_embedding", -1, 16 * width),
    ]
    for layer in range(layers):
        for name, role, elements in (
            ("ln_1.weight", "norm", width), ("ln_1.bias", "norm", width),
            ("attn.c_attn.weight", "", 3 * width * width), ("attn.c_attn.bias", "bias", 3 * width),
            ("attn.c_proj.weight", "attention_output", width * width),
            ("attn.c_proj.bias", "bias", width), ("ln_2.weight", "norm", width),
            ("ln_2.bias", "norm", width), ("mlp.c_fc.weight", "mlp_in", 4 * width * width),
            ("mlp.c_fc.bias", "bias", 4 * width),
            ("mlp.c_proj.weight", "mlp_out", 4 * width * width), ("mlp.c_proj.bias", "bias", width),
        ):  # fmt: skip
            parameters.append((f"h.{layer}.{name}", role, layer, elements))
    return [*parameters, ("ln_f.weight", "norm", -1, width), ("ln_f.bias", "norm", -1, width)]


RULES = ("adam_mini", "rows", "random")


def gpt2_spectrum(steps: Sequence[int] = (0, 50, 100, 200), layers: int = 2) -> SpectrumSpec:
    """A block per tensor of a small GPT-2, with everything measured but exact matrices."""
    parameters = gpt2_parameters(layers)
    random = np.random.default_rng(5)
    blocks = [
        Block(name, network_eigenvalues(n, 10 ** random.uniform(-2, 1), i), role, layer)
        for i, (name, role, layer, n) in enumerate(parameters)
    ]
    norms = np.array([np.sum(block.eigenvalues**2) for block in blocks])
    pairs = [(i, j) for i in range(len(blocks)) for j in range(i, len(blocks))]

    def coupling(i: int, j: int) -> float:
        share = 1.0 if i == j else 10 ** random.uniform(-3.5, -0.5) / (1 + 0.1 * abs(i - j))
        return float(share**2 * np.sqrt(norms[i] * norms[j]))

    couplings = [
        (step, i, j, value, 0.05 * value)
        for step in steps for i, j in pairs for value in [coupling(i, j)]
    ]  # fmt: skip
    distances = [
        (step, i, j, 0.6 * (j - i) / len(blocks), 0.01)
        for step in steps for i, j in pairs if i < j
    ]  # fmt: skip
    return SpectrumSpec(
        blocks=blocks,
        parameters=parameters,
        steps=steps,
        lanczos_steps=40,
        probes=2,
        tables={
            **table("couplings", couplings),
            **table("distances", distances),
            **table("rules", [(rule,) for rule in RULES]),
            **table("tensors", [(name,) for name, *_ in parameters]),
            **table("energies", _energies(steps, len(parameters), random)),
            **table("function_names", [("negative",)]),
            **table(
                "functions", [(step, b, 0, 3.0, 0.5, 2) for step in steps for b in range(len(blocks))]
            ),
            **table("symmetry_names", [("shift of the logits",), ("scale of the keys",)]),
            **table("symmetries", [(step, s, 1e-6 * (s + 1)) for step in steps for s in (0, 1)]),
        },
    )


def _energies(steps: Sequence[int], tensors: int, random: np.random.Generator) -> list[tuple]:
    rows = []
    for step in steps:
        for tensor in range(tensors):
            for rule, lift in enumerate((random.uniform(0.3, 0.9), random.uniform(0.1, 0.7), 0.0)):
                share = 0.1 + 0.9 * lift
                rows.append((step, tensor, rule, 16, share, 0.02, 0.1, lift, 0.4, 0.06))
    return rows


def symmetric_matrix(parameters: Sequence[tuple[str, str, int, int]], seed: int = 1) -> np.ndarray:
    """A matrix with a block structure: within a parameter larger than between."""
    random = np.random.default_rng(seed)
    scales = np.concatenate([np.full(n, 10 ** random.uniform(-2, 0)) for *_, n in parameters])
    owner = np.concatenate([np.full(n, i) for i, (*_, n) in enumerate(parameters)])
    values = random.standard_normal((len(owner), len(owner))) * np.sqrt(np.outer(scales, scales))
    values *= np.where(owner[:, None] == owner, 1.0, 0.05)
    return (values + values.T) / 2


def exact_spectrum(parameters: Sequence[tuple[str, str, int, int]], seed: int = 1) -> SpectrumSpec:
    """One block with its exact matrix and all eigenvalues, and no quadrature."""
    matrix = symmetric_matrix(parameters, seed)
    return SpectrumSpec(
        blocks=[Block("model", np.linalg.eigvalsh(matrix))],
        parameters=list(parameters),
        exact={0: matrix},
        probes=0,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="writes synthetic Hessian measurements")
    parser.add_argument("folder", type=Path)
    write_spectrum(parser.parse_args().folder / "spectrum.h5", gpt2_spectrum())
