"""Pictures, clips and sounds as files: which type their bytes are, whether they are whole, and their measures.

What a file is, its first bytes say (`family_of`), never its name alone. `measure` reads it to its end: its sha256 and size need no package; with
``decode`` an image is decoded (Pillow), a video or a sound is read packet by packet and its first frame decoded (PyAV): extra ``media``.

Failure semantics: a file that is no sound one raises `BadMedia` with a reason of `REASONS`; it costs its row alone.

Memory: an image's bytes and its pixels (`Limits.pixels` at most, 4 bytes each); of a video or a sound 1 MiB, and what PyAV holds.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from toolkit.common.errors import require

if TYPE_CHECKING:
    from collections.abc import Iterator

REASONS = {
    "media_missing": "the file is not there",
    "media_outside": "its place is not in the dataset's folder: an absolute one, a URL, one with .., a link that leads out",
    "media_unreadable": "the system does not give it, or no decoder reads it",
    "media_empty": "it has no byte",
    "media_too_large": "it has more bytes than may be",
    "media_type": "its bytes are of another type than its name or its kind says, or of none that is known",
    "media_truncated": "it ends too early",
    "media_animated": "an image of several frames where a still one is expected",
    "media_bomb": "it would have more pixels than may be",
}
"""Why a file costs its row, by reason code."""

_CHUNK = 1 << 20
_LARGEST = {"image": 64 << 20, "video": 4 << 30, "audio": 512 << 20}
MOST_PIXELS = 89_478_485
"""Pixels above which Pillow itself warns of a decompression bomb."""

_MIMES = {
    "png": ("image/png",),
    "jpeg": ("image/jpeg",),
    "gif": ("image/gif",),
    "webp": ("image/webp",),
    "bmp": ("image/bmp",),
    "tiff": ("image/tiff",),
    "avif": ("image/avif",),
    "heic": ("image/heic",),
    "mp4": ("video/mp4", "audio/mp4"),
    "mov": ("video/quicktime",),
    "webm": ("video/webm", "audio/webm"),
    "matroska": ("video/x-matroska", "audio/x-matroska"),
    "avi": ("video/x-msvideo",),
    "mpeg": ("video/mpeg",),
    "wav": ("audio/wav",),
    "mp3": ("audio/mpeg",),
    "flac": ("audio/flac",),
    "ogg": ("audio/ogg", "video/ogg"),
    "aac": ("audio/aac",),
}
"""Media types of each family of files that is known."""
_SUFFIXES = {
    **{name: name for name in ("png", "gif", "webp", "bmp", "avif", "heic", "mp4", "mov", "webm", "avi", "mpeg", "wav", "mp3", "flac", "ogg", "aac")},
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "jpeg"),
    **dict.fromkeys(("tif", "tiff"), "tiff"),
    **dict.fromkeys(("mkv", "mka"), "matroska"),
    **dict.fromkeys(("m4v", "m4a"), "mp4"),
    **dict.fromkeys(("oga", "ogv", "opus"), "ogg"),
    **dict.fromkeys(("mpg",), "mpeg"),
    **dict.fromkeys(("wave",), "wav"),
    **dict.fromkeys(("heif",), "heic"),
}
"""Family that a name's suffix stands for."""
_ALIKE = ({"mp4", "mov"}, {"webm", "matroska"})
"""Families of one container format, whose names are used for each other."""
_DECODER = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}


