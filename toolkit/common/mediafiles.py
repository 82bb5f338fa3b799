"""Pictures, clips and sounds as files: which type their bytes are, whether they are whole, and their measures.

What a file is, its first bytes say (`toolkit.common.mediatypes`), never its name alone. `measure` reads it to its end: its sha256 and size need no
package; with ``decode`` an image is decoded (Pillow), a video or a sound is read packet by packet and its first frame decoded (PyAV). Both are of the
extra ``media``.

Failure semantics: a file that has a fault raises `BadMedia` with a reason of `REASONS`; it costs its row alone.

Memory: an image's bytes and its pixels (`Limits.pixels` at most, 4 bytes each); of a video or a sound 1 MiB, and what PyAV holds. Several threads may
measure at once: of images of more than 4 million pixels one is decoded at a time.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

from toolkit.common.errors import InputError, require
from toolkit.common.files import make_folder, private
from toolkit.common.mediatypes import BadMedia, family_of, suffix_of, type_of
from toolkit.common.paths import open_below

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
_FIRST = 1 << 16
"""Bytes that are read first: memory for a whole chunk would cost a small file more than its reading."""
_LARGEST = {"image": 64 << 20, "video": 4 << 30, "audio": 512 << 20}
MOST_PIXELS = 89_478_485
"""Pixels above which Pillow itself warns of a decompression bomb."""

JPEGS = ("JPEG", "MPO")
"""Pillow's names of formats that it can decode to a part of their size."""
_LARGE = 1 << 22
_one_large = threading.Lock()
_DECODER = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}


class Limits(NamedTuple):
    """What a file may be: `size` in bytes (None: 64 MiB for an image, 512 MiB for a sound, 4 GiB for a video), `pixels` of an image or a frame."""

    size: int | None = None
    pixels: int = MOST_PIXELS

    def bytes_of(self, kind: str) -> int:
        """Bytes that a file of a kind may have."""
        return _LARGEST[kind] if self.size is None else self.size


class Measured(NamedTuple):
    """A file without a fault: its sha256 (hex), media type, size in bytes; pixels, frames and seconds where it was decoded."""

    sha256: str
    mime: str
    size: int
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seconds: float | None = None


def measure_needs(kinds: set[str]) -> list[str]:
    """What this machine lacks for decoding media of some kinds, in words."""
    packages = {"image": ("PIL", "pillow"), "video": ("av", "av"), "audio": ("av", "av")}
    return media_needs(*dict.fromkeys(packages[k] for k in sorted(kinds)))


def media_needs(*packages: tuple[str, str]) -> list[str]:
    """Which packages of the extra ``media``, each given as its module and its name, are missing, in words."""
    from importlib.util import find_spec

    return [f"the package {name!r} is missing: pip install 'guardkit[media]'" for module, name in packages if find_spec(module) is None]


def measure(file: IO[bytes], kind: str, name: str = "", limits: Limits | None = None, *, decode: bool = True, misnamed: bool = False) -> Measured:
    """Read a file to its end and measure it.

    Args:
        file: open at its beginning, seekable.
        kind: ``image``, ``video`` or ``audio``.
        name, misnamed: as for `type_of`.
        limits: what it may be.
        decode: whether it is decoded, which finds files that end too early, animated ones and bombs; else only sha256, size and type are known.

    Raises:
        BadMedia: it has a fault; Missing: without the package that decodes it.

    Example:
        >>> measure(io.BytesIO(b"\\x89PNG\\r\\n\\x1a\\n"), "image", decode=False)[1:3]
        ('image/png', 8)
    """
    limits = limits or Limits()
    most = limits.bytes_of(kind)
    head = file.read(64)
    mime = type_of(head, kind, name, misnamed=misnamed)
    found, size, held = hashlib.sha256(head), len(head), [head] if kind == "image" else []
    for chunk in _chunks(file):
        size += len(chunk)
        if size > most:
            raise BadMedia("media_too_large", f"it has more than {most:,} bytes")
        found.update(chunk)
        if kind == "image":
            held.append(chunk)
    about = Measured(found.hexdigest(), mime, size)
    _check_end(file, family_of(head), head, size)
    if not decode:
        return about
    if kind == "image":
        return about._replace(**_image(b"".join(held), limits.pixels))
    file.seek(0)
    return about._replace(**_stream(file, kind, limits.pixels))


