"""How much of anything the data plane takes from a client or an upstream before it says no."""

from dataclasses import dataclass
from typing import Final

# Bodies beyond are neither copied nor read.
MAX_BODY: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the data plane; sizes in bytes, times in seconds.

    Attributes:
        head_bytes: Request line and header fields of one request.
        fields: Header fields of one request.
        url_bytes: The request target.
        body_bytes: The body of one inference request.
        routed_body_bytes: The body of a request that is held whole, because it names the model.
        collected_bytes: All bodies that are held whole, in one process.
        own_body_bytes: The body of a request to the gateway's own paths.
        feedback_body_bytes: The same of labels, which come by the thousands.
        held_bytes: Request body kept for a second attempt.
        client_unread_bytes: Of an answer kept for a client that does not read, before its upstream is paused.
        upstream_read_bytes: What the kernel keeps of an answer that is not read, and so about the most that is
            read at once.
        response_head_bytes: Status line and header fields of one response.
        response_fields: Header fields of one response.
        connections: Client connections of one process.
        connections_per_address: Those from one address; 0 for no cap, as balancers have one address for all.
        body_bytes_s: What a client has to send of its body per second; it may be client_idle_s behind.
        answer_bytes_s: What a client has to read of its answer per second; likewise.
        request_s: From the first byte of a request to the end of its body.
        head_s: From the first byte of a request to the end of its head.
        answer_s: From a whole request to the end of the gateway's own answer, unless that is a stream.
        keep_alive_s: An idle client connection.
        drain_idle_s: The same while the process is ending.
        client_idle_s: A client that neither sends its body nor reads its answer.
        linger_s: A client that still sends after its answer, before the connection is cut.
        pool_idle_s: An idle upstream connection.
        probe_s: A health probe's answer.
        probe_every_s: Between two health probes of an upstream.
        ejected_s: For so long an upstream that failed too often is avoided, the first time.
        rollback_drain_s: Exchanges that still run on a version so long after it lost its traffic are cut;
            infinite lets them finish.
        mirror_copies: Copies of requests under way to mirrors.
        mirror_bytes: Request bodies held for them.
        sweep_s: Between two looks at every deadline; the resolution of all times here.
    """

    head_bytes: int = 32 * 1024
    fields: int = 100
    url_bytes: int = 8 * 1024
    body_bytes: int = 1024 * 1024 * 1024
    routed_body_bytes: int = 16 * 1024 * 1024
    collected_bytes: int = 256 * 1024 * 1024
    own_body_bytes: int = 1024 * 1024
    feedback_body_bytes: int = 8 * 1024 * 1024
    held_bytes: int = 64 * 1024
    client_unread_bytes: int = 8 * 1024
    upstream_read_bytes: int = 32 * 1024
    response_head_bytes: int = 64 * 1024
    response_fields: int = 200
    connections: int = 16_384
    connections_per_address: int = 0
    body_bytes_s: int = 240
    answer_bytes_s: int = 240
    request_s: float = 300.0
    head_s: float = 5.0
    answer_s: float = 300.0
    keep_alive_s: float = 75.0
    drain_idle_s: float = 1.0
    client_idle_s: float = 30.0
    linger_s: float = 2.0
    pool_idle_s: float = 55.0
    probe_s: float = 1.0
    probe_every_s: float = 5.0
    ejected_s: float = 10.0
    rollback_drain_s: float = float("inf")
    mirror_copies: int = 64
    mirror_bytes: int = 16 * 1024 * 1024
    sweep_s: float = 1.0


DEFAULT_LIMITS = Limits()
