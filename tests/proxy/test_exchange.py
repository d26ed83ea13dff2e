import asyncio

from fakes.upstream_server import ok, upstream
from proxy.serving import gateway_with, routed, serving, table_of

from app.domain.tally import Outcome


async def test_an_exchange_reaches_the_upstream_and_its_answer_the_client() -> None:
    async with upstream(ok(b"hello")) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nx-turnback-version: v1\r\n" in head
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        assert server.received[0].line == b"POST /v2/models/fraud/infer HTTP/1.1"
        assert server.received[0].body == b"abc"
        (row,) = gateway.recorder.collect().rows
        assert row.tally.outcomes == {Outcome.OK: 1}
