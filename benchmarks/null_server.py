"""A server of chat completions that costs next to nothing: the same reply to every request.

nginx with a fixed reply where it is installed, else a small asyncio server. It runs in a process of its own, and its CPU
is not counted. `python benchmarks/null_server.py` starts the asyncio server and prints its URL.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECEIPT = {
    "company": "KEDAI KOPI HUP LIM SDN BHD",
    "date": "2018-03-13",
    "address": "NO. 18, JALAN MELATI 3, TAMAN SERI INDAH, 81100 JOHOR BAHRU, JOHOR",
    "total": "23.40",
    "currency": "MYR",
    "line_items": [
        {"description": "NASI LEMAK AYAM", "quantity": "1", "unit_price": "8.50", "amount": "8.50"},
        {"description": "KOPI O PANAS", "quantity": "2", "unit_price": "2.10", "amount": "4.20"},
    ],
}
TOKENS = {"prompt_tokens": 2100, "completion_tokens": 150, "total_tokens": 2250}
CONFIGURATION = """daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 0; client_body_buffer_size 16m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}; default_type application/json;
    location / {{ return 404 '{{}}'; }}
    {parts}
    location /v1/chat/completions {{ return 200 '{reply}'; }}
  }}
}}
"""
MOST_CHARS = 2000  # of one parameter of nginx, which has 4,096 bytes at most


SURE, UNSURE = -0.01, -2.0  # log probabilities


def build_reply(logprobs=0, logprob=SURE):
    """One chat completion, with this log probability of so many tokens."""
    content = json.dumps(RECEIPT)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    if logprobs:
        step = -(-len(content) // logprobs)
        pieces = [content[start : start + step] for start in range(0, len(content), step)]
        choice["logprobs"] = {"content": [{"token": piece, "logprob": logprob, "top_logprobs": []} for piece in pieces]}
    head = {"id": "reply-1", "object": "chat.completion", "created": 1795000000, "model": "maker/model"}
    return json.dumps(head | {"choices": [choice], "usage": TOKENS}).encode()


class Connection(asyncio.Protocol):
    """One connection: counts the bytes of each body, and sends the next reply when the last one is here."""

    def __init__(self, replies, missing):
        self.replies, self.missing = replies, missing
        self.head, self.left, self.reply = bytearray(), 0, b""

    def connection_made(self, transport):  # noqa: D102  asyncio's
        self.transport = transport

    def data_received(self, data):  # noqa: D102  asyncio's
        while data:
            if self.left:
                taken, data = min(self.left, len(data)), data[self.left :] if len(data) > self.left else b""
                self.left -= taken
            else:
                self.head += data
                end = self.head.find(b"\r\n\r\n")
                if end < 0:
                    return
                head, data = bytes(self.head[:end]).lower(), bytes(self.head[end + 4 :])
                self.head.clear()
                self.begin(head)
            if not self.left:
                self.transport.write(self.reply)

    def begin(self, head):
        """Read the head of a request: its reply, and how many bytes follow."""
        start = head.find(b"content-length:")
        self.left = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        self.reply = next(self.replies) if head.startswith(b"post ") else self.missing


def wrap_reply(body):
    """The reply as it goes over the wire."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def serve(logprobs, unsure_every=0):
    """Serve until the standard input ends; each of so many replies is unsure."""
    sure, unsure = (wrap_reply(build_reply(logprobs, logprob)) for logprob in (SURE, UNSURE))
    replies = itertools.cycle([*[sure] * (unsure_every - 1), unsure] if unsure_every else [sure])
    missing = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    server = await asyncio.get_running_loop().create_server(lambda: Connection(replies, missing), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def null_server(logprobs=0):
    """The base URL of a running server, and its kind."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if nginx:
            yield stack.enter_context(serve_nginx(nginx, Path(folder), logprobs)), "nginx"
        else:
            yield stack.enter_context(serve_asyncio(logprobs)), "asyncio"


@contextlib.contextmanager
def serve_asyncio(logprobs, unsure_every=0):
    """The base URL of this file's own server; each of so many replies is unsure."""
    command = [sys.executable, __file__, "--logprobs", str(logprobs), "--unsure-every", str(unsure_every)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextlib.contextmanager
def serve_nginx(nginx, folder, logprobs):
    """The base URL of nginx with a fixed reply; it reads and drops each body."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parts, reply = quote_reply(build_reply(logprobs).decode())
    configuration = CONFIGURATION.format(folder=folder, port=port, parts=parts, reply=reply)
    (folder / "nginx.conf").write_text(configuration)
    with subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], env=os.environ) as process:
        try:
            wait_for(port)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def quote_reply(text):
    """Statements of nginx that set variables to the parts of a text, and the parameter that joins them."""
    pieces = [text[start : start + MOST_CHARS] for start in range(0, len(text), MOST_CHARS)]
    quoted = [piece.replace("\\", "\\\\").replace("'", "\\'") for piece in pieces]
    parts = " ".join(f"set $part{number} '{piece}';" for number, piece in enumerate(quoted))
    return parts, "".join(f"${{part{number}}}" for number in range(len(pieces)))


def wait_for(port):
    """Return when the port accepts a connection, within ten seconds."""
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    sys.exit("nginx did not start")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logprobs", type=int, default=0, help="tokens of the reply, each with its log probability")
    parser.add_argument("--unsure-every", type=int, default=0, help="of so many replies one has a low probability")
    options = parser.parse_args()
    asyncio.run(serve(options.logprobs, options.unsure_every))
