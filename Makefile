# Short names for what people do with a checkout. Everything is also reachable without make: the
# recipes below are the commands.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

JOBS ?= $(shell bash cmake/parallel_jobs.sh)
# Several files to a compiler's run: a whole build in a third of the time, one changed file in more.
UNITY ?= ON
FUZZ_SECONDS ?= 60
PREFIX ?= /usr/local
TOKENIZER ?= byte
VOCAB_SIZE ?= 2048

# The installer puts a newer CMake into .venv where the system's is too old; so ask late.
in_venv_or_path = $(shell test -x .venv/bin/$(1) && echo .venv/bin/$(1) || echo $(1))
CMAKE = $(call in_venv_or_path,cmake)
CTEST = $(call in_venv_or_path,ctest)
PYTHON_MODULE := .venv/bin/python -m
BLOCKWISE := build/release/blockwise

QUICKSTART := runs/quickstart
FOUND := $(QUICKSTART)/found/partition.yaml
NOVELS := data/austen/train.txt data/austen/validation.txt
TOKENS_byte := data/austen-byte
TOKENS_bpe := data/austen-bpe$(VOCAB_SIZE)
TOKENS = $(or $(TOKENS_$(TOKENIZER)),$(error TOKENIZER is "$(TOKENIZER)", not byte or bpe))

.PHONY: help
help: ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo "Options: TORCH=cpu for PyTorch's build without CUDA, 0.2 GB instead of 2.5 GB to download;"
	@echo "CUDA=1 for a CUDA compiler, 0.1 GB, CUDA=0 for none;"
	@echo "Torch_DIR=... to use a LibTorch that is already here; JOBS=N compilers at once; PYTHON=python3.12"
	@echo "for .venv; for install PREFIX=...; for corpus TOKENIZER=bpe VOCAB_SIZE=2048; for fuzz FUZZ_SECONDS=60;"
	@echo "UNITY=OFF to compile every file by itself."

.PHONY: dependencies
dependencies: ## install what is missing: Debian packages, .venv, LibTorch
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' CUDA='$(CUDA)' bash cmake/install_dependencies.sh

.PHONY: developer-dependencies
developer-dependencies: dependencies
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' CUDA='$(CUDA)' bash cmake/install_dependencies.sh developers

.PHONY: configure
configure: dependencies
	@$(CMAKE) --preset release -DCMAKE_UNITY_BUILD=$(UNITY) -DTorch_DIR='$(Torch_DIR)' $(if $(filter 0,$(CUDA)),-DBLOCKWISE_CUDA_TOOLKIT=OFF)

.PHONY: build
build: configure ## install what is missing and build build/release/blockwise
	@$(CMAKE) --build --preset release --target blockwise --parallel $(JOBS)

.PHONY: install
install: build ## put blockwise into PREFIX/bin (PREFIX=/usr/local)
	@$(CMAKE) --install build/release --prefix '$(PREFIX)'

.PHONY: test
test: developer-dependencies configure ## install what is missing, build everything, run every test
	@$(CMAKE) --build --preset release --parallel $(JOBS)
	@$(CTEST) --preset release --parallel $(JOBS)

.PHONY: fuzz-programs
fuzz-programs:
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' CUDA='$(CUDA)' bash cmake/install_dependencies.sh fuzz
	@$(CMAKE) --preset fuzz -DCMAKE_UNITY_BUILD=$(UNITY) -DTorch_DIR='$(Torch_DIR)'
	@$(CMAKE) --build --preset fuzz --parallel $(JOBS)

.PHONY: fuzz
fuzz: fuzz-programs developer-dependencies configure ## every reader against made up inputs, FUZZ_SECONDS=60 for each, with clang
	@BLOCKWISE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CTEST) --preset release -L fuzz --parallel $(JOBS)

.PHONY: sanitize
sanitize: developer-dependencies configure ## every test under the sanitizers of addresses and undefined behaviour
	@$(CMAKE) --preset asan -DCMAKE_UNITY_BUILD=$(UNITY) -DTorch_DIR='$(Torch_DIR)'
	@$(CMAKE) --build --preset asan --parallel $(JOBS)
	@$(CTEST) --preset asan --parallel $(JOBS)

