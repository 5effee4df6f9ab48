#!/usr/bin/env bash
# What `make install` leaves: a program that starts from any folder, finds LibTorch by its own run
# path, and the Python package where it was installed.
# Usage: install.sh SOURCE_FOLDER BUILD_FOLDER CMAKE
set -euo pipefail
source=$1 build=$2 cmake=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset LD_LIBRARY_PATH PYTHONPATH

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

"$cmake" --install "$build" --prefix "$work/prefix" > "$work/log" || fail "$(cat "$work/log")"
mkdir -p "$work/elsewhere/.venv/bin"
cd "$work/elsewhere"
export PATH="$work/prefix/bin:$PATH"
[ "$(command -v blockwise)" = "$work/prefix/bin/blockwise" ] || fail "not the installed program"
blockwise --version | grep -q '[0-9]' || fail "no version"

# Help needs nothing but the program itself.
mv "$work/prefix/lib/blockwise" "$work/aside"
blockwise train --help | grep -q dry-run || fail "no help without LibTorch"
if blockwise list 2> errors; then fail "a library of another place was taken"; fi
grep -q libblockwise_verbs.so errors || fail "$(cat errors)"
mv "$work/aside" "$work/prefix/lib/blockwise"

# The trap: a home folder two above bin with a .venv of somebody else.
mkdir -p "$work/.venv/bin"
printf '#!/bin/sh\ntouch "%s/trapped"\nexit 1\n' "$work" > "$work/.venv/bin/python"
chmod +x "$work/.venv/bin/python"
blockwise data --train "$source/LICENSE" --validation "$source/CONTRIBUTING.md" --output tokens
[ ! -e "$work/trapped" ] || fail "a .venv that is not ours was run"
[ -s tokens/manifest.json ] || fail "no tokens"

# The package is the installed one, not the checkout's.
mv "$work/prefix/share/blockwise/python" "$work/aside"
if blockwise data --train "$source/LICENSE" --validation "$source/CONTRIBUTING.md" --output again 2> errors; then
  fail "another package was taken"
fi
grep -q "$work/prefix/share/blockwise/python: no Python package" errors || fail "$(cat errors)"
mv "$work/aside" "$work/prefix/share/blockwise/python"

blockwise plan "$work/prefix/share/blockwise/configs/gpt2-tiny.yaml" --set model.vocab_size=256 > plan.txt
grep -q parameters plan.txt || fail "no plan"
echo "install.sh: done"
