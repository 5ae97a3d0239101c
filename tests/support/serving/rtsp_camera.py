"""A network camera: serves an MPEG transport stream by RTSP over one TCP connection (RFC 2326, payload type 33)."""

import base64
import contextlib
import socket
import struct
import threading
import time

PACKET_BYTES = 7 * 188


class RtspCamera:
    """Answers on a free port of this machine until it is closed. Sends the stream again and again."""

    def __init__(self, stream, password=None, bytes_a_second=200_000):
        self._stream, self._rate = stream, bytes_a_second
        self._wanted = base64.b64encode(f"user:{password}".encode()).decode() if password else None
        self._server = socket.create_server(("127.0.0.1", 0))
        self._clients = []
        self.plays = 0
        self.silent = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self._server.getsockname()[1]

    def cut(self):
        """Cut all connections."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def close(self):
        self._server.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            with client, client.makefile("rb") as lines:
                while line := lines.readline():
                    method, headers = line.split()[0].decode(), {}
                    while header := lines.readline().decode().strip():
                        key, _, value = header.partition(":")
                        headers[key.lower()] = value.strip()
                    self._answer(client, method, headers)
        except OSError:
            pass

    def _answer(self, client, method, headers):
        status, more, body = "200 OK", "", ""
        if self._wanted and headers.get("authorization") != f"Basic {self._wanted}" and method != "OPTIONS":
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "OPTIONS":
            more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            more = "Session: 1\r\n"
        client.sendall(f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}\r\n{body}".encode())
        if method == "PLAY":
            self.plays += 1
            self._send(client)

    def _send(self, client):
        number = 0
        while True:
            for at in range(0, len(self._stream), PACKET_BYTES):
                while self.silent:
                    time.sleep(0.05)
                header = struct.pack(">BBHII", 0x80, 33, number % 65536, int(time.time() * 90_000) % 2**32, 1)
                packet = header + self._stream[at : at + PACKET_BYTES]
                client.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
                number += 1
                time.sleep(PACKET_BYTES / self._rate)
