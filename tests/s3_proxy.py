"""A proxy in front of an S3 server, which makes of it a store without conditions."""

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

CONDITIONS = ("If-None-Match", "If-Match")
REFUSAL = (
    b"<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that "
    b"is not implemented</Message></Error>"
)
HOP_BY_HOP = ("transfer-encoding", "connection", "content-length")


@contextmanager
def unconditional(server, how, methods=("PUT",), conditions=CONDITIONS):
    """The URL of an S3 server that ignores or refuses conditions.

    Args:
        server: the real one, with a `client()` that may do all.
        how: `ignore` or `refuse`.
        methods: whose conditions are meant.
        conditions: headers that are meant.
    """

    client = server.client()

    class Handler(_Forwarder):
        target = urlsplit(server.endpoint)

        def answer(self, body):
            if self.command not in methods or not any(self.headers.get(x) for x in conditions):
                self.forward(body)
            elif how == "refuse":
                self.reply(501, [("Content-Type", "application/xml")], REFUSAL)
            else:
                self.without_condition(body)

        def without_condition(self, body):
            """Signed anew: the signature covers the header that is left out."""
            bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
            if self.command == "PUT":
                put = client.put_object(Bucket=bucket, Key=key, Body=body)
                self.reply(200, [("ETag", put["ETag"])], b"")
                return
            extra = {"Range": self.headers["Range"]} if self.headers.get("Range") else {}
            got = client.get_object(Bucket=bucket, Key=key, **extra)
            known = [("ETag", got["ETag"]), ("Content-Range", got.get("ContentRange", ""))]
            self.reply(206 if extra else 200, known, got["Body"].read())

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


class _Forwarder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def forward(self, body):
        """As it is: the signature covers the host that the client named."""
        server = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders(body)
        answer = server.getresponse()
        kept = [each for each in answer.getheaders() if each[0].lower() not in HOP_BY_HOP]
        self.reply(answer.status, kept, answer.read())
        server.close()

    def reply(self, status, headers, data):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
