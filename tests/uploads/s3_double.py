"""A server that speaks as much of S3 as uploads need, and believes nobody who cannot sign (AWS Signature Version 4).

The signatures are made anew here, by what Amazon publishes, and not by what is tested; ``test_bucket.py`` holds them
to the examples of Amazon's own pages.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit

KEY_ID, SECRET, REGION, BUCKET = "AKIADOUBLE", "the/secret+of/the-double", "eu-central-1", "submissions"

ENVIRON = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}


def signature(secret, method, url, headers, *, date, scope, signed, payload):
    """Sign a request; ``url`` as it was sent, ``headers`` by names in lower case, ``signed`` names those that count."""
    parts = urlsplit(url)
    pairs = [(name, value) for name, value in parse_qsl(parts.query, True) if name != "X-Amz-Signature"]
    canonical = "\n".join(
        [
            method,
            quote(unquote(parts.path), safe="/-._~"),
            "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in sorted(pairs)),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")),
            "",
            signed,
            payload,
        ]
    )
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def refusal(method, url, headers, now):
    """Say why a request is not believed, or nothing."""
    query = dict(parse_qsl(urlsplit(url).query))
    if "X-Amz-Signature" in query:
        if "authorization" in headers:
            return "InvalidArgument: only one way to be let in"
        date, credential = query["X-Amz-Date"], query["X-Amz-Credential"]
        signed, shown, payload = query["X-Amz-SignedHeaders"], query["X-Amz-Signature"], "UNSIGNED-PAYLOAD"
        expires = int(query["X-Amz-Expires"])
    elif headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        said = dict(each.strip().split("=", 1) for each in headers["authorization"].split(" ", 1)[1].split(","))
        date, credential = headers["x-amz-date"], said["Credential"]
        signed, shown, payload = said["SignedHeaders"], said["Signature"], headers["x-amz-content-sha256"]
        expires = 900
    else:
        return "AccessDenied: nothing is signed"
    key_id, scope = credential.split("/", 1)
    at = dt.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    if key_id != KEY_ID or scope != f"{date[:8]}/{REGION}/s3/aws4_request":
        return "InvalidAccessKeyId"
    if not -60 <= (now - at).total_seconds() < expires:
        return "AccessDenied: Request has expired"
    if "host" not in signed.split(";"):
        return "AccessDenied: the host is not signed"
    wanted = signature(SECRET, method, url, headers, date=date, scope=scope, signed=signed, payload=payload)
    return None if hmac.compare_digest(wanted, shown) else "SignatureDoesNotMatch"


class Double:
    """What it holds, and what it was asked.

    ``later`` is how many seconds its clock is ahead; ``moved`` is where it sends whoever puts something, if anywhere.
    """

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.objects = {}
        self.refused = []
        self.later = 0.0
        self.moved = None


@contextmanager
def s3():
    """Run one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, method):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=double.later)
            name = unquote(urlsplit(self.path).path)
            if (why := refusal(method, self.path, headers, now)) is not None:
                double.refused.append(why)
                return self.say(403, f"<Error><Code>{why}</Code></Error>".encode())
            if not name.startswith(f"/{BUCKET}/"):
                return self.say(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            if method == "PUT" and double.moved is not None:
                return self.say(307, b"<Error><Code>TemporaryRedirect</Code></Error>", double.moved)
            if method == "PUT":
                double.objects[name] = body
                return self.say(200, b"")
            if name not in double.objects:
                return self.say(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return self.say(200, double.objects[name])

        def say(self, status, body, location=None):
            self.send_response(status)
            if location is not None:
                self.send_header("location", location)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", f'"{hashlib.md5(body).hexdigest()}"')
            self.send_header("last-modified", self.date_time_string())
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            self.answer("PUT")

        def do_GET(self):
            self.answer("GET")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        double = Double(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield double
        finally:
            server.shutdown()
            thread.join()
