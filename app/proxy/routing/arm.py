"""One version in one weight epoch: where its exchanges go, and who signs their receipts."""

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.receipt import ReceiptKey, Signer
from app.domain.catalog.routing import NO_COIN
from app.proxy.http1.receipts import RECEIPT
from app.proxy.upstream.pool import Pool
from app.recording.arm import Arm
from app.recording.totals import Totals


class ServingArm(Arm):
    """An arm that exchanges can be sent to.

    Attributes:
        signer, signer_without_coin: Of its answers' receipts.
    """

    __slots__ = ("pool", "signer", "signer_without_coin")

    def __init__(
        self,
        model: ModelName,
        generation: int,
        version: VersionName,
        totals: Totals,
        pool: Pool,
        receipt_key: ReceiptKey,
    ) -> None:
        super().__init__(model, generation, version, totals)
        self.pool = pool
        self.signer = Signer(receipt_key, model, version, generation, RECEIPT)
        self.signer_without_coin = Signer(receipt_key, model, version, NO_COIN, RECEIPT)
