"""Notifications delivered over HTTP as SNS delivers them."""

import asyncio
import json

from sesight_simulator.sns_client import SnsClient


def answering(answers):
    """Serve raw answers, one a request, then 200; keep the requests."""
    requests = []

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(
                    line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line
                )
                body = await reader.readexactly(int(fields["Content-Length"]))
                requests.append((fields, body))
                answer = (
                    answers.pop(0) if answers else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                )
                if not answer:
                    break  # close without an answer
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    return serve, requests


def test_post(ses_signer):
    """Every notification is delivered; a 503 and a broken connection are retried, a 403 is not."""
    answers = [
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"",
        b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]
    notifications = [ses_signer.sign(b"{}") for _ in range(30)]
    serve, requests = answering(answers)

    async def run():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = SnsClient(f"http://127.0.0.1:{port}/api/ses/events", 3, retry_ms=1)
            return await client.post(notifications)

    posted = asyncio.run(run())
    assert (posted.accepted, posted.refused, posted.lost, posted.retries) == (29, 1, 0, 2)
    assert posted.statuses == {200: 29, 403: 1, 503: 1}
    assert len(posted.latencies_ms) == 31
    assert {body for _, body in requests} == set(notifications)
    fields, body = requests[0]
    assert fields["x-amz-sns-message-id"] == json.loads(body)["MessageId"]
    assert fields["Content-Type"] == "text/plain; charset=UTF-8"
