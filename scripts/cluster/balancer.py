"""A plain TCP balancer: each connection goes to the next server that takes it."""

import asyncio
import sys

servers = [tuple(server.rsplit(":", 1)) for server in sys.argv[2:]]
turn = 0


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    global turn
    for _ in servers:
        host, port = servers[turn % len(servers)]
        turn += 1
        try:
            to_server = await asyncio.open_connection(host, int(port))
        except OSError:
            continue
        await asyncio.gather(pipe(reader, to_server[1]), pipe(to_server[0], writer))
        return
    writer.close()


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    server = await asyncio.start_server(serve, host, int(port))
    print("balancer at %s:%s" % server.sockets[0].getsockname()[:2], flush=True)
    await server.serve_forever()


asyncio.run(main())
