"""What nvcc made of the CUDA kernels, from their disassembly: the bytes that a main loop moves, no local
memory, and registers within the bound that keeps enough loads under way.

    check_device_code.py OBJECT [--planted OBJECT] [--resources OBJECT]

Main loops are the innermost ones with accesses of 16 bytes. `planted` is an object with a second read of the
gradient, in which the check has to find it. Exit code 77 where there is no cuobjdump beside nvcc.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SKIPPED = 77
ELEMENTS = 4  # of an access of 16 bytes

# Of every kernel: loads and stores of 16 bytes, and stores of 8, for four elements in each of its main loops.
# Update: 20 and, with a second moment per element, 28 bytes per element; and 2 of a bfloat16 copy.
UPDATES: dict[str, set[tuple[int, int]]] = {
    "AdamRule": {(3, 2), (4, 3)},
    "LionRule": {(3, 2)},
    "MomentumRule": {(3, 2)},
    "DescentRule": {(2, 1)},
}
# Numbers in fewer bits lie anywhere: single accesses, a warp's side by side.
FORMATS = (
    *("TableFormatILi1", "TableFormatILi2", "Fp8Format", "SoftsignFormat", "RootFormat", "RandomBf16"),
    *("LosslessMaster", "EightBitMaster", "KahanMaster", "StochasticMaster", "NearestMaster"),
)
MAIN_LOOPS: dict[str, set[tuple[int, int, int]]] = {
    **{f"{kernel} {name}": set() for kernel in ("pack", "unpack") for name in FORMATS},
    **{f"update {rule}": {(*moved, 0) for moved in loops} for rule, loops in UPDATES.items()},
    **{f"update {rule} copies": {(*moved, 1) for moved in loops} for rule, loops in UPDATES.items()},
    "squares": {(1, 0, 0)},
    "norm_parts": set(),
    "moments": set(),
    "group_means": set(),
    "totals": set(),
}
# 65536 registers of a multiprocessor, blocks of 256 threads: 80 are three blocks at once, 64 four, 40 six.
REGISTERS = {name: 80 if "Adam" in name else 64 for name in MAIN_LOOPS if " " in name}
OTHER_REGISTERS = 40
FORMAT_REGISTERS = 64  # of numbers in fewer bits: four blocks at once

INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)\s*(.*?);")
RESOURCES = re.compile(r"Function (\S+):\s*REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", re.DOTALL)


@dataclass
class Code:
    """One kernel for one architecture: (address, operation, operands) of every instruction."""

    kernel: str
    architecture: str
    instructions: list[tuple[int, str, str]] = field(default_factory=list)


def kernel_name(mangled: str) -> str:
    if rule := re.search(r"6update.*?((?:Adam|Lion|Momentum|Descent)Rule)ELb([01])E", mangled):
        return f"update {rule[1]}" + (" copies" if rule[2] == "1" else "")
    if form := re.search(rf"(?:6(unpack)|4(pack))I.*?({'|'.join(FORMATS)})", mangled):
        return f"{form[1] or form[2]} {form[3]}"
    for name in sorted(MAIN_LOOPS, key=len, reverse=True):
        if f"{len(name)}{name}" in mangled:
            return name
    return mangled


def disassembly(text: str) -> Iterator[Code]:
    architecture, code = "", None
    for line in text.splitlines():
        if found := re.match(r"arch = (sm_\d+)", line):
            architecture = found[1]
        elif found := re.match(r"\s+Function : (\S+)", line):
            if code:
                yield code
            code = Code(kernel_name(found[1]), architecture)
        elif code and (found := INSTRUCTION.match(line)):
            code.instructions.append((int(found[1], 16), found[2], found[3]))
    if code:
        yield code


def innermost_loops(code: Code) -> list[tuple[int, int]]:
    """First and last address of loops that hold no other one."""
    loops = []
    for address, operation, operands in code.instructions:
        target = re.search(r"0x([0-9a-f]+)", operands)
        if operation.startswith("BRA") and target and int(target[1], 16) < address:
            loops.append((int(target[1], 16), address))
    return [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]


def main_loops(code: Code) -> Iterator[tuple[int, int, int, int]]:
    """Loads and stores of 16 bytes of every main loop, stores of 8, and other accesses in it."""
    for begin, end in innermost_loops(code):
        operations = [operation for address, operation, _ in code.instructions if begin <= address <= end]
        loads = sum(o.startswith("LDG") and ".128" in o for o in operations)
        stores = sum(o.startswith("STG") and ".128" in o for o in operations)
        halves = sum(o.startswith("STG") and ".64" in o for o in operations)
        if loads + stores > 0:
            accesses = sum(o.startswith(("LDG", "STG")) for o in operations)
            yield loads, stores, halves, accesses - loads - stores - halves


def loop_faults(code: Code) -> Iterator[str]:
    expected = MAIN_LOOPS[code.kernel]
    seen = set()
    for loads, stores, halves, others in main_loops(code):
        # Loops are unrolled by some factor.
        found = (loads, stores, halves)
        match = [e for e in expected if tuple(loads // e[0] * n for n in e) == found]
        seen.update(match)
        if not match or others:
            yield f"a loop has {loads} loads and {stores} stores of 16 bytes, {halves} of 8, {others} others"
    for loads, stores, halves in sorted(expected - seen):
        yield f"no loop moves {4 * (loads + stores) + 2 * halves} bytes per element"


def code_faults(text: str) -> Iterator[str]:
    count = 0
    for code in disassembly(text):
        count += 1
        where = f"{code.kernel} ({code.architecture})"
        if code.kernel not in MAIN_LOOPS:
            yield f"{where}: a kernel that is not known here"
            continue
        yield from (f"{where}: {fault}" for fault in loop_faults(code))
        if any(operation.startswith(("LDL", "STL")) for _, operation, _ in code.instructions):
            yield f"{where}: local memory"
    if count == 0 or count % len(MAIN_LOOPS):
        yield f"{count} kernels, not {len(MAIN_LOOPS)} of each architecture"


def resource_faults(text: str, other_bound: int = OTHER_REGISTERS) -> Iterator[str]:
    found = RESOURCES.findall(text)
    if not found:
        yield "no resource usage"
    for mangled, registers, stack, local in found:
        name = kernel_name(mangled)
        bound = REGISTERS.get(name, other_bound)
        if int(registers) > bound:
            yield f"{name}: {registers} registers, more than {bound}"
        if int(stack) or int(local):
            yield f"{name}: a stack of {stack} bytes, local memory of {local}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("object", type=Path)
    parser.add_argument("--cuobjdump", default="cuobjdump")
    parser.add_argument("--planted", type=Path)
    parser.add_argument("--resources", type=Path, help="an object of which only registers and local memory count")
    options = parser.parse_args()
    tool = shutil.which(options.cuobjdump)
    if tool is None:
        print("skipped: no cuobjdump beside nvcc")
        return SKIPPED

    def dump(option: str, path: Path) -> str:
        return subprocess.run([tool, option, str(path)], check=True, capture_output=True, text=True).stdout

    faults = [*code_faults(dump("-sass", options.object)), *resource_faults(dump("-res-usage", options.object))]
    if options.resources:
        faults += resource_faults(dump("-res-usage", options.resources), FORMAT_REGISTERS)
    if options.planted:
        planted = list(code_faults(dump("-sass", options.planted)))
        if not any("update AdamRule" in fault and "loads" in fault for fault in planted):
            faults.append(f"the planted second read was not found, but {planted}")
    print("\n".join(faults) or "every kernel moves what it should")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
