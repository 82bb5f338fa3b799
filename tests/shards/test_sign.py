"""Signatures: who vouches for a folder, by a file that ssh-keygen reads and writes; a folder that was changed and sealed anew has none that holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat
from exports import sft

import toolkit.api as api
from toolkit.common.errors import GuardkitError, InputError, Missing
from toolkit.common.manifests import sealed
from toolkit.shards import sign, signature_of, to_send

KEYGEN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJa/YkteV1RfJSsh/Hu7rstdM1+aumGq+zsr63dCbrm7 me"
KEYGEN_PRINT = "SHA256:6qG2bKROO1wAkM0un+H3DzQjOvyMSUbbwKy1Xwlv1Yg"
KEYGEN_SIGNED = """-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAglr9iS15XVF8lKyH8e7uuy10zX5
q6Yar7Oyvrd0JuubsAAAAIZ3VhcmRraXQAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk
MjU1MTkAAABAH460slp0YYi8yRki1+Z+8BGMUorWylb6HwxChGUEd2bTWBzugBU8NCrS2I
wkofpJcIVDbxsmCIoYIyzGIeFSBA==
-----END SSH SIGNATURE-----
"""
"""What ``ssh-keygen -Y sign -n guardkit`` (OpenSSH 9) wrote for the line below, its public key, and what ``ssh-keygen -l`` says of that."""
KEYGEN_TEXT = '{"a": 1}\n'


def key(path: Path, form: PrivateFormat = PrivateFormat.OpenSSH, password: bytes | None = None) -> Path:
    """A new private key, and its public one beside it."""
    made = Ed25519PrivateKey.generate()
    path.write_bytes(made.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password) if password else NoEncryption()))
    public = made.public_key()
    path.with_suffix(".pub").write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" me@example.org\n")
    path.with_suffix(".pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sft(tmp_path / "s", 9, licence="CC-BY-4.0")


def test_what_ssh_keygen_signed_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(KEYGEN_TEXT)
    assert signature_of(tmp_path / "manifest.json") is None
    (tmp_path / "manifest.json.sig").write_text(KEYGEN_SIGNED)
    found = signature_of(tmp_path / "manifest.json")
    assert found is not None and KEYGEN_KEY.startswith(found.key) and found.by == KEYGEN_PRINT


def test_what_is_signed_is_what_ssh_keygen_signs(tmp_path: Path) -> None:
    """Ed25519 is deterministic: the same text and key have one signature, so the file of a key made here differs from the one above in key and
    signature alone."""
    (tmp_path / "manifest.json").write_text(KEYGEN_TEXT)
    made = sign(tmp_path / "manifest.json", key(tmp_path / "k"))
    text = (tmp_path / "manifest.json.sig").read_text()
    assert signature_of(tmp_path / "manifest.json") == made
    assert [len(line) for line in text.split("\n")] == [len(line) for line in KEYGEN_SIGNED.split("\n")]
    assert made.key in (tmp_path / "k.pub").read_text()


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_a_folder_is_signed_and_verified(folder: Path, tmp_path: Path, form: PrivateFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = key(tmp_path / "k", form), key(tmp_path / "other")
    assert api.verify(folder)["signature"] is None
    for asked in ({"require_signature": True}, {"key": tmp_path / "k.pub"}):
        with pytest.raises(InputError, match="nobody has signed"):
            api.verify(folder, **asked)
    monkeypatch.setenv("GUARDKIT_SIGNING_KEY", str(mine))
    made = api.sign(folder)
    assert Path(made["file"]).is_file() and mine.read_text().split("\n")[1] not in Path(made["file"]).read_text()
    assert api.verify(folder, require_signature=True)["signature"] == {"by": made["by"], "key": made["key"], "trusted": None}
    signers = tmp_path / "signers"
    signers.write_text(f'# who may sign\nyou@example.org namespaces="guardkit" {(tmp_path / "k.pub").read_text()}')
    for given in (tmp_path / "k.pub", tmp_path / "k.pem", signers):
        assert api.verify(folder, key=given)["signature"]["trusted"] is True
    with pytest.raises(InputError, match="none of the keys"):
        api.verify(folder, key=tmp_path / "other.pub")
    assert api.sign(folder, other)["by"] != made["by"], "an earlier signature is replaced"
    assert {"manifest.json", "manifest.json.sig"} <= {p.path for p in to_send(folder)}


def test_a_signed_folder_that_was_changed_and_sealed_anew_is_refused(folder: Path, tmp_path: Path) -> None:
    api.sign(folder, key(tmp_path / "k"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest | {"step": "another"})))
    with pytest.raises(InputError, match=r"the signature is not that of this manifest.json"):
        api.verify(folder)
    assert api.sign(folder, tmp_path / "k")["by"], "whoever has the key can vouch for it again"
    shutil.copytree(folder, tmp_path / "t")
    text = (folder / "manifest.json.sig").read_text()
    for bad in (
        "",
        "x",
        text[:100],
        text.replace("U1NI", "AAAA"),
        text.replace("BEGIN SSH", "BEGIN"),
        text.upper(),
        "é" + text,
        text.replace("\n", "\n\n==", 2),
    ):
        (folder / "manifest.json.sig").write_text(bad)
        with pytest.raises(InputError, match="signature"):
            api.verify(folder)
    (folder / "manifest.json.sig").unlink()
    (folder / "manifest.json.sig").symlink_to(tmp_path / "t" / "manifest.json.sig")
    with pytest.raises(InputError, match="a link"):
        api.verify(folder)
    (folder / "manifest.json.sig").unlink()
    (tmp_path / "manifest.json").write_text(KEYGEN_TEXT)
    (folder / "manifest.json.sig").write_text(KEYGEN_SIGNED)
    with pytest.raises(InputError, match="not that of this"):
        api.verify(folder)


def test_a_signature_for_another_purpose_is_none(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.shards._sign.NAMESPACE", b"git")
    sign(folder / "manifest.json", key(tmp_path / "k"))
    monkeypatch.undo()
    with pytest.raises(InputError, match="another purpose"):
        api.verify(folder)


def test_an_unsound_folder_is_not_signed(folder: Path, tmp_path: Path) -> None:
    (folder / "more").write_text("")
    with pytest.raises(InputError, match="not in the manifest"):
        api.sign(folder, key(tmp_path / "k"))
    assert not (folder / "manifest.json.sig").exists()


def test_exports_are_signed_too(folder: Path, tmp_path: Path) -> None:
    mine = key(tmp_path / "k")
    done = api.export(folder, "openai", output=tmp_path / "out", sign=mine)
    assert api.verify(tmp_path / "out", key=tmp_path / "k.pub")["signature"]["by"] == done["signed"]
    assert "export.json.sig" in {p.path for p in to_send(tmp_path / "out")}
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    (tmp_path / "out" / "export.json").write_text(json.dumps(record | {"version": "0"}))
    with pytest.raises(InputError, match=r"not that of this export.json"):
        api.verify(tmp_path / "out")
    assert api.export(folder, "openai", output=tmp_path / "two")["signed"] is None
    with pytest.raises(InputError, match="sign needs a format"):
        api.export(folder, repo="me/eggs", sign=mine, dry_run=True)


def test_keys_that_do_not_do(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what to do, and never with a letter of the key."""
    monkeypatch.delenv("GUARDKIT_SIGNING_KEY", raising=False)
    with pytest.raises(Missing, match="GUARDKIT_SIGNING_KEY"):
        api.sign(folder)
    locked = key(tmp_path / "locked", PrivateFormat.PKCS8, b"words")
    ec = tmp_path / "ec"
    ec.write_bytes(generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    torn = tmp_path / "torn"
    torn.write_text(key(tmp_path / "k").read_text()[:-60])
    (tmp_path / "raw").write_bytes(b"\xff" * 64)
    cases: list[tuple[Any, str]] = [
        (tmp_path / "none", "cannot be read"), (tmp_path, "cannot be read"), (locked, "passphrase"), (ec, "another kind"), (torn, "no private key"),
        (tmp_path / "raw", "no text"), (tmp_path / "k.pub", "no private key"),
    ]  # fmt: skip
    for path, words in cases:
        with pytest.raises(GuardkitError, match=words) as e:
            api.sign(folder, path)
        assert not path.is_file() or not any(
            line in str(e.value) for line in path.read_bytes().decode(errors="replace").split("\n") if len(line) > 20
        )
    for path in (tmp_path / "k", tmp_path / "none", folder / "README.md"):
        with pytest.raises(InputError):
            api.verify(folder, key=path)


def test_shards_in_a_run_may_be_signed(tmp_path: Path) -> None:
    """The signature came after the step: the step is still reused, read and verified; made anew, it is unsigned again."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"id": "r{i}", "prompt": "How long do eggs keep, {i}?"}}\n' for i in range(5)))
    (tmp_path / "r.yaml").write_text(
        "recipe: r\nseed: 1\nsteps:\n"
        f"  - {{id: rd, use: read, with: {{files: [{tmp_path / 'rows.jsonl'}], columns: {{id: id, prompt: prompt}}}}}}\n"
        "  - {id: made, use: shards}\n"
    )
    api.run(str(tmp_path / "r.yaml"), output=tmp_path / "run")
    api.sign(tmp_path / "run" / "made", key(tmp_path / "k"))
    assert api.verify(tmp_path / "run")["kind"] == "run"
    assert not api.run(str(tmp_path / "r.yaml"), output=tmp_path / "run").built
    assert api.read_run(tmp_path / "run")["made"].artefact("shards").is_dir()
    assert api.verify(tmp_path / "run" / "made", key=tmp_path / "k.pub")["signature"]["trusted"]
    api.run(str(tmp_path / "r.yaml"), output=tmp_path / "run", force=True)
    assert api.verify(tmp_path / "run" / "made")["signature"] is None
