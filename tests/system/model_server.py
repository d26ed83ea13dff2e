"""A model server as a process of its own: answers every POST and GET, well or badly, as it was told at start."""

import argparse
import asyncio
import json
import random
import sys

import httptools


class Connection(asyncio.Protocol):
    def __init__(self, name: str, error_rate: float, delay_s: float, says: float | None, chance: random.Random) -> None:
        self.name = name
        self.outputs = [] if says is None else [{"name": "said", "datatype": "FP64", "shape": [1], "data": [says]}]
        self.error_rate = error_rate
        self.delay_s = delay_s
        self.chance = chance
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_message_complete(self) -> None:
        healthy = self.target.endswith(b"/ready") or self.chance.random() >= self.error_rate
        answer = self.response(200 if healthy else 500)
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self.write, answer)
        else:
            self.write(answer)

    def write(self, answer: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)

    def response(self, status: int) -> bytes:
        body = json.dumps({"model_version": self.name, "outputs": self.outputs}).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--name", required=True)
    arguments.add_argument("--error-rate", type=float, default=0.0)
    arguments.add_argument("--delay-ms", type=float, default=0.0)
    arguments.add_argument("--says", type=float, help="what it predicts")
    told = arguments.parse_args()
    chance = random.Random(told.name)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(told.name, told.error_rate, told.delay_ms / 1_000, told.says, chance), "127.0.0.1", 0
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
