"""The report of a run: one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.api._results import Reported
from toolkit.common.errors import InputError, did_you_mean, require, short_path
from toolkit.common.files import new_file
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.pipeline import run_of, stopping
from toolkit.report import picture_files, report_html

NAME = "report.html"
KINDS = ("svg", "png")


def report_page(
    run: str | Path,
    *,
    output: str | Path | None = None,
    texts: bool = True,
    samples: int = 3,
    seed: int = 0,
    images: Literal["svg", "png"] | None = None,
    image_folder: str | Path | None = None,
) -> Reported:
    """A run as one HTML file, below 5 MB, that opens with no network: steps and rows, why rows left, labels by source and category, what each
    operator shows of its steps with pictures, time and cost, and some rows of each outcome.

    Pictures are drawn by vl-convert (``pip install 'guardkit[pictures]'``); without it the page has the tables alone, and says so. The same run gives
    the same bytes. Nothing in it runs or is loaded but its own style and the script that sorts tables.

    Args:
        run: the run's folder, finished or not; a step's in it means the run.
        output: the file, .html; default: ``report.html`` in the run's folder.
        texts: with texts of rows; False leaves them out, and so do long words in tables, so that the page can be shared.
        samples: rows of each step, and of each reason for which rows left.
        seed: by which they are drawn.
        images: each picture as a file by itself, too: svg or png.
        image_folder: where these go; it is made.

    Returns:
        ``output``, its ``bytes``, titles of its ``pictures``, files of ``images``, and ``notes``: what is left out of it.

    Raises:
        InputError: not the folder of a run, one whose files cannot be read, an output of another kind.
        Missing: images without vl-convert.

    Example:
        >>> made = toolkit.report_page("outputs/small")
        >>> made.output, made.bytes < 5_000_000
        ('outputs/small/report.html', True)
    """
    folder, _ = run_of(at_door(run))
    own = folder / NAME
    page_at = own if output is None else at_door(output)
    if page_at.suffix not in (".html", ".htm"):
        raise InputError("a report is an HTML file: its name must end in .html", where=str(page_at))
    if not isinstance(samples, int) or samples < 0:
        raise InputError(f"samples is a number of rows from 0, not {samples}")
    if page_at != own:
        check_output(page_at, reads=(folder,))
    images_at = _images_at(images, image_folder, folder)
    page = report_html(folder, texts=texts, samples=samples, seed=seed)
    written = []
    with stopping():
        with new_file(page_at) as new:
            new.write_bytes(page.html)
        if images_at is not None:
            for name, data in picture_files(page, str(images)).items():
                with new_file(images_at / name) as new:
                    new.write_bytes(data)
                written.append(short_path(images_at / name))
    titles = [p.title for p in page.pictures.values()]
    return Reported({"output": short_path(page_at), "bytes": len(page.html), "pictures": titles, "images": written, "notes": page.notes})


def _images_at(images: str | None, image_folder: str | Path | None, run: Path) -> Path | None:
    """The folder of the images, which can be drawn; None where none are wanted."""
    if images is None and image_folder is None:
        return None
    if images not in KINDS:
        raise InputError(f"images are svg or png, not {images!r}", hint=did_you_mean(str(images), KINDS))
    if image_folder is None:
        raise InputError("images need a folder to be written into", hint="name it: {--images png FOLDER|image_folder}")
    require("vl_convert", "pictures", "a picture")
    place = at_door(image_folder)
    if place.exists() and not place.is_dir():
        raise InputError("is a file, not a folder", where=str(place), hint="name another place")
    check_output(place, reads=(run,))
    return place
