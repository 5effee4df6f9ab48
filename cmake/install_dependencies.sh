#!/usr/bin/env bash
# Installs what a build needs and this machine lacks: Debian packages, the virtual environment .venv,
# and LibTorch as the torch wheel. With nothing missing it takes a moment and no network.
#   bash cmake/install_dependencies.sh              # for the program, its figures and notebooks
#   bash cmake/install_dependencies.sh tests        # and for the tests
#   bash cmake/install_dependencies.sh developers   # and for changing the code
#   bash cmake/install_dependencies.sh fuzz         # and for fuzzing
#   bash cmake/install_dependencies.sh slurm        # and for the tests on a cluster of one machine
#   bash cmake/install_dependencies.sh counts       # and for the tests that count instructions
#   bash cmake/install_dependencies.sh mpi          # and for the test that starts runs by mpirun
# Environment: PYTHON names the interpreter for .venv; TORCH=cpu takes PyTorch's build without CUDA;
# Torch_DIR or CMAKE_PREFIX_PATH leads to a LibTorch (2.11 to 2.15) that is used instead of the wheel;
# CUDA=1 installs a CUDA compiler where none is here, CUDA=0 never does. Without it tests get one, and
# everybody whose LibTorch is a build with CUDA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly torch_requirement="torch==2.13.0"
readonly torch_cpu_index="https://download.pytorch.org/whl/cpu"
# The toolkit that torch 2.13.0's build with CUDA names, and what disassembles its objects.
readonly cuda_requirements=("cuda-toolkit[nvcc,cudart,cccl]==13.0.3" "nvidia-cuda-cuobjdump==13.5.37"
  "nvidia-cuda-nvdisasm==13.5.37")
readonly cmake_requirement="cmake==3.31.10" # where the system's is too old for CMakePresets.json
readonly cmake_minimum="3.25"
readonly venv_python=".venv/bin/python"
readonly python_names=(python3 python3.14 python3.13 python3.12 python3.11)
package_lists=(cmake/debian_packages.txt)
requirements=(users)
case ${1:-} in
  "") ;;
  tests | developers) requirements+=("$1") ;;
  fuzz | slurm | counts | mpi) package_lists+=("cmake/debian_packages_$1.txt") ;;
  *)
    printf 'blockwise: "%s" is not tests, developers, fuzz, slurm, counts or mpi\n' "$1" >&2
    exit 1
    ;;
esac
readonly package_lists requirements

say() { printf 'blockwise: %s\n' "$*"; }
fail() {
  printf 'blockwise: %s\n' "$@" >&2
  exit 1
}

