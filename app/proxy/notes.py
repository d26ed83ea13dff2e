"""What one exchange leaves behind to be looked at when nobody waits for it.

Rule: made only where somebody looks; holds what would be gone by then, and nothing is read from it
on the way.
"""

from typing import TYPE_CHECKING, Final

from app.proxy.following import Follower

if TYPE_CHECKING:
    from app.proxy.routes import Arm, CompiledRoute

NOT_ENDED: Final = -1


class Note:
    """One exchange.

    Attributes:
        route: Its model's, as it was at the draw.
        arm: Who served it.
        by_coin: Whether a coin assigned the arm, so that it is evidence.
        sampled: Whether it is one of those to be read; tossed before anything came of it.
        lines: The request's fields.
        tail: The line end before the request's body, and the body; None when not all of it was held.
        second: Of the draw, in database time.
        exchange: Its id, empty without an answer.
        request_id: As the answer names it.
        status: Of the answer, 0 while there is none.
        size: Bytes of the answer's body.
        outcome: By position in OUTCOMES, NOT_ENDED where nothing is counted.
        seconds: From the draw to the end.
        follower: Who heard the answer, or None.
        clean_end: Whether the answer ended as its framing said.
    """

    __slots__ = (
        "arm",
        "by_coin",
        "clean_end",
        "exchange",
        "follower",
        "lines",
        "outcome",
        "request_id",
        "route",
        "sampled",
        "second",
        "seconds",
        "size",
        "status",
        "tail",
    )

    def __init__(
        self,
        route: "CompiledRoute",
        arm: "Arm",
        lines: list[bytes],
        request_id: bytes,
        second: int,
        *,
        by_coin: bool,
        sampled: bool,
    ) -> None:
        self.route = route
        self.arm = arm
        self.lines = lines
        self.request_id = request_id
        self.second = second
        self.by_coin = by_coin
        self.sampled = sampled
        self.tail: bytes | None = None
        self.exchange = b""
        self.status = 0
        self.size = 0
        self.outcome = NOT_ENDED
        self.seconds = 0.0
        self.follower: Follower | None = None
        self.clean_end = False
