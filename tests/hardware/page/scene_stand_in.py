"""Stands in for the process that draws the 3D scene: a socket that says what it was shown and what it has heard.

`python scene_stand_in.py [PROBLEM]`: as `tandem_nodes.page_scene`, without viser.
"""

import asyncio
import contextlib
import json
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class StandIn:
    def __init__(self) -> None:
        self.shown: list[str] = []
        self.heard: list[str] = []

    async def run(self) -> None:
        async with serve(self.talk, "127.0.0.1", 0, select_subprotocol=lambda _, offered: offered[0]) as server:
            port = server.sockets[0].getsockname()[1]
            print(json.dumps({"address": f"ws://127.0.0.1:{port}", "words": "as asked"}), flush=True)
            await asyncio.to_thread(self.read)

    def read(self) -> None:
        for line in sys.stdin:
            self.shown.append(line)
            print("shown", flush=True)

    async def talk(self, connection: ServerConnection) -> None:
        hearing = asyncio.create_task(self.hear(connection))
        while not hearing.done():
            frame = json.loads(self.shown[-1]) if self.shown else None
            said = {
                "protocol": connection.subprotocol,
                "count": len(self.shown),
                "heard": self.heard,
                "frame": frame,
            }
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps(said).encode())
            await asyncio.sleep(0.05)

    async def hear(self, connection: ServerConnection) -> None:
        async for message in connection:
            self.heard.append(str(message))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"problem": sys.argv[1]}), flush=True)
        raise SystemExit(2)
    asyncio.run(StandIn().run())
