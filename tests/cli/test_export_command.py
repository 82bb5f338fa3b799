"""``guardkit export``: what it writes, what it sends, how it ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import CHECKOUT, Result, guardkit

from toolkit.shards.exporters import EXPORTERS

sys.path.insert(0, str(CHECKOUT / "tests" / "shards"))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from exports import dpo, lines, sft
from hub import NEW, TOKEN, running

Cli = Callable[..., Result]


def test_export_says_what_it_wrote(cli: Cli, tmp_path: Path) -> None:
    sft(tmp_path / "run" / "sft-shards" / "shards")
    result = cli("export", "run/sft-shards", "--format", "openai", "--split", "train")
    assert result.code == 0
    for words in ("Exported for openai", "train.jsonl", "No place for: id, source, licence, teacher", "Everything is in: sft-shards-openai"):
        assert words in result.out
    assert len(lines(tmp_path / "sft-shards-openai" / "train.jsonl")) == 20
    found = cli("export", "run/sft-shards/shards", "--format", "trl", "--output", "out", "--json").json
    assert (found["output"], found["push"], found["export"]["rows"], found["export"]["to"]) == ("out", None, 25, "trl")
    assert (tmp_path / "out" / "export.json").is_file()


def test_verify_says_which_of_the_two_a_folder_is(cli: Cli, tmp_path: Path) -> None:
    sft(tmp_path / "step" / "shards")
    assert cli("export", "step", "--format", "openai", "--output", "out").code == 0
    for folder in ("step", "step/shards"):
        lines = cli("verify", folder).out.split("\n")
        assert lines[0] == "step/shards: shards, 4 file(s), 25 rows, all as the manifest says" and lines[1].startswith("Not signed: ")
        assert {line.split(":")[0].strip() for line in lines[3:-1]} == {"rows", "splits", "title", "licence.target"}, "what no folder proves"
    assert cli("verify", "out").out.startswith("out: an export for openai, 4 file(s), 25 rows, all as the manifest says\n")
    found = cli("verify", "out", "--json").json
    assert (found["folder"], found["kind"], found["to"], found["rows"]) == ("out", "export", "openai", 25)
    assert set(found["files"]) == {"README.md", "shards.json", "test.jsonl", "train.jsonl"}
    assert found["signature"] is None and {"rows", "notes", "of.title"} <= set(found["unproven"])
    (tmp_path / "out" / "train.jsonl").write_text("{}\n")
    result = cli("verify", "out", "--json")
    assert (result.code, len(result.json["faults"])) == (2, 1) and "out/train.jsonl: its bytes are not those of the record" in result.err
    (tmp_path / "out" / "export.json").unlink()
    result = cli("verify", "out")
    assert result.code == 2 and "no manifest.json (shards) and no export.json (an export)" in result.err


def test_a_folder_is_signed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the key that an option or the environment names; who signed is shown, and the key itself never."""
    private = Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (tmp_path / "key.pub").write_bytes(private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    sft(tmp_path / "shards")
    monkeypatch.delenv("GUARDKIT_SIGNING_KEY", raising=False)
    assert cli("sign", "shards").code == 4
    assert (cli("verify", "shards", "--require-signature").code, cli("verify", "shards", "--key", "key.pub").code) == (2, 2)
    monkeypatch.setenv("GUARDKIT_SIGNING_KEY", "key")
    by = cli("sign", "shards", "--json").json["by"]
    assert f"Signed by {by}, one of your keys" in cli("verify", "shards", "--key", "key.pub", "--require-signature").out
    assert f"Signed by {by}; whether to trust" in cli("verify", "shards").out
    result = cli("export", "shards", "--format", "openai", "--output", "out", "--sign", "key")
    assert f"Signed by {by}" in result.out and cli("verify", "out", "--key", "key.pub").code == 0
    assert cli("export", "shards", "--format", "openai", "--output", "out").code == 0, "a signed export is replaced as any other"
    assert cli("verify", "out").out.split("\n")[1].startswith("Not signed")


def test_every_format_is_named_by_the_help(cli: Cli) -> None:
    words = set(re.findall(r"[\w-]+", cli("export", "--help").out))
    assert set(EXPORTERS.own) <= words


def test_weights_wait_for_a_decision(cli: Cli, tmp_path: Path) -> None:
    dpo(tmp_path / "pairs")
    result = cli("export", "pairs", "--format", "llamafactory")
    assert (result.code, "--weights repeat" in result.err) == (2, True)
    found = cli("export", "pairs", "--format", "llamafactory", "--weights", "repeat", "--copies", "10", "--json").json
    assert found["export"]["weights"]["copies_of_weight_1"] == 10
    assert cli("export", "pairs", "--format", "llamafactory", "--weights", "drop").code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "neither a format nor a repository"),
        (["--split", "train", "--push", "a/b"], "--split needs a format"),
        (["--format", "trl", "--dry-run"], "--dry-run needs a repository"),
        (["--format", "trl", "--copies", "3"], "--copies goes with --weights repeat"),
        (["--format", "csv"], "unknown format 'csv'"),
        (["--format", "trl", "--split", "nope"], "no split called 'nope'"),
        (["--format", "trl", "--output", "shards/data"], "would take the place of what this command reads: shards"),
    ],
)
def test_arguments_that_make_no_sense(cli: Cli, tmp_path: Path, args: list[str], message: str) -> None:
    sft(tmp_path / "shards")
    found = cli("export", "shards", *args)
    assert (found.code, message in found.err) == (2, True), found.err
    assert [p.name for p in tmp_path.iterdir()] == ["shards"]


def test_a_dry_run_sends_nothing_and_needs_no_token(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    sft(tmp_path / "shards")
    result = cli("export", "shards", "--push", "eggs/fresh", "--dry-run")
    assert result.code == 0
    for words in ("Would be sent to eggs/fresh", "README.md", "manifest.json", "data/train-00000-of-00003.parquet"):
        assert words in result.out
    found = cli("export", "shards", "--format", "ms-swift", "--push", "eggs/fresh", "--dry-run", "--json").json
    assert [f["path"] for f in found["push"]["would_send"]] == [
        *("README.md", "export.json", *(f"reward/{name}" for name in ("formula.yaml", "guard.yaml", "guardkit_reward.py"))),
        *("rl/test.jsonl", "rl/train.jsonl", "shards.json", "test.jsonl", "train.jsonl", "train.sh"),
    ]
    result = cli("export", "shards", "--push", "eggs/fresh")
    assert (result.code, "HF_TOKEN" in result.err) == (4, True)


def test_a_push_from_another_process(tmp_path: Path) -> None:
    """Through the environment alone: HF_ENDPOINT and HF_TOKEN. The token is in nothing that is printed or written."""
    pytest.importorskip("huggingface_hub")
    folder = sft(tmp_path / "shards")
    with running() as hub:
        here = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
        result = guardkit("export", folder, "--format", "verl", "--output", "out", "--push", "eggs/fresh", "--json", cwd=tmp_path, **here)
        assert result.code == 0, result.err
        assert result.json["push"]["url"] == f"{hub.url}/datasets/eggs/fresh"
        assert {"rl/train.parquet", "sft/test.parquet", "export.json", "README.md", *NEW} <= set(hub.files("eggs/fresh"))
        result = guardkit("export", "out", "--push", "eggs/fresh", cwd=tmp_path, **here)
        assert (result.code, "0 file(s) sent" in result.out, result.out.splitlines()[-1]) == (0, True, f"{hub.url}/datasets/eggs/fresh")
        hub.fault = lambda method, path: 403 if "/api/" in path else None
        result = guardkit("export", "out", "--push", "eggs/fresh", cwd=tmp_path, **here)
        assert (result.code, "does not let this token do that" in result.err, "Traceback" in result.err) == (4, True, False)
    written = [p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(TOKEN.encode() in data for data in written) and TOKEN not in result.out + result.err
