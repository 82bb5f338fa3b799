"""A run, shards or a file of rows as a local web page that is read and never written to.

    with Viewer(subject_of(Path("outputs/quickstart"))) as viewer:
        viewer.address                       # http://127.0.0.1:8600/?token=…

A page is a `Page`: its path, its title, and a function `(viewed, request) -> Response` that runs in a thread. Another module adds pages by a
list of them in `toolkit/viewing/_pages.py`; each is behind the same token, checks of Host and Origin, and Content-Security-Policy.

Contract: nothing that is viewed is written, and nothing in it is taken for markup; memory is bounded by blocks of rows, however many there are; a
fault of the data is a page that says what is wrong, not the end of the server. Importing this room loads no web library.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.viewing._review_page import ReviewPages as ReviewPages
    from toolkit.viewing._subject import Subject as Subject
    from toolkit.viewing._subject import subject_of as subject_of
    from toolkit.viewing._viewed import Page as Page
    from toolkit.viewing._viewed import Viewed as Viewed
    from toolkit.viewing._viewer import PORT as PORT
    from toolkit.viewing._viewer import Viewer as Viewer

__getattr__, __dir__ = lazily(__name__)
