"""Adam-mini in plain PyTorch, with a partition that `blockwise partition` found.

    optimizer = AdamMini(model.named_parameters(), "runs/my-partition/partition.yaml", lr=1e-3)

Every tensor is seen as a matrix [rows, columns], a vector as [n, 1], and cut into sections of
consecutive rows. `structure` says which elements of a section share a second moment:

    elements   none: AdamW
    tiles      those of a tile of `tile` rows and columns; v is the mean of g^2 over the tile
    factored   in every `group` of rows v_ij = r_i c_j / mean(r), r and c averages of the means of
               g^2 along rows and columns
    labels     those with the same number, "NUMBER*REPETITIONS ...", row by row
    none       v = 1

Sections with one number `merged` share one value, the mean of g^2 over all of them.

Names are those of the file: where a framework calls its tensors otherwise, rename them before.
Needs torch, and the package `blockwise` beside it, whose reader refuses a damaged file by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from blockwise.files.partition_file import read_partition_document


def tile_means(x: Tensor, rows: int, columns: int) -> Tensor:
    """Means of x over tiles, the last ones smaller where they do not divide it."""

    def sums(t: Tensor) -> Tensor:
        t = pad(t, (0, -t.shape[1] % columns, 0, -t.shape[0] % rows))
        return t.view(t.shape[0] // rows, rows, t.shape[1] // columns, columns).sum((1, 3))

    return sums(x) / sums(torch.ones_like(x))


def spread(values: Tensor, rows: int, columns: int, like: Tensor) -> Tensor:
    """A value per tile at every element of the tile."""
    whole = values.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    return whole[: like.shape[0], : like.shape[1]]


class Section:
    """The second moment of some rows of a tensor."""

    def __init__(self, section: dict[str, Any], beta2: float) -> None:
        self.rows = slice(*section["rows"])
        self.role: str = section["role"]
        self.structure: str = section["structure"]
        self.tile: list[int] = section.get("tile", [section.get("group", 1), 1])
        runs = [run.split("*") for run in section.get("labels", "").split()]
        self.labels = torch.tensor([int(n) for n, times in runs for _ in range(int(times))])
        self.merged: int | None = section.get("merged")
        self.beta2 = beta2
        self.moments: dict[str, Tensor] = {}

    def average(self, name: str, value: Tensor) -> Tensor:
        moment = self.moments.setdefault(name, torch.zeros_like(value))
        return moment.mul_(self.beta2).add_(value, alpha=1 - self.beta2)

    def second_moment(self, square: Tensor, merged_means: dict[int, Tensor]) -> Tensor:
        """v at every element, after the squared gradient of this step."""
        if self.merged is not None:
            return self.average("v", merged_means[self.merged])
        if self.structure == "elements":
            return self.average("v", square)
        tile = min(self.tile[0], square.shape[0]), min(self.tile[1], square.shape[1])
        if self.structure == "tiles":
            return spread(self.average("v", tile_means(square, *tile)), *tile, square)
        if self.structure == "labels":
            labels = self.labels.to(square.device)
            sums = torch.zeros(int(labels.max()) + 1, device=square.device, dtype=square.dtype)
            counts = torch.bincount(labels)
            means = sums.index_add_(0, labels, square.flatten()) / counts
            return self.average("v", means)[labels].view_as(square)
        r = self.average("r", square.mean(1, keepdim=True))
        c = self.average("c", tile_means(square, tile[0], 1))
        ratio = torch.nan_to_num(c / tile_means(r, tile[0], 1), nan=0.0)  # an all-zero group
        return r * spread(ratio, tile[0], 1, square)


class AdamMini(torch.optim.Optimizer):
    """AdamW whose second moment has the structure of a partition file."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, Tensor]],
        partition: Path | str,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        no_decay: tuple[str, ...] = ("norm", "bias"),
    ) -> None:
        document = read_partition_document(partition)
        tensors = {tensor["name"]: tensor for tensor in document["tensors"]}
        groups = []
        self.sections_of: dict[Tensor, list[Section]] = {}
        for name, parameter in named_parameters:
            if name not in tensors:
                raise ValueError(f"{partition} has no tensor '{name}'")
            if list(parameter.shape) != tensors[name]["shape"]:
                raise ValueError(f"'{name}': {list(parameter.shape)}, not {tensors[name]['shape']}")
            sections = [Section(section, betas[1]) for section in tensors[name]["sections"]]
            decay = 0.0 if sections[0].role in no_decay else weight_decay
            groups.append({"params": [parameter], "weight_decay": decay})
            self.sections_of[parameter] = sections
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    def _tensors(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        for group in self.param_groups:
            if group["params"][0].grad is not None:
                yield group, group["params"][0]

    def _merged_means(self) -> dict[int, Tensor]:
        """The mean of g^2 over all sections that share a value, by their number."""
        squares: dict[int, list[Tensor]] = {}
        for _, parameter in self._tensors():
            rows_of = parameter.grad.view(parameter.shape[0], -1)
            for section in self.sections_of[parameter]:
                if section.merged is not None:
                    part = rows_of[section.rows].square().flatten()
                    squares.setdefault(section.merged, []).append(part)
        return {number: torch.cat(parts).mean() for number, parts in squares.items()}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        merged_means = self._merged_means()
        for group, parameter in self._tensors():
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            if not state:
                state["step"], state["exp_avg"] = 0, torch.zeros_like(parameter)
            state["step"] += 1
            m = state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            columns = parameter.shape[1] if parameter.dim() > 1 else 1
            for number, section in enumerate(self.sections_of[parameter]):
                section.moments = state.setdefault(f"section_{number}", {})  # what state_dict() saves
                rows = section.rows

                def part(t: Tensor) -> Tensor:
                    return t.view(-1, columns)[rows]  # noqa: B023

                direction = part(m) / (1 - beta1 ** state["step"])
                if section.structure != "none":
                    v = section.second_moment(part(parameter.grad).square(), merged_means)
                    root = (v / (1 - beta2 ** state["step"])).sqrt()
                    direction = direction / (root + group["eps"])
                part(parameter).sub_(direction, alpha=group["lr"])
