"""One HTTP/3 request by aioquic: quic.py ADDRESS PORT SERVER_NAME PATH [SESSION]

SERVER_NAME is sent as SNI, none where it is empty. SESSION is a file that keeps the last session ticket,
which is offered when it is there. Prints an object: fingerprint (SHA-256 of the leaf), resumed, status, body;
or error (QUIC's error code, of which 0x100 + n is the TLS alert n) and reason.
"""

import asyncio
import json
import pickle
import ssl
import sys
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated
from cryptography.hazmat.primitives.hashes import SHA256


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answer = {"body": ""}
        self.ended = asyncio.get_running_loop().create_future()

    def request(self, authority, path):
        stream = self._quic.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
        self.http.send_headers(stream, [(k.encode(), v.encode()) for k, v in headers], end_stream=True)
        self.transmit()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.end({"error": event.error_code, "reason": event.reason_phrase})
            return
        for part in self.http.handle_event(event):
            if isinstance(part, HeadersReceived):
                self.answer["status"] = int(dict(part.headers)[b":status"])
            elif isinstance(part, DataReceived):
                self.answer["body"] += part.data.decode()
            if getattr(part, "stream_ended", False):
                self.end(self.answer)

    def end(self, answer):
        if not self.ended.done():
            self.ended.set_result(answer)


async def main(address, port, name, path, session=None):
    tickets = []
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, server_name=name or None, verify_mode=ssl.CERT_NONE
    )
    if session and Path(session).exists():
        configuration.session_ticket = pickle.loads(Path(session).read_bytes())
    async with connect(
        address, int(port), configuration=configuration, create_protocol=Client,
        session_ticket_handler=tickets.append, wait_connected=False,
    ) as client:
        client.transmit()
        connected = asyncio.ensure_future(client.wait_connected())
        await asyncio.wait({connected, client.ended}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if client.ended.done() or not connected.done() or connected.exception():
            connected.cancel()
            return await asyncio.wait_for(client.ended, 5)
        tls = client._quic.tls
        client.request(name or address, path)
        answer = await asyncio.wait_for(client.ended, 20)
        answer["resumed"] = tls.session_resumed
        leaf = tls._peer_certificate
        answer["fingerprint"] = leaf.fingerprint(SHA256()).hex() if leaf else None
        # Tickets come after the handshake.
        if session and not tickets:
            await asyncio.sleep(0.2)
    if session and tickets:
        Path(session).write_bytes(pickle.dumps(tickets[-1]))
    return answer


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
