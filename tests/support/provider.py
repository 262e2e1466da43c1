"""A provider that is none: OpenAI's chat completions on the wire, with planned answers."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.patience import PATIENCE

KEY = "sk-provider-key-that-nobody-may-see"
USAGE: dict[str, Any] = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0},
}
PIECES = ("Hel", "lo, ", "wor", "ld", "!")


@dataclass(frozen=True)
class Answer:
    """An answer in full, or as a stream.

    Attributes:
        pieces: Its text, as a stream brings it.
        usage: What it says was used; None where it does not say.
        cut_after: Breaks the connection after so many pieces of a stream.
        go: Waits for this before it answers, or after the first piece of a stream.
        begin: Waits for this before a stream begins.
        extra: Other fields of the answer, such as service_tier.
        raw: What is sent as an answer as a whole in place of all this, also where a stream was
            asked for.
    """

    pieces: tuple[str, ...] = PIECES
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    cut_after: int | None = None
    go: threading.Event | None = None
    begin: threading.Event | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass(frozen=True)
class Failure:
    """A status that is no answer."""

    status: int
    error: Mapping[str, Any] = field(default_factory=lambda: {"message": "it failed"})
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Provider:
    """A running provider.

    Attributes:
        url: Its base URL.
        requests: What it was asked, in order.
        keys: The key of each request.
        left: Set when somebody hung up on an answer.
    """

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _planned: deque[Answer | Failure] = field(default_factory=deque)

    def plan(self, *answers: Answer | Failure) -> None:
        """Start anew: the next requests get these, further ones a plain answer."""
        self._planned = deque(answers)
        self.requests.clear()
        self.keys.clear()
        self.left.clear()
        self.arrived = threading.Semaphore(0)

    def wait_for_request(self) -> None:
        """Wait until one more request has come."""
        assert self.arrived.acquire(timeout=PATIENCE), "the provider was not asked"

    def next_answer(self) -> Answer | Failure:
        """Take what the next request gets."""
        try:
            return self._planned.popleft()
        except IndexError:
            return Answer()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.provider.requests.append(body)
        self.provider.keys.append(self.headers["authorization"])
        answer = self.provider.next_answer()
        self.provider.arrived.release()
        try:
            if isinstance(answer, Failure):
                self._send_json(answer.status, {"error": answer.error}, answer.headers)
            elif answer.raw is not None:
                self._send(200, answer.raw)
            elif body.get("stream"):
                self._stream(body, answer)
            else:
                _wait(answer.go)
                self._send_json(200, _completion(body, answer))
        except (BrokenPipeError, ConnectionResetError):
            self.provider.left.set()
            self.close_connection = True

    def _send_json(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(status, json.dumps(body).encode(), headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, body: Mapping[str, Any], answer: Answer) -> None:
        _wait(answer.begin)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, chunk in enumerate(_chunks(body, answer)):
            if answer.cut_after is not None and number > answer.cut_after:
                self.close_connection = True  # without the last chunk of the encoding
                return
            self._event(json.dumps(chunk))
            if number == 1:
                self._wait_or_leave(answer.go)
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _wait_or_leave(self, go: threading.Event | None) -> None:
        """Wait, with comments in between, by which it is noticed that nobody listens."""
        while go is not None and not go.wait(0.05):
            self._write(": still there\n\n")

    def _event(self, data: str) -> None:
        self._write(f"data: {data}\n\n")

    def _write(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def _wait(go: threading.Event | None) -> None:
    if go is not None:
        go.wait(PATIENCE)


def _completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(answer.pieces), "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        **({"usage": answer.usage} if answer.usage is not None else {}),
        **answer.extra,
    }


def _chunks(body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a stream: who speaks, the pieces, why it ended, what was used."""
    wants_usage = (body.get("stream_options") or {}).get("include_usage") is True

    def chunk(*choices: dict[str, Any], usage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1764000000,
            "model": body["model"],
            "choices": list(choices),
            **({"usage": usage} if wants_usage else {}),
            **answer.extra,
        }

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    yield chunk(choice({"role": "assistant", "content": "", "refusal": None}))
    for piece in answer.pieces:
        yield chunk(choice({"content": piece}))
    yield chunk(choice({}, "stop"))
    if wants_usage and answer.usage is not None:
        yield chunk(usage=answer.usage)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Lend a provider on a free port."""
    provider = Provider()
    handler: Callable[..., _Handler] = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    provider.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
