"""Curvature products in gradients of the same model, beside PyHessian's and curvlinops' where installed."""

from __future__ import annotations

from check_report import StageSkipped
from check_run import CheckRun
from models import SIZES, Size
from peers import OUR_PRODUCTS, REFERENCES, product_cases
from torch_times import seconds_of


def product_times(run: CheckRun) -> None:
    number = 1 if run.is_rehearsal else 2
    reference = REFERENCES["products"]
    rows = run.bench("products", "products", 180, "--models", str(number))
    for name, shown in OUR_PRODUCTS.items():
        ratio = rows[name]["seconds"] / rows[reference]["seconds"]
        run.report.add_figure(f"product, {shown}, of a gradient", ratio, "")
    seconds, missing = {}, []
    size = Size("tiny", 16, 1, 2, 64, 16, 2) if run.is_rehearsal else SIZES[number - 1]
    for name, call in product_cases(size, run.device):
        try:
            seconds[name] = seconds_of(call, run.device, 0.01 if run.is_rehearsal else 0.5)
        except Exception as error:  # noqa: BLE001  a peer's, of any kind
            missing.append(f"{name}: {type(error).__name__} {error}"[:160])
    for name, value in seconds.items():
        run.report.add_figure(f"product, {name}, of a gradient", value / seconds[reference], "")
    if missing:
        raise StageSkipped(f"ours are timed; not measured: {'; '.join(missing)}")
