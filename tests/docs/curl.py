"""As much of curl as the pages of the documentation use, for machines that have none."""

import argparse
import http.client
import sys
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("-s", action="store_true")
parser.add_argument("-i", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="data")
arguments = parser.parse_args()

url = urlsplit(arguments.url if "://" in arguments.url else f"http://{arguments.url}")
headers = {"accept": "*/*"}
if arguments.data is not None:
    headers["content-type"] = "application/x-www-form-urlencoded"
for header in arguments.headers:
    name, _, value = header.partition(":")
    headers[name.strip().lower()] = value.strip()
connection = http.client.HTTPConnection(url.netloc, timeout=60)
method = arguments.method or ("GET" if arguments.data is None else "POST")
body = None if arguments.data is None else arguments.data.encode()
connection.request(method, f"{url.path or '/'}{'?' if url.query else ''}{url.query}", body, headers)
answer = connection.getresponse()
if arguments.i:
    print(f"HTTP/1.1 {answer.status} {answer.reason}")
    print("".join(f"{name}: {value}\n" for name, value in answer.getheaders()))
sys.stdout.write(answer.read().decode())
