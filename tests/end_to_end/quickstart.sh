#!/usr/bin/env bash
# The quickstart's road on a small scale, with the program and the Python module as a user calls them:
# text, token files, sweep, report, figure, notebook. The text is the project's own documentation.
# Usage: quickstart.sh SOURCE_FOLDER PROGRAM PYTHON
set -euo pipefail
source=$1 program=$2 python=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$source/python:$source/notebooks" OMP_NUM_THREADS=1

fail() {
  echo "quickstart.sh: $*" >&2
  exit 1
}

"$program" data --train "$source/LICENSE" "$source/README.md" --validation "$source/CONTRIBUTING.md" \
  --output "$work/tokens"
bytes=$(cat "$source/LICENSE" "$source/README.md" | wc -c)
grep -q "\"tokens\": $bytes" "$work/tokens/manifest.json" || fail "not one token per byte"

small=(--set data.train="$work/tokens/train.bin" --set data.validation="$work/tokens/validation.bin"
  --set data.validation_tokens=1024 --set data.sequence_length=32 --set model.n_layer=1
  --set model.n_embd=16 --set trainer.steps=6 --set trainer.micro_batch_size=4
  --set trainer.evaluate_every=3 --set schedule.warmup_steps=2)
found="$work/runs/found/partition.yaml"
"$program" partition "$source/configs/quickstart.yaml" "${small[@]}" --output "$work/runs/found"
"$program" search-lr "$source/configs/quickstart.yaml" "${small[@]}" --output "$work/runs/rates" \
  --set optimizer.rule=adam_mini --set optimizer.partition.file="$found" --set search_lr.samples=1
[ -s "$work/runs/rates/rates.yaml" ] || fail "no rates"
groups="[{name: adamw, set: {optimizer.rule: adamw}}, {name: adam_mini, set: {optimizer.rule: adam_mini}},
  {name: found, set: {optimizer.rule: adam_mini, optimizer.partition.file: $found}}]"

sweep() {
  "$program" sweep "$source/configs/quickstart.yaml" --jobs 2 --json "${small[@]}" \
    --set sweep.seeds='[1, 2]' --set sweep.confirm='{seeds: [11]}' --set sweep.groups="$groups" \
    --set sweep.parameters='{optimizer.learning_rate: {values: [1.0e-3, 1.0e-2]}}' \
    --set output="$work/runs"
}
sweep | grep -q '"finished":15,' || fail "not all members finished"
before=$(stat -c %Y.%s "$work"/runs/members/*/run.h5)
sweep | grep -q '"finished":15,' || fail "the second call did not find the members finished"
[ "$before" = "$(stat -c %Y.%s "$work"/runs/members/*/run.h5)" ] || fail "the second call ran again"

"$program" report "$work/runs" | tee "$work/table.txt"
grep -q adam_mini "$work/table.txt" || fail "the table has no adam_mini"
grep -q "^Confirmed: " "$work/table.txt" || fail "the table has no confirmations"
grep -q "found on seed" "$work/table.txt" && fail "the partition is judged on the seed that it was found on"
[ "$("$program" report "$work/runs" --csv | wc -l)" = 10 ] || fail "the CSV has not one line per configuration"
"$program" report "$work/runs" --json | "$python" -m json.tool > /dev/null

"$program" curves "$work/runs" > "$work/curves.csv"
grep -q ",confirmed,.*validation/loss" "$work/curves.csv" || fail "the curves have no confirmations"

"$python" -m blockwise.figures "$work/runs" --output "$work/figure.png"
[ "$(stat -c %s "$work/figure.png")" -gt 20000 ] || fail "the figure is too small to hold anything"
BLOCKWISE_SWEEP="$work/runs" "$python" - "$source/notebooks/quickstart.ipynb" << 'PYTHON'
import sys

import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=120).execute()
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
outputs = str([cell.outputs for cell in cells])
assert "confirmations" in outputs, "the notebook counts no confirmations"
assert all(cell.execution_count for cell in cells), "a cell did not run"
PYTHON
echo "quickstart.sh: done"