def open_media(folder: Path, uri: str) -> BinaryIO:
    """Open the file of a reference.

    Args:
        folder: the dataset's.
        uri: of the reference.

    Raises:
        BadMedia: ``media_missing``, ``media_outside`` or ``media_unreadable``; the words go on from the name.
    """
    try:
        return open_below(folder, uri)
    except InputError as e:
        reason = "media_missing" if "is not there" in e.message else "media_outside" if "leads out" in e.message else "media_unreadable"
        raise BadMedia(reason, e.message) from None


def read_whole(folder: Path, uri: str, sha256: str) -> bytes:
    """The bytes of a reference's file, which must be those of its sha256.

    Raises:
        BadMedia: as `open_media`, and ``media_changed``.
    """
    with open_media(folder, uri) as file:
        data = file.read()
    _same(hashlib.sha256(data).hexdigest(), sha256)
    return data


def check_whole(folder: Path, uri: str, sha256: str) -> None:
    """Hold a reference's file against its sha256 without keeping the bytes (BadMedia: as `read_whole`)."""
    found = hashlib.sha256()
    with open_media(folder, uri) as file:
        for chunk in _chunks(file):
            found.update(chunk)
    _same(found.hexdigest(), sha256)


def _same(found: str, wanted: str) -> None:
    if found != wanted:
        raise BadMedia("media_changed", f"is not the file of its row: its sha256 is {found[:12]}…, the row says {wanted[:12]}…")


def keep_file(folder: Path, place: str, data: IO[bytes], sha256: str, mime: str, size: int) -> str:
    """Put a file below the dataset's folder under its sha256, whole or not at all, unless it is there already.

    Args:
        folder: the dataset's.
        place: below it, with a / at its end, or empty.
        data: its bytes, from here on.
        sha256, mime, size: of it.

    Returns:
        Its uri: ``<place>/<first two digits>/<sha256>.<suffix>``.
    """
    uri = f"{place}{sha256[:2]}/{sha256}.{suffix_of(mime)}"
    path = folder / uri
    with suppress(OSError):
        if path.stat().st_size == size:
            return uri
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.guardkit")
    try:
        with open(part, "wb", opener=private) as out:
            shutil.copyfileobj(data, out, _CHUNK)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return uri


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    size = _FIRST
    while chunk := file.read(size):
        yield chunk
        size = _CHUNK


def _check_end(file: IO[bytes], family: str | None, head: bytes, size: int) -> None:
    """Refuse a file that is shorter than it says itself (BadMedia): RIFF states its length, MP4 that of each of its boxes, PNG ends with IEND."""
    wanted = 0
    if family in ("webp", "wav", "avi"):
        stated = int.from_bytes(head[4:8], "little")
        wanted = stated + 8 if 0 < stated < 0xFFFFFFFF else 0  # neither, where it was written as a stream
    elif family in ("mp4", "mov"):
        while wanted < size:
            file.seek(wanted)
            box = file.read(16)
            n = int.from_bytes(box[8:16], "big") if box[:4] == b"\0\0\0\1" else int.from_bytes(box[:4], "big")
            if n < 8:  # 0: to the end of the file
                break
            wanted += n
    elif family == "png":
        file.seek(max(0, size - 4096))
        wanted = 0 if b"IEND\xaeB`\x82" in file.read() else size + 1
    if wanted > size:
        raise BadMedia("media_truncated", f"it ends too early: it has {size:,} bytes" + (f" of {wanted:,}" if family != "png" else ", and no end"))


