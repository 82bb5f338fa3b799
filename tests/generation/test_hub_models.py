"""A model on a hub that answers what it likes: a clear error, and no token in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from raw_server import http, running

pytest.importorskip("huggingface_hub")
TOKEN = "hf_testtoken1234567890"  # noqa: S105

CLIENT = """
import sys
from toolkit.common.errors import GuardkitError
from toolkit.generation.backends._local import folder_of
try:
    folder_of("owner/model", None)
except GuardkitError as e:
    print(e.exit_code, e)
"""

BODIES = {
    "list": b"[1, 2]",
    "page": b"<html>login</html>",
    "text": b'"x"',
    "null": b"null",
    "other": b'{"sha": 5, "siblings": "many"}',
    "deep": b"[" * 100_000,
    "echo": json.dumps({"error": f"Bearer {TOKEN}"}).encode(),
}


@pytest.mark.parametrize("kind", [*BODIES, "401", "500 page", "no proxy"])
def test_a_hub_that_answers_in_another_form(kind: str, tmp_path: Path) -> None:
    def reply(head: str, body: bytes) -> bytes:
        return http(BODIES[kind]) if kind in BODIES else http(f"<html>Bearer {TOKEN}</html>".encode(), "401 No" if kind == "401" else "400 Bad")

    with running(reply) as server:
        url = server.base_url.removesuffix("/v1")
        environment = {"PATH": "/usr/bin:/bin", "HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        environment |= {"HTTP_PROXY": "http://me:pa55word123@["} if kind == "no proxy" else {}
        done = subprocess.run([sys.executable, "-c", CLIENT], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout[:2] in ("2 ", "4 "), done.stdout
    assert TOKEN not in done.stdout + done.stderr and "pa55word123" not in done.stdout + done.stderr
