"""Hessian measurements as data frames.

    spectrum = blockwise.read_spectrum("runs/gpt2-spectrum")
    spectrum.summary[["step", "block_name", "trace", "trace_error"]]
    blockwise.save_figure(blockwise.spectrum_figure(spectrum), "figure.png")

`blockwise spectrum` writes DIR/spectrum.h5; a training run whose YAML has a section `hessian` with
`every` writes the same tables into its run.h5. Both can be read while they grow. Eigenvalues and
traces are in nats per squared parameter, step is the training step of the weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import h5py
import numpy as np
import pandas as pd

from ..statistics.student_t import t_quantile
from .folder_kind import other_reader
from .hdf5_file import (
    FileKind,
    RunFileError,
    column,
    dataset,
    read_file,
    read_frame,
    read_provenance,
    read_status,
    scalar_text,
    subgroup,
    text_attribute,
)
from .short_repr import plural, screen

# Tables that are written once, and the columns that they have.
_FIXED: dict[str, tuple[str, ...]] = {
    "blocks": ("name", "role", "layer", "index", "elements"),
    "parameters": ("name", "role", "layer", "offset", "elements"),
    "symmetry_names": ("name",),
    "rules": ("name",),
    "tensors": ("name",),
    "function_names": ("name",),
}

# Further ones, which files of older programs do not have.
_LATER: dict[str, tuple[str, ...]] = {
    "pieces": ("block", "tensor", "row", "rows", "column", "columns"),
    "sections": ("tensor", "role", "row", "rows", "heads", "head_dim", "head_axis"),
    "examples": ("batch", "file", "position"),
    "points": ("step", "model"),
}

# Tables that get rows at every measured step.
_GROWING = {
    "summary": (
        "step", "block", "loss", "gradient_norm", "noise", "asymmetry", "nonlinearity", "products",
        "gradients", "seconds", "peak_bytes", "trace", "trace_error", "squared_frobenius",
        "squared_frobenius_error", "difference_error",
    ),
    "probes": ("step", "block", "probe", "lanczos_steps", "broke_down"),
    "eigenvalues": ("step", "block", "index", "value", "residual_bound", "residual"),
    "quadrature": ("step", "block", "probe", "node", "weight"),
    "symmetries": ("step", "symmetry", "error"),
    "couplings": ("step", "row_block", "column_block", "squared_norm", "squared_norm_error"),
    "distances": (
        "step", "row_block", "column_block", "jensen_shannon", "jensen_shannon_error",
    ),
    "preconditioning": (
        "step", "block", "tau", "tau_error", "condition", "condition_adam", "ratio", "ratio_error",
        "left_out",
    ),
    "energies": (
        "step", "tensor", "rule", "blocks", "share", "share_error", "random_share", "lift",
        "homogeneity",
    ),
    "functions": ("step", "block", "function", "value", "error", "probes"),
}  # fmt: skip

# Columns that files of older programs do not have, and what stands for them.
_LATER_COLUMNS: dict[str, dict[str, float]] = {
    "summary": {"trace_low": np.nan, "trace_high": np.nan, "squared_frobenius_low": np.nan,
                "squared_frobenius_high": np.nan, "copies_found": 0},
    "eigenvalues": {"converged": -1},
    "quadrature": {"residual": np.nan},
    "couplings": {"squared_norm_low": np.nan, "squared_norm_high": np.nan},
    "distances": {"jensen_shannon_half_width": np.nan},
    "preconditioning": {"tau_half_width": np.nan, "condition_low": np.nan,
                        "condition_high": np.nan, "condition_adam_low": np.nan,
                        "condition_adam_high": np.nan, "ratio_low": np.nan, "ratio_high": np.nan},
    "energies": {"share_half_width": np.nan},
    "functions": {"quadrature_error": np.nan, "low": np.nan, "high": np.nan, "converged": -1},
}  # fmt: skip

# Columns with row numbers of a fixed table; the frames have the names beside them.
_NAMED_BY = {
    "block": "blocks",
    "row_block": "blocks",
    "column_block": "blocks",
    "symmetry": "symmetry_names",
    "rule": "rules",
    "tensor": "tensors",
    "function": "function_names",
}


_TEXTS = ("name", "role", "file", "model")
_INTEGERS = ("step", *_NAMED_BY)


@dataclass(frozen=True, eq=False)
class Eigenvector:
    """An eigenvector of a block, of unit norm, up to its sign.

    value: its eigenvalue; residual: |Au - value u|, as far as it is one (0: of an exact matrix).
    vector: in the block's order [elements]. tensors: the same by parameter, each array of the
    shape that Hugging Face's tensor of this name has; 0 at elements outside the block.
    """

    value: float
    residual: float
    vector: np.ndarray
    tensors: dict[str, np.ndarray]

    def __repr__(self) -> str:
        what = f"Eigenvector of {self.value:.6g}, residual {self.residual:.2g}"
        tensors = [f"{name} {array.shape}" for name, array in self.tensors.items()]
        return screen(what, f"{len(self.vector)} elements", tensors)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Hessian measurements, as far as they were recorded when the file was read.

    A block is a set of parameters whose diagonal block H_bb of the Hessian was measured. Every
    table has a column step; beside each of block, row_block, column_block, symmetry, rule,
    tensor and function (row numbers) is one with the name: block_name, ... A table that was not asked for is
    empty, a column NaN.

    blocks: a row per block. name; role (empty: mixed); layer (-1: none); index (head, row or
        column within the tensor, -1: none); elements.
    parameters: a row per parameter, in the order of the whole vector. name (Hugging Face's); role;
        layer; offset; elements; shape (a tuple: the vector holds it row-major); transposed (the
        tensor in Hugging Face's file is the transpose, as GPT-2's Conv1D stores [in, out]).
    pieces: a block is its pieces one after the other, each a rectangle of a tensor as a matrix
        [shape[0], the rest], row by row. block; tensor (row of parameters); row, rows; column,
        columns.
    sections: the parts of a tensor with one role. tensor; role; row, rows; heads (0: none);
        head_dim; head_axis (0: a head is head_dim rows, 1: columns).
    examples: a row per measured example. batch; file, position (where it begins: token file and
        token in it; of made-up data no file and its number). `windows` has the tokens.
    points: step; model (its path; empty: a fresh one, or the run itself).
    summary: a row per step and block. loss (nats per token); gradient_norm (of the block); noise, asymmetry, nonlinearity (relative errors of the
        operator); products; gradients (cost, in gradients); seconds; peak_bytes; trace and
        squared_frobenius, each with its standard error in NAME_error and its 95 % interval from
        NAME_low to NAME_high (Student's t); copies_found (1: eigenvalues that repeat are listed as
        often, 0: one start may have seen them once); difference_error (estimated, of a product by differences).
    probes: a row per random start. lanczos_steps; broke_down (1: the space was invariant).
    eigenvalues: index (0 is the largest, -1 the smallest; with exact 0 to n - 1, descending);
        value; residual_bound; residual (NaN where not confirmed by a product); converged (0: the
        value only bounds the eigenvalue from inside the spectrum; -1: not known).
    quadrature: a row per node of stochastic Lanczos quadrature. probe; node; weight (those of one
        probe sum to 1); residual (an eigenvalue lies this near to the node).
    symmetries: error of the Hessian in a symmetry of the model.
    couplings: squared_norm ||H_ij||_F^2 of row_block i and column_block j; squared_norm_error;
        squared_norm_low, squared_norm_high (95 %).
    distances: jensen_shannon (nats) between the broadened spectra of two blocks;
        jensen_shannon_error (standard error; 0: exact, NaN: one probe),
        jensen_shannon_half_width (95 %).
    preconditioning: tau (share of ||H_bb||_F^2 on the diagonal), tau_error; condition,
        condition_adam (before and after Adam's diagonal preconditioner); ratio (condition_adam /
        condition), ratio_error; left_out (share of the smallest |eigenvalues| that is left out,
        0: exact); tau_half_width and condition_low, condition_high, ... (95 %, with what the
        quadrature leaves open; infinite: not bounded).
    energies: a row per tensor and partition rule. blocks (number); share (of ||H||_F^2 within the
        diagonal blocks), share_error; random_share (random blocks of equal sizes); lift
        ((share - random_share) / (1 - random_share)); homogeneity (share of the variance of
        log |diag H| left inside blocks); share_half_width (95 %).
    functions: value, the sum of a function of the eigenvalues over all of them; error (standard
        error over probes; 0: exact, NaN: one probe); probes; quadrature_error (what the
        quadratures may be off); low, high (95 %, both errors); converged (0: the quadrature's error
        is the larger one and above 1 %).
    status: running, finished, diverged, failed or interrupted. A program that was killed had no
        time to change `running`.
    """

    path: Path
    config: str
    hash: str
    provenance: dict[str, str | int]
    status: str
    message: str
    blocks: pd.DataFrame
    parameters: pd.DataFrame
    pieces: pd.DataFrame
    sections: pd.DataFrame
    examples: pd.DataFrame
    points: pd.DataFrame
    summary: pd.DataFrame
    probes: pd.DataFrame
    eigenvalues: pd.DataFrame
    quadrature: pd.DataFrame
    symmetries: pd.DataFrame
    couplings: pd.DataFrame
    distances: pd.DataFrame
    preconditioning: pd.DataFrame
    energies: pd.DataFrame
    functions: pd.DataFrame

    def __repr__(self) -> str:
        blocks, steps = plural(len(self.blocks), "block"), plural(len(self.steps), "step")
        what = f"Spectrum, {self.status}, {blocks} at {steps}"
        lines = [self.message] if self.message else []
        lines += [
            f"{row['block_name']}, step {row['step']}: loss {row['loss']:.4g}, "
            f"trace {row['trace']:.4g}"
            for _, row in self.summary.iterrows()
        ]
        return screen(what, self.path, lines)

    @property
    def steps(self) -> list[int]:
        """Training steps with a measurement, ascending."""
        tables = (getattr(self, name)["step"] for name in _GROWING)
        return sorted({int(step) for column in tables for step in column})

    def measured_step(self, step: int | None = None) -> int:
        """`step`, or the last one with a measurement for None."""
        if not self.steps:
            raise RunFileError(f"{self.path}: no measurement has been recorded yet")
        if step is not None and step not in self.steps:
            some = ", ".join(map(str, self.steps[:8])) + (", ..." if len(self.steps) > 8 else "")
            raise ValueError(f"step {step} was not measured; there are {some}")
        return self.steps[-1] if step is None else step

    def subject(self, step: int) -> str:
        """For a title: "of quickstart at step 400", or "at step 400" of a run itself."""
        models = self.points.loc[self.points["step"] == step, "model"]
        path = PurePath(models.iloc[0]) if len(models) > 0 else PurePath()
        if path.parent.name == "checkpoints":  # of a run
            path = path.parent.parent
        return f"of {path.name} at step {step}" if path.name else f"at step {step}"

    def block_id(self, block: str | int) -> int:
        """The row number of a block, given that or its name."""
        names = self.blocks["name"].tolist()
        if isinstance(block, int | np.integer):
            if not 0 <= block < len(names):
                raise ValueError(f"block {block}: there are blocks 0 to {len(names) - 1}")
            return int(block)
        if names.count(block) > 1:
            raise ValueError(f"{names.count(block)} blocks are called '{block}': give the number")
        if block not in names:
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise ValueError(f"no block is called '{block}'; there are {some}")
        return names.index(block)

    def rows(self, table: str, step: int, block: str | int | None = None) -> pd.DataFrame:
        """The rows of a growing table, by its name, of one step and, where given, of one block."""
        frame: pd.DataFrame = getattr(self, table)
        chosen = frame["step"] == step
        if block is not None:
            chosen &= frame["block"] == self.block_id(block)
        return frame[chosen]

    def matrix(self, block: str | int, step: int | None = None) -> np.ndarray:
        """The exact Hessian block [elements, elements], float64, read from the file now.

        Raises RunFileError where it was not asked for, and for a run: only `blockwise spectrum`
        writes matrices.
        """
        return self._array("exact", block, step, "matrix", "exact matrix", "'exact: true'")

    def elements(self, block: str | int, step: int | None = None) -> pd.DataFrame:
        """A row per parameter of the block: diagonal, squared_row_norms, each with its standard
        error in NAME_error and half the width of Student's 95 % interval in NAME_half_width (NaN in
        files of older programs). Squares are skewed: of few products Student's interval is too
        short for them, and squared_row_norms_low to squared_row_norms_high is the right one (NaN in
        files of older programs). Read from the file now; NaN until they are measured.

        Raises RunFileError where they were not asked for, and for a run.
        """
        names = ("diagonal", "diagonal_error", "squared_row_norms", "squared_row_norms_error")
        how = "'diagonal: {products: 100}'"
        columns = {
            name: self._array("vectors", block, step, name, "diagonal", how) for name in names
        }
        quantile = _quantile(self._optional_array("vectors", block, step, "samples"))
        for name in ("diagonal", "squared_row_norms"):
            columns[f"{name}_half_width"] = quantile * columns[f"{name}_error"]
        for end in ("squared_row_norms_low", "squared_row_norms_high"):
            known = self._optional_array("vectors", block, step, end)
            absent = np.full_like(columns["diagonal"], np.nan)
            columns[end] = absent if known is None else known
        return pd.DataFrame(columns)

    def eigenvectors(self, block: str | int, step: int | None = None) -> list[Eigenvector]:
        """The block's eigenvectors that were asked for, by descending |eigenvalue|; fewer where
        fewer were found. Read from the file now.

        Raises RunFileError where none were asked for, and for a run.
        """

        def array(name: str) -> np.ndarray:
            return self._array("eigenvectors", block, step, name, "eigenvectors", "'pairs: {vectors: 5}'")

        values, residuals = array("value"), array("residual")
        found = []
        for i in np.flatnonzero(~np.isnan(values)):
            vector = array(f"vector/{i}")
            tensors = self.tensors(block, vector)
            found.append(Eigenvector(float(values[i]), float(residuals[i]), vector, tensors))
        return found

    def tensors(self, block: str | int, vector: np.ndarray) -> dict[str, np.ndarray]:
        """A vector of the block by parameter: name -> array of the shape that Hugging Face's tensor
        of this name has (transposed where `parameters` says so); 0 at elements outside the block.
        """
        number = self.block_id(block)
        if np.shape(vector) != (self.blocks["elements"].iloc[number],):
            raise ValueError(
                f"a vector of shape {np.shape(vector)}, the block has "
                f"{self.blocks['elements'].iloc[number]} elements"
            )
        tensors: dict[int, np.ndarray] = {}
        begin = 0
        for piece in self._pieces(number).itertuples():
            rows, columns = int(piece.rows), int(piece.columns)
            tensor = int(piece.tensor)
            shape = self.parameters["shape"].iloc[tensor]
            whole = tensors.setdefault(tensor, np.zeros((shape[0], int(np.prod(shape[1:])))))
            part = np.asarray(vector)[begin : begin + rows * columns].reshape(rows, columns)
            whole[piece.row : piece.row + rows, piece.column : piece.column + columns] = part
            begin += rows * columns
        return {
            self.parameters["name"].iloc[tensor]: self._as_hugging_face(tensor, whole)
            for tensor, whole in sorted(tensors.items())
        }

    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of the measured examples, int64 [examples, length]: what the model read, and
        what it was to predict there (-100: a target that does not count). Read from the file now.

        Raises RunFileError for data without tokens, and for files of older programs.
        """
        group = "hessian/example_tokens"

        def read(file: h5py.File) -> tuple[np.ndarray, np.ndarray]:
            place = subgroup(file, group) if group in file else None
            if place is None or len(dataset(place, "input")) == 0:
                raise RunFileError(f"{self.path}: the file holds no tokens")
            rows = len(self.examples)
            return (
                column(place, "input", "iu").reshape(rows, -1),
                column(place, "target", "iu").reshape(rows, -1),
            )

        return read_file(self.path, _SPECTRUM_FILE, read)

    def _pieces(self, block: int) -> pd.DataFrame:
        pieces = self.pieces[self.pieces["block"] == block]
        if pieces.empty:
            raise RunFileError(
                f"{self.path}: an older program wrote this file, it does not say which elements "
                "make a block: measure again"
            )
        return pieces

    def _as_hugging_face(self, tensor: int, matrix: np.ndarray) -> np.ndarray:
        row = self.parameters.iloc[tensor]
        array = matrix.reshape(row["shape"])
        return array.T if row["transposed"] else array

    def _array(
        self, kind: str, block: str | int, step: int | None, name: str, what: str, how: str
    ) -> np.ndarray:
        found = self._optional_array(kind, block, step, name)
        if found is None:
            raise RunFileError(
                f"{self.path}: no {what} of this block: run `blockwise spectrum` with {how} in the "
                "YAML's section 'hessian'"
            )
        return found

    def _optional_array(
        self, kind: str, block: str | int, step: int | None, name: str
    ) -> np.ndarray | None:
        """Of several models each has a group of its own, by step."""
        chosen = self.measured_step(step)
        place = f"{kind}/{self.block_id(block)}/{name}"
        several = f"hessian/steps/{chosen}/{place}"

        def read(file: h5py.File) -> np.ndarray | None:
            found = several if several in file else f"hessian/{place}"
            if found not in file:
                return None
            return np.asarray(dataset(file, found)[()], dtype=np.float64)

        return read_file(self.path, _SPECTRUM_FILE, read)


_SPECTRUM_FILE = FileKind(
    formats=("blockwise-spectrum", "blockwise-run"),
    name="spectrum",
    give="Give the spectrum.h5 that `blockwise spectrum` wrote, or the run.h5 of a run that "
    "measured its Hessian",
    missing="`blockwise spectrum` writes it: run that, or give the path of a spectrum.h5",
    remedy="measure again",
)


def read_spectrum(path: str | os.PathLike[str]) -> Spectrum:
    """Reads a spectrum.h5, a run.h5 with Hessian measurements, or the folder of either.

    In a folder with both, spectrum.h5. Works on a file that is being written and on one whose
    writer was killed. Raises RunFileError for a file that is missing, neither of them or damaged,
    and for a run that measures no Hessian.
    """
    file_path = Path(path)
    if file_path.is_dir():
        names = [name for name in ("spectrum.h5", "run.h5") if (file_path / name).exists()]
        if not names:
            give = "Give a folder that `blockwise spectrum` or `blockwise train` wrote."
            raise RunFileError(
                f"{file_path}: neither a spectrum (spectrum.h5) nor a run (run.h5). "
                f"{other_reader(file_path) or give}"
            )
        file_path = file_path / names[0]
    return read_file(file_path, _SPECTRUM_FILE, lambda file: _spectrum(file_path, file))


def _spectrum(path: Path, file: h5py.File) -> Spectrum:
    _check_measured(path, file)
    group = subgroup(file, "hessian")
    status, message = read_status(file)
    # One that runs or was killed may have written some of the columns of its last rows.
    growing = status in ("running", "failed")
    fixed = {
        name: read_frame(subgroup(group, name), columns, texts=_TEXTS)
        for name, columns in _FIXED.items()
    }
    later = {
        name: read_frame(subgroup(group, name), columns, texts=_TEXTS, integers=columns)
        if name in group
        else pd.DataFrame(columns=columns)
        for name, columns in _LATER.items()
    }
    tables = {
        name: read_frame(subgroup(group, name), columns, integers=_INTEGERS, growing=growing)
        for name, columns in _GROWING.items()
    }
    return Spectrum(
        path=path,
        config=scalar_text(file, "config/yaml"),
        hash=text_attribute(subgroup(file, "config"), "hash"),
        provenance=read_provenance(file),
        status=status,
        message=message,
        blocks=fixed["blocks"],
        parameters=_with_shapes(fixed["parameters"]),
        **later,
        **{
            name: _with_names(_with_later(name, _recorded_rows(table, status)), fixed)
            for name, table in tables.items()
        },
    )


def _with_shapes(parameters: pd.DataFrame) -> pd.DataFrame:
    """With shape as a tuple and transposed as a truth; of older files, which say neither, None."""
    if "shape" not in parameters:
        return parameters.assign(shape=None, transposed=None)
    shapes = [tuple(int(size) for size in json.loads(shape)) for shape in parameters["shape"]]
    for shape, elements in zip(shapes, parameters["elements"], strict=True):
        if int(np.prod(shape)) != elements:
            raise ValueError(f"a parameter of shape {shape} with {elements} elements")
    return parameters.assign(
        shape=pd.Series(shapes, index=parameters.index, dtype=object),
        transposed=parameters["transposed"].astype(bool),
    )


def _with_later(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    missing = {k: v for k, v in _LATER_COLUMNS.get(name, {}).items() if k not in frame.columns}
    return frame.assign(**missing) if missing else frame


def _quantile(samples: np.ndarray | None) -> float:
    """Student's t for so many samples; NaN where the file does not say."""
    count = np.nan if samples is None else float(samples[0])
    return t_quantile(int(count) - 1) if count >= 2 else np.nan


