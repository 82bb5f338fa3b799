"""What a recipe may do beyond the rows: the option that gives leave, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

AllowOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="NAME",
        help="Give leave for what runs code or sends a secret, as the error names it: trust_remote_code, api_key_env=MY_KEY. Repeatable.",
    ),
]


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `toolkit.api.check` says of a recipe's reach, a line each."""
    for one in found["sends"]:
        key = f", with the key in ${one['key']}" if one["key"] else ""
        yield f"  sends: {one['step']} to {one['url']} ({one['model']}){key}: {', '.join(one['columns']) or 'no column'}"
    for one in found["fetches"]:
        yield f"  fetches: {one['step']}: {one['what']} {one['name']} of the hub"
    for one in found["allowed"]:
        yield f"  allowed: {one['step']}: {one['name']}: {one['why']}"
