"""The Python package `websockets` against fulmar: websockets_client.py host:port"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

ADDRESS = sys.argv[1] if len(sys.argv) == 2 else sys.exit("usage: websockets_client.py host:port")
PATIENCE = 60
MEBIBYTE = 1 << 20

NARROW = ClientPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=9,
    client_max_window_bits=9,
)


def client(path, **options):
    return connect(f"ws://{ADDRESS}{path}", max_size=4 * MEBIBYTE, proxy=None, **options)


async def echo(**options):
    messages = [
        "",
        "hello, wörld 🐦",
        bytes([0, 255, 1, 254]),
        bytes(70_000),
        os.urandom(MEBIBYTE),
        "fulmar " * 100_000,
    ]
    async with client("/echo", **options) as socket:
        for message in messages:
            await socket.send(message)
            assert await socket.recv() == message
        for number in range(500):
            await socket.send(f"message {number}")
        for number in range(500):
            assert await socket.recv() == f"message {number}"
        await socket.send(iter(["in ", "three ", "parts"]))
        assert await socket.recv() == "in three parts"
        return [extension.name for extension in socket.protocol.extensions]


async def echoes_without_compression():
    assert await echo(compression=None) == []


async def echoes_with_compression():
    assert await echo(compression="deflate") == ["permessage-deflate"]


async def echoes_with_small_windows():
    assert await echo(compression=None, extensions=[NARROW]) == ["permessage-deflate"]


async def answers_pings():
    async with client("/echo") as socket:
        for payload in [b"", b"ping", b"x" * 125]:
            await (await socket.ping(payload))


async def twenty_clients_share_a_room():
    for compression in [None, "deflate"]:
        path = f"/rooms/{os.urandom(6).hex()}"
        members = [await client(path, compression=compression) for _ in range(20)]
        for number, member in enumerate(members):
            await member.send(f"from {number} " + "x" * 600)
        seen = [[await member.recv() for _ in members] for member in members]
        assert len(set(seen[0])) == 20
        assert all(texts == seen[0] for texts in seen), "one order for all"
        for member in members:
            await member.close()


async def close_codes():
    for code in [1000, 1001, 3000, 4999]:
        socket = await client("/echo")
        await socket.close(code, "why not")
        assert (socket.close_code, socket.close_reason) == (code, "")
    for message, code in [(bytes(MEBIBYTE + 1), 1009), (iter([b"\xff\xfe"]), 1007)]:
        socket = await client("/echo")
        try:
            await socket.send(message, text=code == 1007)
            await socket.recv()
            raise AssertionError(f"not closed with {code}")
        except ConnectionClosed:
            assert socket.close_code == code, (socket.close_code, socket.close_reason)


async def answers_404_where_nothing_is():
    try:
        await client("/nothing")
        raise AssertionError("connected")
    except InvalidStatus as refused:
        assert refused.response.status_code == 404


STEPS = [
    echoes_without_compression,
    echoes_with_compression,
    echoes_with_small_windows,
    answers_pings,
    twenty_clients_share_a_room,
    close_codes,
    answers_404_where_nothing_is,
]


async def main():
    for step in STEPS:
        try:
            await asyncio.wait_for(step(), PATIENCE)
        except Exception as error:
            error.add_note(f"websockets: FAILED: {step.__name__}")
            raise
    print(f"websockets: {len(STEPS)} steps passed")


asyncio.run(main())
