"""A stream of events without news gives signs of life, so that no proxy closes it."""

import asyncio

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from ipyllm_server import event_stream
from ipyllm_server.event_stream import EventStream


class SlowModel(RequestHandler):
    """A stream whose first event comes when the client says so."""

    goes_on = None

    @property
    def socket_stream(self):
        return self.request.connection.stream

    async def get(self):
        stream = EventStream(self)
        await self.goes_on.wait()
        await stream.send("Four.")
        stream.end()


def test_a_silent_stream_gives_signs_of_life_and_ends_with_its_event(monkeypatch):
    monkeypatch.setattr(event_stream, "_HEARTBEAT_S", 0.01)

    async def main():
        SlowModel.goes_on = asyncio.Event()
        server = HTTPServer(Application([("/", SlowModel)]))
        socket, port = bind_unused_port()
        server.add_sockets([socket])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        try:
            async with asyncio.timeout(60):
                for _ in range(2):
                    await reader.readuntil(b": waiting")
                SlowModel.goes_on.set()
                return await reader.read()
        finally:
            writer.close()
            server.stop()

    assert b'data: "Four."' in asyncio.run(main())
