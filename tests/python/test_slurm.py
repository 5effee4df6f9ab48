"""`blockwise sweep --launcher slurm` on a Slurm cluster of this one machine."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import SlurmCluster, missing_programs
from small_sweep import SmallSweep, wait_until

from studies.program import program

pytestmark = [
    pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program"),
    pytest.mark.skipif(
        bool(missing_programs()),
        reason=f"Slurm is not installed: {' '.join(missing_programs())} (cmake/debian_packages_slurm.txt)",
    ),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """Its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="blockwise-slurm-") as folder:
        with SlurmCluster(Path(folder), largest_array=4) as running:
            yield running


def submitted(sweep: SmallSweep, *more: str) -> dict[str, Any]:
    done = sweep.run("--launcher", "slurm", "--json", *more)
    assert done.returncode == 0, done.stderr
    word: dict[str, Any] = json.loads(done.stdout)
    return word


def wait_for_end(cluster: SlurmCluster, what: str) -> None:
    wait_until(lambda: not cluster.queue(), what, seconds=240)


def uninterrupted(folder: Path, sweep: SmallSweep) -> dict[str, list[float]]:
    alone = replace(sweep, folder=folder, name="alone", environment=dict(os.environ))
    assert alone.run("--jobs", "1").returncode == 0
    return alone.losses()


def test_an_array_runs_the_members_and_the_same_command_submits_what_is_missing(
    tmp_path: Path, cluster: SlurmCluster
) -> None:
    """Six members where an array has at most four; a name that both sbatch and the shell could spoil."""
    name = "a 'quoted\" $HOME %A"
    sweep = SmallSweep(tmp_path, 5, range(1, 7), name=name, environment=cluster.environment)
    word = submitted(sweep, "--jobs", "2")
    assert (word["submitted"], word["queued"], word["ended"]) == (6, 0, 0)
    assert len(word["jobs"]) == 2
    again = submitted(sweep)
    assert (again["submitted"], again["queued"] + again["ended"]) == (0, 6)
    wait_for_end(cluster, "six members end")
    assert set(sweep.processes().values()) == {1}
    assert sweep.losses() == uninterrupted(tmp_path, sweep)
    logs = sorted(path.name for path in (sweep.output / "slurm").glob("*.log"))
    first, second = word["jobs"]
    tasks = [*(f"{first}_{task}" for task in range(4)), f"{second}_0", f"{second}_1"]
    assert logs == sorted(f"{task}.log" for task in tasks)
    assert all((sweep.output / "members" / member / "log.txt").is_file() for member in sweep.ids)
    nothing = submitted(sweep)
    assert (nothing["submitted"], nothing["queued"], nothing["ended"]) == (0, 0, 6)


def test_usr1_leaves_a_checkpoint_and_the_task_goes_on_with_the_same_bits(
    tmp_path: Path, cluster: SlurmCluster
) -> None:
    sweep = SmallSweep(tmp_path, 1200, [1], width=256, environment=cluster.environment)
    job = submitted(sweep)["jobs"][0]
    wait_until(lambda: sweep.trains("run-s1"), "the task trains")
    cluster.call("scancel", "--batch", "--signal=USR1", str(job))
    wait_until(lambda: sweep.result("run-s1").status == "interrupted", "it stops")
    assert list((sweep.output / "members/run-s1/checkpoints").glob("step_*"))
    waiting = submitted(sweep)
    assert (waiting["submitted"], waiting["queued"]) == (0, 1)
    wait_for_end(cluster, "the task goes on and ends")
    assert sweep.processes() == {"run-s1": 2}
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_a_task_that_was_cancelled_stays_so_and_its_member_is_submitted_again(
    tmp_path: Path, cluster: SlurmCluster
) -> None:
    sweep = SmallSweep(tmp_path, 1200, [1], width=256, environment=cluster.environment)
    job = submitted(sweep)["jobs"][0]
    wait_until(lambda: sweep.trains("run-s1"), "the task trains")
    cluster.call("scancel", str(job))
    wait_for_end(cluster, "the task is gone")
    assert sweep.result("run-s1").status == "interrupted"
    assert submitted(sweep)["submitted"] == 1
    wait_for_end(cluster, "the member ends")
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_an_array_and_a_sweep_beside_it_do_every_member_once(tmp_path: Path, cluster: SlurmCluster) -> None:
    sweep = SmallSweep(tmp_path, 60, range(1, 5), width=256, environment=cluster.environment)
    submitted(sweep)
    beside = sweep.run("--jobs", "2")
    assert beside.returncode == 0, beside.stderr
    wait_for_end(cluster, "the tasks end")
    assert set(sweep.processes().values()) == {1}
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_the_exported_script_is_what_sbatch_takes(tmp_path: Path, cluster: SlurmCluster) -> None:
    sweep = SmallSweep(tmp_path, 5, [1, 2], environment=cluster.environment)
    options = ("--set", "sweep.slurm.time=10", "--set", "sweep.slurm.options=[--nice=5, --comment=mine]",
               "--set", "sweep.slurm.setup=[export MARK=made]")  # fmt: skip
    script = sweep.run("--launcher", "slurm", "--export-only", *options)
    assert script.returncode == 0, script.stderr
    assert cluster.queue() == []
    path = tmp_path / "job.sh"
    path.write_text(script.stdout, encoding="utf-8")
    job = cluster.call("sbatch", "--parsable", "--hold", str(path)).strip()
    shown = cluster.call("scontrol", "show", "job", job)
    assert re.search(r"TimeLimit=00:10:00", shown), shown
    assert re.search(r"Comment=mine", shown), shown
    assert re.search(r"Requeue=1", shown), shown
    cluster.call("scontrol", "release", job)
    wait_for_end(cluster, "both members end")
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_a_partition_that_is_not_there_is_the_clusters_own_sentence(
    tmp_path: Path, cluster: SlurmCluster
) -> None:
    sweep = SmallSweep(tmp_path, 5, [1], environment=cluster.environment)
    refused = sweep.run("--launcher", "slurm", "--set", "sweep.slurm.partition=nowhere")
    assert refused.returncode == 1
    assert "sbatch failed" in refused.stderr
    assert "nowhere" in refused.stderr or "partition" in refused.stderr
    assert list((sweep.output / "slurm").glob("*.json")) == []
