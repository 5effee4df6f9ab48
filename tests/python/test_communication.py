"""Plans of several processes, by the program itself: formulas, and what fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from studies.sizes.communication import (
    Cluster,
    communication_figure,
    communication_table,
    rank_plan,
    shard_table,
)
from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

CONFIG = Path("configs/llama/271m.yaml")
SHARDED = {"parallel.shard": "optimizer"}


def test_what_is_sent_and_computed_is_the_formula() -> None:
    plan = rank_plan(CONFIG, 4, 2, Cluster(10, 100, 80), SHARDED)
    each = plan["each_rank"]
    # Gradients to their owners in float32, by way of those that sum them, bfloat16 weights back.
    assert each["sent_bytes"] == 3 / 4 * (1.25 * 4 + 2) * plan["parameters"]
    assert each["seconds_sending"] == pytest.approx(each["sent_bytes"] / 10e9)
    flops = plan["flops_per_token"] * 2 * 512
    # A third of the operations is the forward pass; nothing is computed twice here.
    assert each["seconds_computing"] == pytest.approx(flops / 100e12)


def test_the_largest_micro_batch_fits_and_one_more_sequence_does_not() -> None:
    cluster = Cluster(10, 100, 16)
    table = communication_table([CONFIG], [2, 8], cluster, settings=SHARDED)
    assert list(table["rule"]) == ["adamw", "adamw", "adam_mini", "adam_mini"]
    for row in table.itertuples():
        fitting = rank_plan(CONFIG, row.ranks, row.micro_batch, cluster, SHARDED | {"optimizer.rule": row.rule})
        assert fitting["each_rank"]["needed_bytes"] <= 16e9
        assert fitting["each_rank"]["peak_bytes"] == row.peak_gigabytes * 1e9
        settings = SHARDED | {"optimizer.rule": row.rule}
        one_more = rank_plan(CONFIG, row.ranks, row.micro_batch + 1, cluster, settings)
        assert one_more["each_rank"]["needed_bytes"] > 16e9
        seconds = row.seconds_sending + row.seconds_computing
        of_token = row.sent_gigabytes * 1e6 / (row.micro_batch * 512)
        assert row.sent_kilobytes_per_token == pytest.approx(of_token)
        assert row.tokens_per_second == pytest.approx(row.ranks * row.micro_batch * 512 / seconds)


def test_where_nothing_fits_a_row_says_so_and_the_figure_is_drawn() -> None:
    table = communication_table([CONFIG], [2], Cluster(10, 100, 1), rules=["adamw"])
    assert table["micro_batch"].isna().all()
    fits = communication_table([CONFIG], [2, 4], Cluster(10, 100, 80), rules=["adamw"])
    assert len(communication_figure(fits).axes) == 1


def test_what_a_process_leaves_with_others_makes_room_and_travels() -> None:
    table = shard_table([CONFIG], [4], Cluster(10, 100, 3))
    assert list(table["shard"]) == ["optimizer", "gradients", "parameters"]
    # Room for longer batches with every one; the weights of layers travel for it.
    assert table["micro_batch"].fillna(0).is_monotonic_increasing
    assert table["micro_batch"].fillna(0).iloc[0] < table["micro_batch"].iloc[2]
    assert table["sent_gigabytes"].iloc[1] < table["sent_gigabytes"].iloc[2]


def test_the_numbers_of_the_page_on_several_processes() -> None:
    """docs/parallel.md, "What it costs"."""
    page = " ".join((REPOSITORY / "docs/parallel.md").read_text(encoding="utf-8").split())
    seven, cluster = Path("configs/llama/7b.yaml"), Cluster(25, 400, 80)
    usual = {"trainer.activation_checkpointing": "true", "parallel.shard": "optimizer"}
    four = communication_table([seven], [4], cluster, settings=usual).set_index("rule")
    adamw, adam_mini = four.loc["adamw"], four.loc["adam_mini"]
    sequences = f"takes {adam_mini.micro_batch:.0f} sequences of 2,048 instead of {adamw.micro_batch:.0f}"
    megabytes = [row.sent_kilobytes_per_token / 1e3 for row in (adam_mini, adamw)]
    less = 100 * (1 - megabytes[0] / megabytes[1])
    assert f"{sequences} and sends {megabytes[0]:.2f} MB instead of {megabytes[1]:.2f} for a token, {less:.0f} % less" in page
    shared = usual | {"parallel.shard": "parameters", "optimizer.rule": "adam_mini"}
    needed = [
        rank_plan(Path("configs/llama/13b.yaml"), ranks, 1, Cluster(25, 150, 24), shared)["each_rank"]["needed_bytes"]
        for ranks in (8, 16)
    ]
    assert needed[0] > 24e9 > needed[1]
    assert "13B on 16 of them with `parameters`" in page
