"""The gap of one group of sweeps to another against the size of the model, with a line and its doubt.

    .venv/bin/python -m studies.sizes.gap_by_size runs/query-key-factored runs/ladder-gpt2-125m \\
        --group adam_mini --baseline adamw --predict 1e9 --figure gap.png

Each sweep is one size: its gap is the mean paired difference of final validation losses, each group
with its best configuration of the sweep. The line is  gap = a + b log10(parameters),  by least squares with weights
1 / s^2; where the points lie further from it than their own s say, all s grow alike until they do
not (Birge's ratio). Few points decide little: the intervals are Student's, of as many degrees of
freedom as points beyond two, and NaN without any.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from blockwise.analysis.sweep_tables import judged_configurations
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep, read_sweep
from blockwise.statistics.intervals import mean_interval
from blockwise.statistics.student_t import t_quantile


@dataclass(frozen=True)
class GapLine:
    """gap = intercept + slope * log10(parameters), and the covariance of the two."""

    intercept: float
    slope: float
    covariance: np.ndarray
    birge: float
    degrees_of_freedom: int

    def at(self, parameters: float) -> tuple[float, float]:
        """The line there, and half of its 95 % interval: of the line, not of a new sweep."""
        place = np.array([1.0, math.log10(parameters)])
        value = float(place @ np.array([self.intercept, self.slope]))
        if self.degrees_of_freedom < 1:
            return value, math.nan
        error = math.sqrt(float(place @ self.covariance @ place))
        return value, t_quantile(self.degrees_of_freedom) * error


def gap_table(sweeps: Sequence[Sweep], group: str, baseline: str) -> pd.DataFrame:
    """A row per sweep, by size: parameters, tokens of a run, seeds, gap and its half width (nats)."""
    rows = []
    for sweep in sweeps:
        missing = {group, baseline} - set(sweep.groups)
        if missing:
            raise RunFileError(f"{sweep.folder}: no group {', '.join(sorted(missing))}")
        pairs = _paired(sweep, group, baseline)
        interval = mean_interval(pairs)
        run = next((run for run in sweep.runs.values() if run.status == "finished"), None)
        if run is None:
            raise RunFileError(f"{sweep.folder}: no run has finished")
        parameters = int((run.partition["rows"] * run.partition["columns"]).sum())
        rows.append(
            {
                "sweep": sweep.folder.name,
                "parameters": parameters,
                "tokens": int(run.steps["tokens"].iloc[-1]),
                "seeds": len(pairs),
                "gap": interval.mean,
                "half_width": interval.half_width,
            }
        )
    return pd.DataFrame(rows).sort_values("parameters", ignore_index=True)


def _paired(sweep: Sweep, group: str, baseline: str) -> list[float]:
    """Differences of final losses seed by seed, each group with its best configuration: of confirmed runs
    where there are any, whose seeds chose nothing."""
    best = judged_configurations(sweep).set_index("group")
    if not {group, baseline} <= set(best.index):
        return []
    if best.loc[group, "confirmed"] != best.loc[baseline, "confirmed"]:
        return []
    own, other = (_by_seed(sweep, best.loc[name, "ids"]) for name in (group, baseline))
    return [own[seed] - other[seed] for seed in own if seed in other]


def _by_seed(sweep: Sweep, ids: Sequence[str]) -> dict[int, float]:
    losses = {member.seed: sweep.final_loss(member) for member in sweep.all_members if member.id in ids}
    return {seed: loss for seed, loss in losses.items() if math.isfinite(loss)}


def gap_line(table: pd.DataFrame) -> GapLine:
    """Of at least two sweeps with at least two seeds each."""
    known = table.dropna(subset=["gap", "half_width"])
    if len(known) < 2:
        raise ValueError(f"{len(known)} sweeps with an interval, a line needs 2")
    sigma = np.array(
        [row.half_width / t_quantile(row.seeds - 1) for row in known.itertuples()], dtype=float
    )
    design = np.stack([np.ones(len(known)), np.log10(known["parameters"].to_numpy(float))], axis=1)
    weighted = design / sigma[:, None]
    gaps = known["gap"].to_numpy(float) / sigma
    covariance = np.linalg.inv(weighted.T @ weighted)
    line = covariance @ weighted.T @ gaps
    freedom = len(known) - 2
    squares = float(np.sum((gaps - weighted @ line) ** 2))
    birge = max(1.0, math.sqrt(squares / freedom)) if freedom > 0 else 1.0
    return GapLine(float(line[0]), float(line[1]), covariance * birge**2, birge, freedom)


def report(table: pd.DataFrame, line: GapLine, sizes: Sequence[float]) -> str:
    lines = ["| sweep | parameters | tokens a parameter | seeds | gap, nats |", "|---|---|---|---|---|"]
    for row in table.itertuples():
        each = row.tokens / row.parameters
        doubt = "one seed" if math.isnan(row.half_width) else f"± {row.half_width:.4f}"
        gap = f"{row.gap:+.4f} {doubt}"
        lines.append(f"| {row.sweep} | {row.parameters:,} | {each:.3g} | {row.seeds} | {gap} |")
    lines += ["", f"gap = {line.intercept:.4f} {line.slope:+.4f} log10(parameters), Birge's ratio "
              f"{line.birge:.2f}, {line.degrees_of_freedom} degrees of freedom"]  # fmt: skip
    for size in sizes:
        value, half = line.at(size)
        lines.append(f"at {size:,.0f} parameters: {value:+.4f} ± {half:.4f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a sweep cannot be read or compared."""
    parser = argparse.ArgumentParser(prog="python -m studies.sizes.gap_by_size", description=__doc__.split("\n\n")[0])
    parser.add_argument("sweeps", nargs="+", help="folders, one for each size")
    parser.add_argument("--group", default="adam_mini")
    parser.add_argument("--baseline", default="adamw")
    parser.add_argument("--predict", type=float, nargs="+", default=[1e9], metavar="PARAMETERS")
    parser.add_argument("--figure", metavar="FILE", help="PNG, PDF or SVG")
    options = parser.parse_args(arguments)
    try:
        sweeps = [read_sweep(folder) for folder in options.sweeps]
        table = gap_table(sweeps, options.group, options.baseline)
        line = gap_line(table)
        print(report(table, line, options.predict))
        if options.figure:
            # matplotlib takes a second to load.
            from blockwise.figures.style import save_figure

            from .gap_figure import gap_figure

            figure = gap_figure(table, line, options.predict, options.group, options.baseline)
            save_figure(figure, options.figure)
    except (RunFileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
