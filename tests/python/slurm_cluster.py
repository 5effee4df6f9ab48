"""A Slurm cluster of one machine, in a folder, for the tests: real daemons, no cgroups, no database."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from two_processes import free_port

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")

# cred_expire is how long a job that was put back waits; below 6 Slurm takes its default, two minutes.
_CONFIG = """
ClusterName=blockwise
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MaxArraySize={array}
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    return [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]


class SlurmCluster:
    """Runs from entering to leaving. `environment` is what Slurm's programs need to find it."""

    def __init__(self, folder: Path, largest_array: int = 1001) -> None:
        self.folder = folder
        config = folder / "slurm.conf"
        config.write_text(
            _CONFIG.format(
                host=socket.gethostname().split(".")[0], user=getpass.getuser(), folder=folder,
                controller=free_port(), daemon=free_port(), array=largest_array,
            ),
            encoding="utf-8",
        )  # fmt: skip
        for name in ("state", "spool"):
            (folder / name).mkdir()
        self.environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(config)}

    def __enter__(self) -> SlurmCluster:
        folder = self.folder
        folder.chmod(0o700)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.call(
            "munged", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}",
            f"--log-file={folder}/munged.log", f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        self.call("slurmctld", "-f", self.environment["SLURM_CONF"])
        self.call("slurmd", "-f", self.environment["SLURM_CONF"])
        end = time.monotonic() + 60
        while "idle" not in self.call("sinfo", "--noheader", "--format=%T", check=False):
            if time.monotonic() > end:
                self.__exit__()
                raise RuntimeError(f"Slurm does not start: {(folder / 'slurmctld.log').read_text()[-2000:]}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for each, which writes its state at the end."""
        for name in ("slurmd", "slurmctld", "munged"):
            try:
                process = int((self.folder / f"{name}.pid").read_text())
                os.kill(process, signal.SIGTERM)
            except (OSError, ValueError):
                continue
            end = time.monotonic() + 30
            while Path(f"/proc/{process}").exists() and time.monotonic() < end:
                time.sleep(0.1)

    def call(self, *words: str, check: bool = True) -> str:
        """The output of one of Slurm's programs."""
        done = subprocess.run(
            words, env=self.environment, text=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def queue(self) -> list[str]:
        """JOB_TASK STATE of every task that has not ended."""
        return self.call("squeue", "--noheader", "--array", "--format=%F_%K %T").splitlines()
