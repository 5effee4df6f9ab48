#!/usr/bin/env bash
# Says which C++ files differ from what clang-format 14 makes of them; exit code 77 (a skipped test)
# where that version is missing, because every version formats a little differently.
#   bash cmake/check_format.sh          bash cmake/check_format.sh --fix
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_clang_format() {
  local name
  for name in .venv/bin/clang-format clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
      echo "$name"
      return
    fi
  done
  echo "skipped: no clang-format 14 (make lint puts one into .venv)" >&2
  exit 77
}

# Tracked files and new ones that git does not ignore; without git, the folders of the project.
list_sources() {
  local patterns=('*.hpp' '*.cpp' '*.cu' '*.cuh')
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    # A file deleted but not yet committed is still listed.
    git ls-files --cached --others --exclude-standard -- "${patterns[@]}" |
      while IFS= read -r file; do [[ ! -f $file ]] || printf '%s\n' "$file"; done
  else
    find core hessian optimizers experiments tests -name '*.[hc]pp' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null
  fi
}

clang_format=$(find_clang_format)
mapfile -t files < <(list_sources)
if [[ ${#files[@]} -eq 0 ]]; then
  echo "no C++ file found in $PWD" >&2
  exit 1
fi
if [[ ${1:-} == --fix ]]; then
  "$clang_format" -i "${files[@]}"
else
  "$clang_format" --dry-run --Werror "${files[@]}" ||
    { echo "make format rewrites them" >&2; exit 1; }
fi
echo "${#files[@]} files checked"
