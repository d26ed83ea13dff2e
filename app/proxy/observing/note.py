"""What one exchange leaves behind to be looked at when nobody waits for it.

Rule: made only where a model declares something to look at; holds what would be gone by then, and nothing
is read from it on the way.
"""

from typing import Final

from app.domain.catalog.routing import NO_COIN
from app.proxy.bounds.memory import KeptBody
from app.proxy.http1.request_head import RequestHead
from app.proxy.observing.plan import Watched
from app.proxy.responses.reading import Follower
from app.recording.arm import Arm

NOT_ENDED: Final = -1


class Note:
    """One exchange.

    Attributes:
        plan: What is looked at of its model, as it was at the draw.
        arm: Who served it.
        request: The request's head.
        body: The request's body; None when not all of it was held, or nobody looks into it.
        second, generation: As in `Accounting`.
        sampled: Whether it is one of those to be counted; tossed before anything came of it.
        is_kept: Whether its answer has a row.
        reads: Whether what its answer says is of interest.
        is_inference: Whether the path asks for a prediction.
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
        "body",
        "clean_end",
        "exchange",
        "follower",
        "generation",
        "is_inference",
        "is_kept",
        "outcome",
        "plan",
        "reads",
        "request",
        "request_id",
        "sampled",
        "second",
        "seconds",
        "size",
        "status",
    )

    def __init__(
        self,
        plan: Watched,
        arm: Arm,
        request: RequestHead,
        request_id: bytes,
        second: int,
        generation: int,
        *,
        is_stable: bool,
        sampled: bool,
        is_inference: bool,
    ) -> None:
        self.plan = plan
        self.arm = arm
        self.request = request
        self.request_id = request_id
        self.second = second
        self.generation = generation
        self.sampled = sampled
        self.is_inference = is_inference
        self.is_kept = not is_stable or plan.keeps_all or (plan.keeps_rows and sampled)
        self.reads = sampled or self.is_kept
        self.body: KeptBody | None = None
        self.exchange = b""
        self.status = 0
        self.size = 0
        self.outcome = NOT_ENDED
        self.seconds = 0.0
        self.follower: Follower | None = None
        self.clean_end = False

    @property
    def is_counted(self) -> bool:
        """Whether it is one of those that are evidence; of sticky callers an exchange is no unit, and never is."""
        by_coin = self.generation != NO_COIN and self.outcome != NOT_ENDED
        return self.sampled and by_coin and not self.plan.is_sticky
