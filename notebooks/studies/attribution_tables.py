"""How much of the gap between two partitions lies in every role.

From a sweep whose groups are the baseline's partition with one role changed: `refine_ROLE` keeps a
value of the second moment per element of this role, `coarsen_ROLE` one value per tensor. The group
`adamw` refines all of them.
"""

from __future__ import annotations

import pandas as pd

from blockwise.analysis.sweep_tables import final_losses
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep
from blockwise.statistics.intervals import MeanInterval, mean_interval

ALL_REFINED = "adamw"
"""The group, and the change, that has one value per element everywhere."""
CHANGES = ("refine", "coarsen")

_OVERRIDES = {"model.n_embd": "n_embd", "trainer.steps": "steps"}


def role_differences(sweep: Sweep) -> pd.DataFrame:
    """Final loss less the baseline's of the same seed, size and length; a row per member.

    n_embd (width of the model); steps (length of the run); change (refine or coarsen, then of one
    role; adamw: all roles refined, and no role); role; seed; difference (nats per token, negative
    is better; NaN unless both runs finished with a finite loss). Raises RunFileError for a sweep
    that sets no sizes and lengths.
    """
    losses = final_losses(sweep).query("not confirmed").rename(columns=_OVERRIDES)
    missing = [name for name, column in _OVERRIDES.items() if column not in losses]
    if missing:
        raise RunFileError(f"{sweep.folder}: no sweep of roles: sets no {', '.join(missing)}")
    losses["final_loss"] = losses["final_loss"].replace([float("inf"), -float("inf")], float("nan"))
    setting = [*_OVERRIDES.values(), "seed"]
    base = losses.loc[losses["group"] == sweep.baseline, [*setting, "final_loss"]]
    pairs = losses.merge(base, on=setting, how="left", suffixes=("", "_base"))
    names = pairs["group"].str.partition("_")
    pairs = pairs.assign(
        change=names[0], role=names[2], difference=pairs["final_loss"] - pairs["final_loss_base"]
    )
    pairs = pairs[pairs["change"].isin([*CHANGES, ALL_REFINED])]
    return pairs[[*_OVERRIDES.values(), "change", "role", "seed", "difference"]]


def attribution_table(sweep: Sweep) -> pd.DataFrame:
    """What refining and coarsening each role does to the final loss, a row per size, length, role.

    n_embd; steps; role; refine, coarsen (mean over seeds of the loss less the baseline's of the
    same seed, nats per token, negative is better), each with _half_width (95 % t interval, NaN with
    fewer than two seeds) and _seeds (pairs that finished; a diverged run is not among them); gap
    (the same for `adamw`, all roles refined), gap_half_width; share = refine / gap: the role's part
    of what refining everything gains. The shares need not add up to 1, and mean nothing where the
    gap's interval covers 0. NaN: no pair finished.
    """
    rows = []
    for (n_embd, steps), cell in role_differences(sweep).groupby(["n_embd", "steps"]):
        gap = _mean(cell, ALL_REFINED, "")
        for role in roles_of(cell):
            row = {"n_embd": n_embd, "steps": steps, "role": role}
            for change in CHANGES:
                row |= _columns(change, _mean(cell, change, role))
            row |= {"gap": gap.mean, "gap_half_width": gap.half_width}
            rows.append(row | {"share": row["refine"] / gap.mean if gap.mean else float("nan")})
    return pd.DataFrame(rows)


def roles_of(differences: pd.DataFrame) -> list[str]:
    """The roles in `role_differences`, in the manifest's order."""
    return [role for role in dict.fromkeys(differences["role"]) if role]


def _mean(cell: pd.DataFrame, change: str, role: str) -> MeanInterval:
    chosen = (cell["change"] == change) & (cell["role"] == role)
    return mean_interval(cell.loc[chosen, "difference"].tolist())


def _columns(change: str, interval: MeanInterval) -> dict[str, float]:
    return {
        change: interval.mean,
        f"{change}_half_width": interval.half_width,
        f"{change}_seeds": interval.count,
    }
