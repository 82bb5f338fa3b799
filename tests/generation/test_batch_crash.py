"""The openai-batch backend killed (kill -9) at every step that it takes on disk and over HTTP: no row is lost, and none is paid for twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from batch_server import BatchServer, answer, running

DRIVER = """
import json, os, signal, sys
from pathlib import Path
import httpx2, openai
from toolkit.generation import Journal, build_request, complete, open_backend
from toolkit.generation._config import OpenAIBatchConfig

url, root, first, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
config = OpenAIBatchConfig(backend="openai-batch", model="m", base_url=url, poll=0.002, batch_requests=2)
steps = last = 0
work = None

def tick():
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

def audited(event, args):
    if work is None or event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        return
    if isinstance(args[0], str) and "batches" in args[0] or hasattr(args[0], "__fspath__") and "batches" in str(args[0]):
        tick()

send = httpx2.Client.send
def sent(self, request, **more):
    tick()
    response = send(self, request, **more)
    tick()
    return response
httpx2.Client.send = sent
warm = openai.OpenAI(api_key="-", base_url=url)  # what the package imports when it is first used is imported once, before the forks
assert warm.files and not list(warm.batches.list())
warm.close()
sys.addaudithook(audited)

def run(name, kill):
    # in a process of its own: its number of steps, or None where it was killed
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    global work, last
    work, last = root / name, kill
    with Journal(work) as journal:
        backend = open_backend(config, work=work)
        asked = (build_request(backend, config, [{"role": "user", "content": f"{name}-{i}"}]) for i in range(3))
        out = [c.text for c in complete(asked, backend, journal)]
        backend.close()
    (work / "out.json").write_text(json.dumps({"out": out, "steps": steps, "left": os.listdir(work / "batches")}))
    os._exit(0)

assert run("whole", 0) == 0
total = json.loads((root / "whole" / "out.json").read_text())["steps"]
for n in range(first, total + 1, step):
    assert run(str(n), n) in (-9, 0), n  # the very last steps are not always there: the number of looks varies a little
    run(str(n), 1 + n * 7 % 40)
    assert run(str(n), 0) == 0, n
"""


@pytest.mark.parametrize("first", [1, 8])
def test_killed_at_any_step_no_row_is_lost_or_paid_for_twice(tmp_path: Path, first: int) -> None:
    with running(BatchServer()) as server:
        for name in ["whole", *map(str, range(1000))]:
            server.faults[f"{name}-1"] = ["500"]  # so that a row goes from one batch to another
        driver = subprocess.run([sys.executable, "-c", DRIVER, server.base_url, str(tmp_path), str(first), "21"], check=True, timeout=100)
        assert driver.returncode == 0
        names = sorted(p.name for p in tmp_path.iterdir())
        assert len(names) > 5
        for name in names:
            end = json.loads((tmp_path / name / "out.json").read_text())
            assert end["out"] == [answer(f"{name}-{i}") for i in range(3)]
            assert end["left"] == []
        assert server.billed == {f"{name}-{i}": 1 for name in names for i in range(3)}
        assert server.problems == []