python_version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
is_recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first interpreter that is new enough; without one says which were looked at.
choose_python() {
  local candidates=("${python_names[@]}") found=() name version
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for name in "${candidates[@]}"; do
    version=$(python_version "$name") || continue
    if is_recent_python "$name"; then
      command -v "$name"
      return
    fi
    found+=("$name is $version")
  done
  [[ ${#found[@]} -gt 0 ]] || found=("none of ${candidates[*]} runs")
  fail "Python 3.11 or newer is required; found:" "${found[@]/#/  }" \
    "install one and name it, for example: make build PYTHON=python3.12"
}

# A container image may have no Python at all.
has_no_python() {
  local name
  for name in "${python_names[@]}"; do
    [[ -z $(python_version "$name") ]] || return 1
  done
}

# Debian keeps ensurepip, which fills a virtual environment, in a package of its own.
missing_venv_package() {
  local python=$1
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  "$python" -c 'import sys; sys.exit(sys.prefix != "/usr")' ||
    fail "$python has no ensurepip module, so it cannot make a virtual environment; name another with PYTHON"
  "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

missing_packages() {
  local installed name
  # shellcheck disable=SC2016  # a format of dpkg-query, not a variable
  installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for name in "$@"; do
    [[ $'\n'$installed$'\n' == *$'\n'"installed $name"$'\n'* ]] || printf '%s\n' "$name"
  done
}

# Root, or sudo where it needs no password or a terminal can give one.
can_become_root() {
  [[ $EUID -eq 0 ]] && return
  command -v sudo >/dev/null || return 1
  sudo -n true 2>/dev/null || [[ -t 0 && -t 2 ]]
}

apt_get() {
  local as_root=()
  [[ $EUID -eq 0 ]] || as_root=(sudo)
  # A fresh machine may be busy with its own upgrades: wait for the lock instead of failing.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

install_debian_packages() {
  local missing=("$@")
  local sentence="missing Debian packages: ${missing[*]}"
  local advice="as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  can_become_root || fail "$sentence" "install them and run the same command again," "$advice"
  say "installing ${missing[*]}"
  apt_get update || say "apt-get update failed; going on with the package lists that are here"
  apt_get install -y --no-install-recommends "${missing[@]}" ||
    fail "apt-get failed;" "$sentence" "$advice"
}

require_system_packages() {
  local names=() missing=() name
  if command -v dpkg-query >/dev/null; then
    mapfile -t names < <(sed 's/#.*//; s/[[:space:]]//g; /^$/d' "${package_lists[@]}")
    mapfile -t missing < <(missing_packages "${names[@]}" "$@")
    [[ ${#missing[@]} -eq 0 ]] || install_debian_packages "${missing[@]}"
    return
  fi
  for name in c++ ninja cmake; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  [[ ${#missing[@]} -eq 0 ]] ||
    fail "missing: ${missing[*]}" "this is not Debian or Ubuntu; install these and what cmake/debian_packages.txt names"
}

make_venv() {
  local python=$1
  say "making .venv with Python $(python_version "$python")"
  "$python" -m venv --clear .venv
}

# install_with_pip STAMP CONTENT ARGUMENTS...: does nothing where .venv/STAMP says CONTENT, which is
# written last, so that an interrupted installation is taken up again.
install_with_pip() {
  local stamp=.venv/$1 content=$2
  shift 2
  [[ ! -f $stamp || $(<"$stamp") != "$content" ]] || return 0
  say "installing into .venv: $*"
  # An interrupted or foreign virtual environment may lack pip.
  "$venv_python" -m pip --version >/dev/null 2>&1 || "$venv_python" -m ensurepip >/dev/null
  "$venv_python" -m pip install --disable-pip-version-check --no-input "$@" ||
    fail "pip could not install $*; is the network there?"
  printf '%s\n' "$content" >"$stamp"
}

# CMakePresets.json needs 3.25; Ubuntu 22.04 has 3.22.
require_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  if ! printf '%s\n' "$cmake_minimum" "${version:-0}" | sort --version-sort --check=quiet; then
    install_with_pip cmake.stamp "$cmake_requirement" "$cmake_requirement"
  fi
}

# With TORCH unset any build of the version serves, so that TORCH=cpu has to be said only once.
torch_is_installed() {
  local stamp=.venv/torch.stamp
  [[ -f $stamp && $(<"$stamp") == "$torch_requirement"${TORCH:+"+$TORCH"}* ]]
}

# Sizes are those of Linux on x86-64, where pip's own choice is the build with CUDA.
announce_torch() {
  if [[ ${TORCH:-} == cpu ]]; then
    say "LibTorch: $torch_requirement+cpu, about 0.2 GB to download, 0.8 GB on disk"
  else
    say "LibTorch: $torch_requirement, with CUDA 2.5 GB to download and 5.1 GB on disk" \
      "(TORCH=cpu takes the build without CUDA: 0.2 GB and 0.8 GB)"
  fi
}

# The local version +cpu keeps pip from falling back to the build with CUDA.
install_torch() {
  if [[ ${TORCH:-} == cpu ]]; then
    install_with_pip torch.stamp "$torch_requirement+cpu" "$torch_requirement+cpu" \
      --extra-index-url "$torch_cpu_index"
  elif ! torch_is_installed; then
    install_with_pip torch.stamp "$torch_requirement" "$torch_requirement"
  fi
}

# Before anything is downloaded, what will be. apt-get says its own sizes.
announce_downloads() {
  [[ -f .venv/requirements-users.stamp ]] ||
    say "Python packages for .venv: about 0.2 GB to download, 0.7 GB on disk"
  [[ -n ${Torch_DIR:-}${CMAKE_PREFIX_PATH:-} ]] || torch_is_installed || announce_torch
}

# Every set of python/requirements holds those before it.
install_requirements() {
  local name sums
  sums=$(cat python/requirements/*.txt | sha256sum)
  for name in "${requirements[@]}"; do
    install_with_pip "requirements-$name.stamp" "$sums" -r "python/requirements/$name.txt"
  done
}

# `import blockwise` in .venv, from any folder; and what the studies of notebooks/ need.
link_python_package() {
  local link folders="$PWD/python"$'\n'"$PWD/notebooks"
  link=$("$venv_python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/blockwise.pth
  [[ -f $link && $(<"$link") == "$folders" ]] || printf '%s\n' "$folders" >"$link"
}

require_libtorch() {
  local cmake=cmake
  [[ ! -x .venv/bin/cmake ]] || cmake=.venv/bin/cmake
  if [[ -n ${Torch_DIR:-} ]]; then
    "$cmake" -P cmake/locate_libtorch.cmake >/dev/null || exit 1
  elif [[ -z ${CMAKE_PREFIX_PATH:-} ]] || ! "$cmake" -P cmake/locate_libtorch.cmake >/dev/null 2>&1; then
    [[ -z ${CMAKE_PREFIX_PATH:-} ]] || torch_is_installed || announce_torch
    install_torch
  fi
}

# From 12.8 on and with the runtime as a static library, as cmake/CudaToolkit.cmake asks for.
is_cuda_toolkit() {
  local version
  version=$("$1/bin/nvcc" --version 2>/dev/null) || return 1
  [[ $version =~ release\ ([0-9]+)\.([0-9]+) ]] || return 1
  ((BASH_REMATCH[1] * 100 + BASH_REMATCH[2] >= 1208)) || return 1
  compgen -G "$1/lib*/libcudart_static.a" >/dev/null ||
    compgen -G "$1/targets/*/lib/libcudart_static.a" >/dev/null
}

has_cuda_compiler() {
  local root in_path=""
  ! command -v nvcc >/dev/null || in_path=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
  for root in "${CUDA_PATH:-/usr/local/cuda}" "$in_path"; do
    [[ -z $root ]] || ! is_cuda_toolkit "$root" || return 0
  done
  return 1
}

# The one that is used: what Torch_DIR leads to, a prefix, or the wheel.
has_cuda_libtorch() {
  local root
  for root in ${Torch_DIR:+"$Torch_DIR/../../.."} ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//[:;]/ }}; do
    [[ ! -e $root/lib/libtorch_cuda.so ]] || return 0
  done
  [[ -z ${Torch_DIR:-} ]] &&
    compgen -G '.venv/lib/python3*/site-packages/torch/lib/libtorch_cuda.so' >/dev/null
}

wants_cuda_compiler() {
  case ${CUDA:-} in
    1) return 0 ;;
    0) return 1 ;;
  esac
  [[ ${#requirements[@]} -gt 1 ]] && return
  has_cuda_libtorch
}

# Only who asked for it by name cannot do without.
require_cuda_compiler() {
  wants_cuda_compiler || return 0
  ! has_cuda_compiler || return 0
  [[ -f .venv/cuda.stamp ]] || say "CUDA compiler: 0.1 GB to download, 0.3 GB on disk (CUDA=0 goes without)"
  (install_with_pip cuda.stamp "${cuda_requirements[*]}" "${cuda_requirements[@]}") ||
    [[ ${CUDA:-} != 1 ]] || exit 1
}

main() {
  local python="" venv_package=""
  [[ -z ${TORCH:-} || $TORCH == cpu ]] || fail "TORCH is '$TORCH'; it is cpu, or not given"
  [[ -z ${CUDA:-} || $CUDA == [01] ]] || fail "CUDA is '$CUDA'; it is 0, 1, or not given"
  announce_downloads
  if ! is_recent_python "$venv_python"; then
    PATH=${PATH//"$PWD/.venv/bin:"/} # an activated but broken .venv must not make its successor
    if [[ -z ${PYTHON:-} ]] && has_no_python; then require_system_packages python3; fi
    python=$(choose_python)
    venv_package=$(missing_venv_package "$python")
  fi
  require_system_packages ${venv_package:+"$venv_package"}
  [[ -z $python ]] || make_venv "$python"
  require_cmake
  install_requirements
  link_python_package
  require_libtorch
  require_cuda_compiler
}

main
