"""GPT-2 125M by AdamW and by Adam-mini, as many steps as there is time for.

The same call on the same folder goes on where the last one stopped.
"""

from __future__ import annotations

from pathlib import Path

from check_run import CheckRun
from gpt2_runs import last_losses, reported, train_for

RULES = ("adamw", "adam_mini")
TO_STOP = 20.0  # seconds for a checkpoint, and for the report


def add_figures(run: CheckRun, rule: str, output: Path) -> None:
    row = reported(run, output)
    run.report.add_figure(f"GPT-2 125M, {rule}", row["tokens_per_second"], "tokens/s")
    for name, (step, loss) in last_losses(run, output).items():
        run.report.add_figure(f"GPT-2 125M, {rule}: {name}", loss, f"nats after step {step}")


def training_runs(run: CheckRun) -> None:
    for number, rule in enumerate(RULES):
        share = run.left() / (len(RULES) - number) - TO_STOP
        output = run.output / "runs" / rule
        train_for(run, output, 3.0 if run.is_rehearsal else max(5.0, share), f"optimizer.rule={rule}")
        add_figures(run, rule, output)
