"""A row about which there is nothing to ask."""


class Unasked(Exception):  # noqa: N818  no error: there is nothing to ask
    """Raised by `GenerationOperator.requests` about a row of which there is nothing to ask: it is rejected with this reason.

    Args:
        reason: the code.
        detail: in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail
