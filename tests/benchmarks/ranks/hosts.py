"""Hosts of one machine: network namespaces that a bridge joins (root, `ip` and `tc` of iproute2)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BRIDGE = "bw-bridge"
SUBNET = "10.77.0"


def command(text: str) -> None:
    subprocess.run(text.split(), check=True)


@contextmanager
def hosts(count: int, mbit: int) -> Iterator[None]:
    """Namespaces bw0, bw1, ... at 10.77.0.1, .2, ...; mbit 0: as fast as the machine copies."""
    command(f"ip link add {BRIDGE} type bridge")
    command(f"ip link set {BRIDGE} up")
    try:
        for rank in range(count):
            outside, inside, name = f"bw-out{rank}", f"bw-in{rank}", f"bw{rank}"
            command(f"ip netns add {name}")
            command(f"ip link add {outside} type veth peer name {inside}")
            command(f"ip link set {inside} netns {name}")
            command(f"ip link set {outside} master {BRIDGE} up")
            command(f"ip -n {name} addr add {SUBNET}.{rank + 1}/24 dev {inside}")
            command(f"ip -n {name} link set {inside} up")
            command(f"ip -n {name} link set lo up")
            if mbit:
                shape = f"root tbf rate {mbit}mbit burst 256kb latency 100ms"
                command(f"tc -n {name} qdisc add dev {inside} {shape}")
        yield
    finally:
        # Links first: a namespace lives for as long as a process in it does.
        links = [f"bw-out{rank}" for rank in range(count)] + [BRIDGE]
        removals = [["ip", "link", "del", link] for link in links]
        removals += [["ip", "netns", "del", f"bw{rank}"] for rank in range(count)]
        for removal in removals:
            subprocess.run(removal, capture_output=True, check=False)


def sent_bytes(rank: int) -> int:
    """What the host has sent: what its link outside has received."""
    return int(Path(f"/sys/class/net/bw-out{rank}/statistics/rx_bytes").read_text())


def stall(rank: int) -> None:
    """From now on nothing arrives from this host or at it, and nobody is told."""
    command(f"ip link set bw-out{rank} nomaster")  # the link is up, and the bridge carries nothing


def start(
    program: str, words: list[str], rank: int, count: int, errors: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """The program as process `rank` of `count`, on its own host."""
    environment = os.environ | {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": f"{SUBNET}.1",
        "MASTER_PORT": "29517",
        "GLOO_SOCKET_IFNAME": f"bw-in{rank}",
        "OMP_NUM_THREADS": "1",
    }
    inside = ["ip", "netns", "exec", f"bw{rank}", program, *words]
    return subprocess.Popen(inside, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