def _check_measured(path: Path, file: h5py.File) -> None:
    """A run file without the group, or with one that has no block, is whole but says nothing."""
    if text_attribute(file, "format") != "blockwise-run":
        return
    if "hessian/blocks" not in file or len(dataset(file, "hessian/blocks/name")) == 0:
        raise RunFileError(
            f"{path}: this run has no Hessian measurements: give its YAML a section 'hessian' with "
            "'every'"
        )


def _recorded_rows(frame: pd.DataFrame, status: str) -> pd.DataFrame:
    """The rows up to the first whose step goes back.

    A reader may see rows that a living writer has announced and not yet filled: they are zero. At
    step 0 the step does not tell them from others, so those at the end are left out.
    """
    back = np.flatnonzero(np.diff(frame["step"].to_numpy()) < 0)
    frame = frame if len(back) == 0 else frame.iloc[: back[0] + 1]
    if status != "running":
        return frame
    filled = np.flatnonzero(frame.ne(0).any(axis=1))
    return frame.iloc[: filled[-1] + 1 if len(filled) else 0]


def _with_names(frame: pd.DataFrame, fixed: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The frame with a column of names to the right of every column of row numbers."""
    columns: dict[str, object] = {}
    for column in frame.columns:
        columns[column] = frame[column]
        if column in _NAMED_BY:
            names = fixed[_NAMED_BY[column]]["name"].tolist()
            columns[f"{column}_name"] = [names[number] for number in _numbers(frame[column], names)]
    return pd.DataFrame(columns, index=frame.index)


def _numbers(column: pd.Series, names: list[str]) -> list[int]:
    outside = column[(column < 0) | (column >= len(names))]
    if len(outside):
        raise ValueError(f"{column.name} {outside.iloc[0]} of {len(names)}")
    return [int(number) for number in column]
