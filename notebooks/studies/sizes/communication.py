"""What a step of several processes sends and computes, on paper: `blockwise plan --ranks`.

    cluster = Cluster(gigabytes_per_second=25, teraflops=400, device_gigabytes=80)
    table = communication_table(["configs/llama/7b.yaml"], [8, 64], cluster)

Nothing is trained; a row costs a few plans of a third of a second each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blockwise.figures.style import (
    GroupStyle,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)

from .. import REPOSITORY
from ..program import program_json

COLUMNS = (
    "name", "parameters", "rule", "ranks", "micro_batch", "peak_gigabytes", "sent_gigabytes",
    "sent_kilobytes_per_token", "seconds_sending", "seconds_computing", "sending_to_computing", "tokens_per_second",
)  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """GPUs and links: bytes that each sends in a second, operations, and memory.

    Latency is not counted: a message per bucket and owner, of layers that are collected one per layer and
    owner, which is what many processes with small buckets wait for.
    """

    gigabytes_per_second: float
    teraflops: float
    device_gigabytes: float


def communication_table(
    configs: Sequence[str | os.PathLike[str]],
    ranks: Sequence[int],
    cluster: Cluster,
    rules: Sequence[str] = ("adamw", "adam_mini"),
    settings: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """A row per configuration, rule and number of processes, each with one micro-batch: the largest
    that fits, in sequences. NaN where not even one does.

    tokens_per_second are those of all processes when sending and computing do not overlap: what
    overlaps only brings the two closer to the larger of both.
    """
    rows = []
    for config in configs:
        for rule in rules:
            for count in ranks:
                common = {"optimizer.rule": rule, **(settings or {})}
                rows.append(_row(Path(config), rule, count, cluster, common))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shard_table(
    configs: Sequence[str | os.PathLike[str]],
    ranks: Sequence[int],
    cluster: Cluster,
    shards: Sequence[str] = ("optimizer", "gradients", "parameters"),
    settings: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """The same with Adam-mini for every parallel.shard: what else a process leaves with others."""
    tables = []
    for shard in shards:
        common = {**(settings or {}), "parallel.shard": shard}
        table = communication_table(configs, ranks, cluster, ["adam_mini"], common)
        table.insert(2, "shard", shard)
        tables.append(table.drop(columns="rule"))
    return pd.concat(tables, ignore_index=True)


def rank_plan(
    config: Path, ranks: int, micro_batch: int, cluster: Cluster, settings: Mapping[str, object]
) -> dict[str, Any]:
    """The plan of processes with one micro-batch each, with `each_rank`."""
    words = ["plan", str(config), "--ranks", str(ranks)]
    words += ["--bandwidth", str(cluster.gigabytes_per_second)]
    words += ["--tflops", str(cluster.teraflops)]
    of_batch = {
        "trainer.device": "cuda",
        "trainer.micro_batch_size": micro_batch,
        "trainer.global_batch_tokens": ranks * micro_batch * _sequence_length(config),
    }
    for key, value in {**of_batch, **settings}.items():
        words += ["--set", f"{key}={value}"]
    return program_json(words)


def _sequence_length(config: Path) -> int:
    for line in (REPOSITORY / config).read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("sequence_length:"):
            return int(line.split(":")[1])
    raise ValueError(f"{config}: no data.sequence_length")


def _largest_plan(
    config: Path, ranks: int, cluster: Cluster, settings: Mapping[str, object]
) -> tuple[int, dict[str, Any]]:
    """The most sequences that fit, and their plan; 0 and nothing where not even one does."""
    plans: dict[int, dict[str, Any]] = {0: {}}

    def fits(micro_batch: int) -> bool:
        plan = rank_plan(config, ranks, micro_batch, cluster, settings)
        if plan["each_rank"]["needed_bytes"] > cluster.device_gigabytes * 1e9:
            return False
        plans[micro_batch] = plan
        return True

    most = 1
    while most <= 512 and fits(most):
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least, plans[least]


def _row(
    config: Path, rule: str, ranks: int, cluster: Cluster, settings: Mapping[str, object]
) -> dict[str, Any]:
    micro_batch, plan = _largest_plan(config, ranks, cluster, settings)
    start = {"name": config.stem, "rule": rule, "ranks": ranks}
    if not plan:
        return start
    each = plan["each_rank"]
    sending, computing = each["seconds_sending"], each["seconds_computing"]
    tokens = ranks * micro_batch * _sequence_length(config)
    return start | {
        "parameters": plan["parameters"],
        "micro_batch": micro_batch,
        "peak_gigabytes": each["peak_bytes"] / 1e9,
        "sent_gigabytes": each["sent_bytes"] / 1e9,
        "sent_kilobytes_per_token": ranks * each["sent_bytes"] / tokens / 1e3,
        "seconds_sending": sending,
        "seconds_computing": computing,
        "sending_to_computing": sending / computing,
        "tokens_per_second": tokens / (sending + computing),
    }


def communication_figure(table: pd.DataFrame) -> Figure:
    """Tokens per second of a process against processes, a panel per model.

    Where a line ends, not even one sequence fits with fewer processes.
    """
    with figure_style():
        names = list(dict.fromkeys(table["name"]))
        figure, axes = panels((2.9 * len(names), 3.4), (1,) * len(names))
        styles = group_styles(list(dict.fromkeys(table["rule"])), "adamw")
        for panel, name in zip(axes, names, strict=True):
            _draw(panel, table[table["name"] == name], styles)
            panel_title(panel, name)
        axes[0].set_ylabel("tokens per second of a process")
        legend_below(axes[0], len(styles))
        return figure


def _draw(axes: Axes, rows: pd.DataFrame, styles: Mapping[str, GroupStyle]) -> None:
    for rule, style in styles.items():
        own = rows[rows["rule"] == rule]
        each = own["tokens_per_second"] / own["ranks"]
        axes.plot(own["ranks"], each, color=style.color, marker=style.marker, label=rule)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("processes")
