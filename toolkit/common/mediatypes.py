"""What type a file of pictures, clips or sounds is, by its first bytes and by its name, and why one costs its row."""

from __future__ import annotations

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
    "media_changed": "its bytes are not those of its row (sha256)",
}
"""Why a file costs its row, by reason code."""

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


class BadMedia(Exception):  # noqa: N818  a row's fault, not the program's
    """A file that costs its row: `reason` is one of `REASONS`, `detail` says what was found, in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


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


def _a(kind: str) -> str:
    return {"image": "an image", "video": "a video", "audio": "a sound"}[kind]
