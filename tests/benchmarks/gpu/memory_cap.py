"""Whether a run fits into a device's memory is what `blockwise plan` says: held against the allocator.

PyTorch's allocator gets no more than a share of the GPU, between what the plan says that Adam-mini
and AdamW need. Adam-mini has to make two steps, which then are ended before they write a checkpoint; AdamW has to
run out of memory. LLaMA 1B; on a GPU of 96 GB or more the 7B model in 80 GB, too, with 16 bits beside each
bfloat16 weight.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from check_report import StageFailed, StageSkipped
from check_run import ROOT, CheckRun, json_of
from gpt2_runs import write_tokens

FITS, FITS_NOT = "adam_mini", "adamw"


@dataclass(frozen=True)
class Subject:
    name: str
    config: Path
    room: float  # bytes; 0: halfway between the two plans
    seconds: float  # of one run, at most
    options: tuple[str, ...] = ()


def subjects(run: CheckRun) -> list[Subject]:
    found = [Subject("LLaMA 1B", ROOT / "configs/llama/1b.yaml", 0.0, 120)]
    # Drawing 7B numbers takes a minute or two.
    if run.report.machine.get("gpu_bytes", 0) > 96e9 and run.left() > 400:
        residuals = ("trainer.master_weights=lossless_16bit",)
        found.append(Subject("LLaMA 7B", ROOT / "configs/llama/7b.yaml", 80e9, 240, residuals))
    return found


def settings(run: CheckRun, subject: Subject, rule: str) -> list[str]:
    tokens = run.output / "tokens"
    write_tokens(tokens)
    pairs = [
        f"data.train={tokens}/train.bin", f"data.validation={tokens}/validation.bin", "data.format=raw_uint16",
        "data.vocab_size=32000", "data.sequence_length=512", "data.validation_tokens=512",
        f"optimizer.rule={rule}",
        "trainer.device=cuda", "trainer.precision=bf16", "trainer.gradients=released", "trainer.steps=100000",
        "trainer.micro_batch_size=1", "trainer.global_batch_tokens=0", "trainer.activation_checkpointing=true",
        "trainer.evaluate_every=0", "trainer.checkpoint_every=0", "optimizer.gradient_clip=0",
        "schedule.warmup_steps=1", *subject.options,
    ]  # fmt: skip
    return [word for pair in pairs for word in ("--set", pair)]


def planned_bytes(run: CheckRun, subject: Subject, rule: str) -> int:
    words = [run.program, "plan", subject.config, *settings(run, subject, rule), "--json"]
    return int(json_of(run.finish(f"plan-{rule}", words, 60))["peak_bytes"])


def trains(run: CheckRun, subject: Subject, rule: str, share: float) -> bool:
    """Throws StageFailed where it ends by anything else than memory."""
    output = run.output / "capped"
    shutil.rmtree(output, ignore_errors=True)
    words = [run.program, "train", subject.config, *settings(run, subject, rule), "--output", output]
    cap = {"PYTORCH_CUDA_ALLOC_CONF": f"per_process_memory_fraction:{share:.4f}"}
    code, text = run.call(f"capped-{rule}", words, subject.seconds, r"\b([2-9]|\d\d+)/100000\b", **cap)
    shutil.rmtree(output, ignore_errors=True)
    if code != 0 and "out of memory" not in text.lower():
        raise StageFailed(f"{subject.name}, {rule}: ended with code {code} (capped-{rule}.log)")
    return code == 0


def memory_cap(run: CheckRun) -> None:
    for subject in subjects(run):
        needed = {rule: planned_bytes(run, subject, rule) for rule in (FITS, FITS_NOT)}
        room = subject.room or sum(needed.values()) / 2
        for rule, count in needed.items():
            run.report.add_figure(f"{subject.name}, {rule}: planned, of {room / 1e9:.1f} GB", count / 1e9, "GB")
        if run.is_rehearsal:
            continue
        ended = {rule: trains(run, subject, rule, room / run.report.machine["gpu_bytes"]) for rule in needed}
        words = {True: "trained", False: "ran out of memory"}
        wrong = [f"{rule} {words[did]}" for rule, did in ended.items() if did != (rule == FITS)]
        if wrong:
            raise StageFailed(f"{subject.name} in {room / 1e9:.1f} GB: {', '.join(wrong)}, against the plan")
    if run.is_rehearsal:
        raise StageSkipped("planned; a rehearsal has no GPU's allocator")