def open_image(data: bytes, pixels: int = MOST_PIXELS) -> Any:
    """A still image as Pillow opens it: its header is read, no pixel yet. Of a phone's JPEG with several pictures it is the first.

    Raises:
        BadMedia: animated, too many pixels, or none that Pillow reads; Missing: without Pillow.
    """
    require("PIL", "media", "decoding images")
    from PIL import Image

    family = family_of(data[:64])
    decoder = _DECODER.get(family or "")
    if decoder is None:
        raise BadMedia("media_unreadable", f"no decoder for {family or 'this'} files: convert it to PNG or JPEG")
    try:
        # Of a bomb that Pillow only warns of the size is known, which is held against `pixels`; `catch_warnings` is not for threads.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning, append=True)
        image = Image.open(io.BytesIO(data), formats=[decoder])
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # MPO: a phone's JPEG with more pictures behind the first
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadMedia("media_bomb", f"it would have more than {min(pixels, MOST_PIXELS):,} pixels") from None
    except Exception as e:  # noqa: BLE001  a decoder meets data of strangers: whatever it raises, the file is none that it reads
        raise _undecoded(e) from None
    if image.width * image.height > pixels:
        raise BadMedia("media_bomb", f"it would have {image.width:,} x {image.height:,} pixels, and may have {pixels:,}")
    if frames > 1:
        raise BadMedia("media_animated", f"it has {frames:,} frames")
    return image


def _image(data: bytes, pixels: int) -> dict[str, Any]:
    with open_image(data, pixels) as image:
        size = {"width": image.width, "height": image.height}
        try:
            if image.format in JPEGS:  # decoded to an eighth of its size, which is quicker and reads all bytes, too
                image.draft("L", (image.width // 8 or 1, image.height // 8 or 1))
            with _one_large if image.width * image.height > _LARGE else nullcontext():
                image.load()
        except Exception as e:  # noqa: BLE001  as above
            raise _undecoded(e) from None
    return size


def _undecoded(error: Exception) -> BadMedia:
    words = (getattr(error, "strerror", None) or str(error)).partition("\n")[0][:120] or type(error).__name__
    short = any(word in words.lower() for word in ("truncated", "not enough", "end of file", "unexpected eof", "unrecognized data stream"))
    if short or isinstance(error, EOFError):
        return BadMedia("media_truncated", f"it ends too early: {words}")
    if isinstance(error, MemoryError):
        return BadMedia("media_bomb", "its pixels do not fit into memory")
    return BadMedia("media_unreadable", f"it cannot be decoded: {words.replace('<_io.BytesIO object', '<bytes')}")


def _stream(file: IO[bytes], kind: str, pixels: int) -> dict[str, Any]:
    """Measures of a video or a sound: packets are counted, the first frame is decoded."""
    require("av", "media", "reading videos and sounds")
    import av

    try:
        with av.open(file, mode="r") as container:
            streams: Any = container.streams.video if kind == "video" else container.streams.audio
            if not streams:
                raise BadMedia("media_type", f"there is no {'picture' if kind == 'video' else 'sound'} in it")
            stream = streams[0]
            about: dict[str, Any] = {}
            if kind == "video":
                about = {"width": int(stream.codec_context.width), "height": int(stream.codec_context.height)}
                if about["width"] * about["height"] > pixels:
                    raise BadMedia("media_bomb", f"its frames would have {about['width']:,} x {about['height']:,} pixels, and may have {pixels:,}")
            stated = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1_000_000
            seconds, packets = _read(container, stream)
            if kind == "video":
                about["frames"] = packets
                if stream.frames > packets:
                    raise BadMedia("media_truncated", f"it ends too early: {packets:,} of {stream.frames:,} frames are there")
            if stated - seconds > max(0.5, stated / 50):
                raise BadMedia("media_truncated", f"it ends too early: after {seconds:.1f} of {stated:.1f} seconds")
            return {**about, "seconds": round(seconds, 3)}
    except BadMedia:
        raise
    except Exception as e:  # noqa: BLE001  as above
        raise _undecoded(e) from None


def _read(container: Any, stream: Any) -> tuple[float, int]:
    """Seconds and packets of a stream, read to its end; the first frame must be decodable."""
    end, first, packets, seen = 0, None, 0, False
    for packet in container.demux(stream):
        if packet.size == 0:  # the end
            continue
        packets += 1
        if packet.is_corrupt:
            raise BadMedia("media_truncated", f"it ends too early: packet {packets:,} is not whole")
        if not seen:
            seen = bool(packet.decode())
        if packet.pts is not None:
            first = packet.pts if first is None else min(first, packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
    if not packets:
        raise BadMedia("media_truncated", "it ends too early: no frame is there")
    if not seen and not stream.codec_context.decode(None):
        raise BadMedia("media_unreadable", "it cannot be decoded: not one frame")
    return float((end - (first or 0)) * stream.time_base), packets
