"""blockwise beside what people use instead, in the same minutes with the same threads.

    python3 -m venv peers
    peers/bin/pip install -r tests/benchmarks/peers/requirements.txt
    peers/bin/pip install --no-deps adam-mini==1.1.1 pyhessian==0.1 curvlinops-for-pytorch==3.0.1
    peers/bin/python tests/benchmarks/peers/peers.py build/release/blockwise --threads 2

MALLOC_MMAP_THRESHOLD_=1099511627776 MALLOC_TRIM_THRESHOLD_=1099511627776 before it makes the C library keep
freed memory, as blockwise's own allocator does: else every large tensor of theirs is faulted in again.

In every round each of theirs and one `blockwise bench` of its group run once; a table gives medians over the
rounds, as multiples of the group's reference (torch's fused AdamW, a gradient of the same model, eager
float32). A package that is not installed, or that fails on this PyTorch, has its reason in the table. The
reference of our numbers is measured by blockwise itself, in the same process: the fused kernel is
LibTorch's, the gradient that of our own model.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
from collections.abc import Callable, Iterable
from time import perf_counter

import torch
from models import SIZES, Gpt, Size, batch_of

Seconds = dict[str, float]
Case = tuple[str, Callable[[], object]]


def seconds_of(call: Callable[[], object], at_least: float = 0.1) -> float:
    count, start = 0, perf_counter()
    while count == 0 or perf_counter() - start < at_least:
        call()
        count += 1
    return (perf_counter() - start) / count


REFERENCES = {"optimizers": "at::_fused_adamw_", "products": "gradient, plain attention"}


def ours(program: str, group: str, threads: int, names: dict[str, str]) -> Seconds:
    """In multiples of the group's own reference."""
    command = [program, "bench", group, "--repetitions", "1", "--threads", str(threads), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = {row["name"]: row["seconds"] for row in json.loads(done.stdout)["groups"][group]}
    return {shown: seconds[name] / seconds[REFERENCES[group]] for name, shown in names.items()}


# ---- optimizers -----------------------------------------------------------------------------------------


Named = dict[str, torch.nn.Parameter]


def gpt_parameters() -> Named:
    """Of the layout in experiments/bench/optimizer_cases.cpp at 30 million parameters."""
    named = dict(Gpt(Size("30M", 512, 8, 8, 8192, 256, 1)).named_parameters())
    for parameter in named.values():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    return named


def adam_mini_package(named: Named) -> torch.optim.Optimizer:
    from adam_mini import Adam_mini

    words = {"tokens": "embed", "positions": "embed_positions", "up": "mlp.up", "down": "mlp.down"}
    known = [(".".join(words.get(word, word) for word in name.split(".")), p) for name, p in named.items()]
    return Adam_mini(known, lr=1e-6, weight_decay=0.1, dim=512, n_heads=8)


class LateOptimizer:
    """Made at its first step: where the package is missing, that is what fails."""

    def __init__(self, named: Named) -> None:
        self.named = named
        self.optimizer: torch.optim.Optimizer | None = None

    def __call__(self) -> None:
        self.optimizer = self.optimizer or adam_mini_package(self.named)
        self.optimizer.step()


def optimizer_cases() -> Iterable[Case]:
    named = gpt_parameters()
    parameters = list(named.values())
    adamw = {
        word: torch.optim.AdamW(parameters, lr=1e-6, weight_decay=0.1, **{word: True})
        for word in ("fused", "foreach")
    }

    def clipped() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw["fused"].step()

    yield "torch AdamW, fused", adamw["fused"].step
    yield "torch AdamW, foreach", adamw["foreach"].step
    yield "torch AdamW, fused, clipped", clipped
    yield "adam-mini 1.1.1", LateOptimizer(named)


OUR_OPTIMIZERS = {
    "adamw": "blockwise adamw",
    "adam_mini adam_mini": "blockwise adam_mini",
    "adamw with clipping": "blockwise adamw, clipped",
    "adam_mini with clipping": "blockwise adam_mini, clipped",
}


# ---- products -------------------------------------------------------------------------------------------


class LossItself(torch.nn.Module):
    """curvlinops wants a loss of outputs; this model's output is the loss."""

    reduction = "mean"

    def forward(self, output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return output


class OfBoth(torch.nn.Module):
    def __init__(self, model: Gpt) -> None:
        super().__init__()
        self.model = model

    def forward(self, both: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.model(*both)


@functools.cache
def curvlinops_operator(model: Gpt, parameters: tuple, batch: tuple) -> object:
    from curvlinops import HessianLinearOperator

    return HessianLinearOperator(
        OfBoth(model), LossItself(), list(parameters), [(batch, batch[1])],
        check_deterministic=False, batch_size_fn=lambda both: both[0].shape[0],
    )  # fmt: skip


def product_cases(size: Size = SIZES[1], device: str = "cpu") -> Iterable[Case]:
    model = Gpt(size, fused_attention=False).to(device)
    x, y = (part.to(device) for part in batch_of(size))
    parameters = list(model.parameters())
    v = [torch.randn_like(p) for p in parameters]

    def gradient() -> None:
        torch.autograd.grad(model(x, y), parameters)

    kept = torch.autograd.grad(model(x, y), parameters, create_graph=True)

    def by_hand() -> None:
        torch.autograd.grad(kept, parameters, v, retain_graph=True)

    def pyhessian() -> None:
        from pyhessian.utils import hessian_vector_product

        hessian_vector_product(kept, parameters, v)

    def curvlinops() -> None:
        curvlinops_operator(model, tuple(parameters), (x, y)) @ v

    yield "gradient, plain attention", gradient
    yield "kept graph by hand", by_hand
    yield "PyHessian 0.1, its product", pyhessian
    yield "curvlinops 3.0.1", curvlinops


OUR_PRODUCTS = {
    "Hessian, kept graph": "blockwise kept graph",
    "Hessian, one-sided": "blockwise one-sided differences",
    "Gauss-Newton": "blockwise Gauss-Newton",
}


# ---- training -------------------------------------------------------------------------------------------


def training_step(
    size: Size, bfloat16: bool, backend: str | None, device: str = "cpu"
) -> Callable[[], object]:
    """backend: of torch.compile; None: eager."""
    model = Gpt(size).to(device)
    x, y = (part.to(device) for part in batch_of(size))
    loss = torch.compile(model, backend=backend) if backend else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            value = loss(x, y)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def training_cases(size: Size) -> Iterable[Case]:
    for bfloat16 in (False, True):
        for backend in (None, "inductor"):
            words = ("compiled" if backend else "eager", "bfloat16 autocast" if bfloat16 else "float32")
            yield f"torch {words[0]}, {words[1]}", training_step(size, bfloat16, backend)


def our_training(program: str, size: Size, threads: int) -> Seconds:
    command = [program, "bench", "training", "--repetitions", "1", "--json", "--threads", str(threads)]
    command += ["--models", str(SIZES.index(size) + 1)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = {row["name"]: row["seconds"] for row in json.loads(done.stdout)["groups"]["training"]}
    return {f"blockwise {word}": rows[f"{size.name} {word}"] for word in ("fp32", "bf16", "bf16_autocast")}


# ---- matrix products ------------------------------------------------------------------------------------


def product_rates() -> Iterable[tuple[str, float, float]]:
    """Shape, and GFLOP/s of LibTorch's operator and of oneDNN's in float32: those of the training cases."""
    onednn = torch.ops.mkldnn._linear_pointwise
    for rows, inner, columns in ((2048, 384, 50304), (2048, 50304, 384), (2048, 384, 1536), (1024, 96, 384)):
        x, w = torch.randn(rows, inner), torch.randn(columns, inner)
        plain = seconds_of(lambda: torch.nn.functional.linear(x, w))
        other = seconds_of(lambda: onednn(x, w, None, "none", [], ""))
        gflop = 2e-9 * rows * inner * columns
        yield f"{rows} x {inner} x {columns}", gflop / plain, gflop / other


# ---- rounds ---------------------------------------------------------------------------------------------


class Table:
    """Values of every round, and why there are none."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.failures: dict[str, str] = {}

    def add(self, values: Seconds) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def time(self, cases: list[Case]) -> Seconds:
        seconds = {}
        for name, call in cases:
            if name in self.failures:
                continue
            try:
                call()
                seconds[name] = seconds_of(call)
            except Exception as error:  # noqa: BLE001  a peer's, of any kind
                self.failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:70]}"
        return seconds

    def print(self, title: str, unit: str) -> None:
        print(f"\n| {title} | {unit} |\n|---|---|")
        for name, values in self.values.items():
            print(f"| {name} | {statistics.median(values):.2f} |")
        for name, reason in self.failures.items():
            print(f"| {name} | {reason} |", flush=True)


def relative(seconds: Seconds, reference: str) -> Seconds:
    return {name: value / seconds[reference] for name, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="of the training's models")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for title, cases, reference, group, names in (
        ("optimizer step", list(optimizer_cases()), "torch AdamW, fused", "optimizers", OUR_OPTIMIZERS),
        ("Hessian product", list(product_cases()), "gradient, plain attention", "products", OUR_PRODUCTS),
    ):
        table = Table()
        for _ in range(options.rounds):
            table.add(relative(table.time(cases), reference))
            table.add(ours(options.program, group, options.threads, names))
        table.print(title, f"times {reference}")
    for size in SIZES[: options.sizes]:
        table, cases = Table(), list(training_cases(size))
        for _ in range(options.rounds):
            both = table.time(cases) | our_training(options.program, size, options.threads)
            table.add(relative(both, "torch eager, float32"))
        table.print(f"training step, {size.name}", "times torch eager, float32")
    print("\n| float32 product, GFLOP/s | LibTorch's operator | oneDNN |\n|---|---|---|")
    for shape, plain, onednn in product_rates():
        print(f"| {shape} | {plain:.0f} | {onednn:.0f} |", flush=True)


if __name__ == "__main__":
    main()