.PHONY: sanitize-threads
sanitize-threads: developer-dependencies configure ## what runs on several threads under the sanitizer of threads
	@$(CMAKE) --preset tsan -DCMAKE_UNITY_BUILD=$(UNITY) -DTorch_DIR='$(Torch_DIR)'
	@$(CMAKE) --build --preset tsan --parallel $(JOBS)
	@$(CTEST) --preset tsan

MINUTES ?= 10
GPU_PYTHON = $(or $(PYTHON),$(call in_venv_or_path,python3))
.PHONY: gpu-check
gpu-check: ## build, test and time on this machine's GPU, in MINUTES=10; installs nothing
	@$(GPU_PYTHON) tests/benchmarks/gpu/gpu_check.py --minutes $(MINUTES) $(GPU_CHECK_OPTIONS)

.PHONY: gpu-bundle
gpu-bundle: ## what gpu-check needs on a machine without a network, as one archive
	@$(GPU_PYTHON) tests/benchmarks/gpu/bundle.py

.PHONY: quickstart
quickstart: build corpus ## find a partition, compare it with Adam-mini's and AdamW: table and figure
	@$(MAKE) --no-print-directory --silent $(FOUND)
	@$(BLOCKWISE) search-lr configs/quickstart.yaml --output $(QUICKSTART)/rates --set optimizer.rule=adam_mini \
	  --set optimizer.partition.file=$(FOUND)
	@$(BLOCKWISE) sweep configs/quickstart.yaml
	@$(BLOCKWISE) report $(QUICKSTART)
	@$(MAKE) --no-print-directory --silent $(QUICKSTART)/figure.png
	@echo
	@echo "Runs    $(QUICKSTART)/members/*/run.h5 (HDF5; h5py and pandas read them as they are)"
	@echo "Figure  $(QUICKSTART)/figure.png"
	@echo "Found   $(FOUND), $(QUICKSTART)/rates/rates.csv"
	@echo "Next    $(BLOCKWISE) report $(QUICKSTART) --csv > quickstart.csv"
	@echo "        $(BLOCKWISE) list"
	@echo "        copy configs/quickstart.yaml, change a learning rate, run '$(BLOCKWISE) sweep' on it"

$(FOUND):
	$(BLOCKWISE) partition configs/quickstart.yaml --output $(@D)

# Drawn again when a run is newer; the runs are the sweep's business, not make's.
$(QUICKSTART)/figure.png: $(wildcard $(QUICKSTART)/members/*/run.h5)
	$(PYTHON_MODULE) blockwise.figures $(QUICKSTART) --output $@

.PHONY: corpus
corpus: build ## the default corpus: Jane Austen's novels as token files
	@$(MAKE) --no-print-directory --silent $(TOKENS)/manifest.json

$(NOVELS) &:
	$(PYTHON_MODULE) blockwise.corpus.austen --output data/austen

$(TOKENS_byte)/manifest.json: $(NOVELS)
	$(BLOCKWISE) data --train data/austen/train.txt --validation data/austen/validation.txt \
	  --output $(@D)

$(TOKENS_bpe)/manifest.json: $(NOVELS)
	$(BLOCKWISE) data --train data/austen/train.txt --validation data/austen/validation.txt \
	  --output $(@D) --tokenizer bpe --vocab-size $(VOCAB_SIZE)

.PHONY: lint
lint: developer-dependencies ## include rules, formatting, links of the documents
	@$(CMAKE) -DROOT=. -P cmake/check_includes.cmake
	@$(CMAKE) -P tests/lint/check_includes_test.cmake
	@.venv/bin/python tests/lint/check_links.py
	@bash cmake/check_format.sh

.PHONY: format
format: developer-dependencies ## rewrite the C++ files with clang-format
	@bash cmake/check_format.sh --fix

.PHONY: clean
clean: ## remove build/; .venv, data and runs stay
	rm -rf build