class BadMedia(Exception):  # noqa: N818  a row's fault, not the program's
    """A file that costs its row: `reason` is one of `REASONS`, `detail` says what was found, in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Limits(NamedTuple):
    """What a file may be: `size` in bytes (None: 64 MiB for an image, 512 MiB for a sound, 4 GiB for a video), `pixels` of an image or a frame."""

    size: int | None = None
    pixels: int = MOST_PIXELS

    def bytes_of(self, kind: str) -> int:
        """Bytes that a file of a kind may have."""
        return _LARGEST[kind] if self.size is None else self.size


class Measured(NamedTuple):
    """A sound file: its sha256 (hex), media type, size in bytes; pixels, frames and seconds where it was decoded."""

    sha256: str
    mime: str
    size: int
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seconds: float | None = None


def family_of(head: bytes) -> str | None:
    """What a file is by its first bytes (64 are enough): ``png``, ``jpeg``, ``mp4``, …; None for what is not known.

    Example:
        >>> family_of(b"\\x89PNG\\r\\n\\x1a\\n"), family_of(b"<html>")
        ('png', None)
    """
    riff = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
    if head[:4] == b"RIFF":
        return riff.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis"):
            return "avif"
        if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            return "avif" if b"avif" in head[16:64] else "heic"
        return "mov" if brand == b"qt  " else "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm" if b"webm" in head[:64] else "matroska"
    starts = (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"BM", "bmp"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b"\0\0\1\xba", "mpeg"),
        (b"\0\0\1\xb3", "mpeg"),
    )
    found = next((name for start, name in starts if head.startswith(start)), None)
    if found is None and len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # the sync word of MPEG audio; layer 0 is that of AAC (ADTS)
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return found


def type_of(head: bytes, kind: str, name: str = "", *, misnamed: bool = False) -> str:
    """The media type of a file of a kind.

    Args:
        head: its first 64 bytes.
        kind: ``image``, ``video`` or ``audio``.
        name: whose suffix must be one of the type; one that is not known says nothing.
        misnamed: whether it may be another's.

    Raises:
        BadMedia: ``media_empty`` or ``media_type``.

    Example:
        >>> type_of(b"\\xff\\xd8\\xff\\xe0", "image", "cat.jpg")
        'image/jpeg'
    """
    if not head:
        raise BadMedia("media_empty", "the file is empty: 0 bytes")
    family = family_of(head)
    mime = next((m for m in _MIMES.get(family or "", ()) if m.startswith(kind)), None)
    if family is None or mime is None:
        what = f"a {family} file" if family else "no type that is known"
        raise BadMedia("media_type", f"its first bytes are those of {what}, not of {_a(kind)}")
    named = _SUFFIXES.get(name.rpartition(".")[2].lower()) if "." in name else None
    if named is not None and named != family and not misnamed and not any({named, family} <= pair for pair in _ALIKE):
        raise BadMedia("media_type", f"its name says {named}, its first bytes are those of {family}")
    return mime


def has_suffix(name: str) -> bool:
    """Whether a name has the suffix of an image, a video or a sound.

    Example:
        >>> has_suffix("cats/1.JPG"), has_suffix("labels.csv")
        (True, False)
    """
    return name.rpartition(".")[2].lower() in _SUFFIXES


def suffix_of(mime: str) -> str:
    """The suffix that files of a media type have here, without the dot; ``bin`` for one that is not known.

    Example:
        >>> suffix_of("image/jpeg"), suffix_of("audio/mpeg")
        ('jpg', 'mp3')
    """
    family = next((name for name, mimes in _MIMES.items() if mime in mimes), "bin")
    return {"jpeg": "jpg", "matroska": "mkv", "tiff": "tif"}.get(family, family)


def measure_needs(kinds: set[str]) -> list[str]:
    """What this machine lacks for decoding media of some kinds, in words."""
    from importlib.util import find_spec

    packages = {"image": ("PIL", "pillow"), "video": ("av", "av"), "audio": ("av", "av")}
    lacking = dict.fromkeys(packages[k] for k in sorted(kinds))
    return [f"the package {name!r} is missing: pip install 'guardkit[media]'" for module, name in lacking if find_spec(module) is None]


def measure(file: IO[bytes], kind: str, name: str = "", limits: Limits | None = None, *, decode: bool = True, misnamed: bool = False) -> Measured:
    """Read a file to its end and measure it.

    Args:
        file: open at its beginning, seekable.
        kind: ``image``, ``video`` or ``audio``.
        name, misnamed: as for `type_of`.
        limits: what it may be.
        decode: whether it is decoded, which finds files that end too early, animated ones and bombs; else only sha256, size and type are known.

    Raises:
        BadMedia: it is no sound file; Missing: without the package that decodes it.

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
    _check_end(file, head, size)
    if not decode:
        return about
    if kind == "image":
        return about._replace(**_image(b"".join(held), limits.pixels))
    file.seek(0)
    return about._replace(**_stream(file, kind, limits.pixels))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _check_end(file: IO[bytes], head: bytes, size: int) -> None:
    """Refuse a file that is shorter than it says itself (BadMedia): RIFF states its length, MP4 that of each of its boxes, PNG ends with IEND."""
    family, wanted = family_of(head), 0
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


def _a(kind: str) -> str:
    return {"image": "an image", "video": "a video", "audio": "a sound"}[kind]


def open_image(data: bytes, pixels: int = MOST_PIXELS) -> Any:
    """A still image as Pillow opens it: its header is read, no pixel yet.

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
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[decoder])
            frames = int(getattr(image, "n_frames", 1))
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
            if image.format == "JPEG":  # an eighth of the size is decoded in less time, of all of the bytes
                image.draft("L", (image.width // 8 or 1, image.height // 8 or 1))
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
