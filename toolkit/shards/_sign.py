"""Signatures: who vouches for a folder of data.

A signature is a file beside the manifest, ``manifest.json.sig`` (``export.json.sig``), over the manifest's bytes, and so over every file that the
manifest has the sha256 of. It is what ``ssh-keygen -Y sign -n guardkit -f KEY manifest.json`` writes (OpenSSH, PROTOCOL.sshsig), and
``ssh-keygen -Y verify`` reads it: whoever receives the folder needs no guardkit. Keys are Ed25519, as OpenSSH or PEM files have them; the
arithmetic is that of the package `cryptography` (extra ``sign``). A private key is read from its file and goes nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, require
from toolkit.common.files import write_atomic
from toolkit.common.manifests import read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUFFIX = ".sig"
"""What a signature's file is called beside the manifest's."""
NAMESPACE = b"guardkit"
_KIND = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_HEAD, _TAIL = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_PUBLIC = re.compile(r"\bssh-ed25519 +(AAAA[0-9A-Za-z+/]+=*)")
_LARGEST = 1 << 20
"""Bytes of a key's or signature's file, at most."""


@dataclass(frozen=True)
class Signature:
    """Of a folder. `key`: the signer's public key as OpenSSH has it; `by`: its fingerprint, as ``ssh-keygen -l`` shows it."""

    key: str
    by: str


def sign(manifest: Path, key: Path) -> Signature:
    """Write the signature of a manifest beside it; an earlier one is replaced.

    Args:
        manifest: the file; the folder must have been verified.
        key: file of an Ed25519 private key (OpenSSH or PEM), without a passphrase.

    Raises:
        InputError: the key cannot be read or is another kind; Missing: the package `cryptography`.
    """
    signer, text = sign_bytes(read_bytes(manifest), key)
    write_atomic(manifest.with_name(manifest.name + SUFFIX), text)
    return signer


def sign_bytes(message: bytes, key: Path) -> tuple[Signature, str]:
    """Who signs, and the signature as ``ssh-keygen`` writes it. Raises as `sign`."""
    require("cryptography", "sign", "a signature")
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = _private(key)
    public = base64.b64decode(private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    signature = _string(_KIND) + _string(private.sign(_signed(message, b"sha512")))
    blob = _MAGIC + struct.pack(">I", 1) + b"".join(map(_string, (public, NAMESPACE, b"", b"sha512", signature)))
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    return _signer(public), "\n".join([_HEAD, *lines, _TAIL, ""])


def signature_of(manifest: Path) -> Signature | None:
    """The signature beside a manifest, which is checked; None where there is none.

    Raises:
        InputError: it is damaged, or not that of this manifest; Missing: the package `cryptography`.
    """
    path = manifest.with_name(manifest.name + SUFFIX)
    if not path.exists() and not path.is_symlink():
        return None
    require("cryptography", "sign", "checking the signature of a folder")
    if path.is_symlink() or not path.is_file():
        raise InputError("a link or a folder, not a file", where=str(path))
    signer = signer_of(_text(path), read_bytes(manifest), str(path))
    if signer is None:
        hint = "the folder was changed after it was signed, or the signature is another folder's"
        raise InputError(f"the signature is not that of this {manifest.name}", where=str(path), hint=hint)
    return signer


def signer_of(text: str, message: bytes, where: str) -> Signature | None:
    """Who signed a message with this signature; None: nobody, for it is that of another message.

    Raises:
        InputError: no signature that can be read, at `where`; Missing: the package `cryptography`.
    """
    require("cryptography", "sign", "checking a signature")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, hashed, signature = _parsed(text, where)
    try:
        Ed25519PublicKey.from_public_bytes(public[-32:]).verify(signature, _signed(message, hashed))
    except InvalidSignature:
        return None
    return _signer(public)


def public_keys(path: Path) -> set[str]:
    """The Ed25519 public keys in a file: OpenSSH's ``.pub``, ``authorized_keys`` or ``allowed_signers``, a line each, or a PEM file.

    Raises:
        InputError: the file cannot be read, or has none; Missing: the package `cryptography`, for PEM.
    """
    text = _text(path)
    found = {f"ssh-ed25519 {key}" for line in text.splitlines() if not line.lstrip().startswith("#") for key in _PUBLIC.findall(line)}
    if text.lstrip().startswith("-----BEGIN PUBLIC KEY"):
        require("cryptography", "sign", "a key in a PEM file")
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise InputError("no public key that can be read", where=str(path)) from None
        if isinstance(key, Ed25519PublicKey):
            found.add(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())
    if not found:
        raise InputError(
            "no Ed25519 public key in this file", where=str(path), hint="a line of it reads ssh-ed25519 AAAA…; a private key is not asked for"
        )
    return found


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    text = _text(path)
    load = load_ssh_private_key if "OPENSSH PRIVATE KEY" in text else load_pem_private_key
    make = "make one: ssh-keygen -t ed25519 -f KEY"
    try:
        key = load(text.encode(), password=None)
    except TypeError:
        hint = "sign with it by ssh-keygen -Y sign -n guardkit -f KEY manifest.json, which asks for the passphrase and writes the same file"
        raise InputError("this key is protected by a passphrase", where=str(path), hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):  # what it says could quote the key
        raise InputError("no private key that can be read", where=str(path), hint=make) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("another kind of key than Ed25519", where=str(path), hint=make)
    return key


def _text(path: Path) -> str:
    try:
        with path.open("rb") as f:
            return f.read(_LARGEST).decode()
    except OSError as e:
        raise InputError(f"the file cannot be read: {e.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("no text, and so no key or signature", where=str(path)) from None


def _signer(public: bytes) -> Signature:
    digest = base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    return Signature(f"ssh-ed25519 {base64.b64encode(public).decode()}", f"SHA256:{digest}")


# PROTOCOL.sshsig ------------------------------------------------------------------------------------------------------


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _signed(message: bytes, hashed: bytes) -> bytes:
    """What is signed of a message."""
    return _MAGIC + b"".join(map(_string, (NAMESPACE, b"", hashed, hashlib.new(hashed.decode(), message).digest())))


def _parsed(text: str, where: str) -> tuple[bytes, bytes, bytes]:
    """Public key as OpenSSH encodes it, hash algorithm and signature of a signature's text."""
    try:
        head, *body, tail = map(str.strip, text.strip().split("\n"))
        if (head, tail) != (_HEAD, _TAIL):
            raise ValueError
        blob = base64.b64decode("".join(body), validate=True)
        if blob[:10] != _MAGIC + struct.pack(">I", 1):
            raise ValueError
        public, namespace, reserved, hashed, signature = _strings(blob[10:], 5)
        kind, raw = _strings(signature, 2)
        name, point = _strings(public, 2)
        if (kind, name, reserved, len(point), len(raw)) != (_KIND, _KIND, b"", 32, 64) or hashed not in (b"sha256", b"sha512"):
            raise ValueError
    except (ValueError, struct.error):
        raise InputError("no signature that can be read: Ed25519, as ssh-keygen -Y sign writes it, is asked for", where=where) from None
    if namespace != NAMESPACE:
        raise InputError("signed for another purpose (namespace) than guardkit", where=where, hint="ssh-keygen -Y sign -n guardkit …")
    return public, hashed, raw


def _strings(data: bytes, n: int) -> list[bytes]:
    """The `n` strings that some bytes are."""
    out = []
    for _ in range(n):
        (size,) = struct.unpack(">I", data[:4])
        if len(data) < 4 + size:
            raise ValueError
        out.append(data[4 : 4 + size])
        data = data[4 + size :]
    if data:
        raise ValueError
    return out
