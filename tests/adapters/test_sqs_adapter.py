"""SQS over boto3: what single calls do, what refusals become, and that nothing secret gets out."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from adapter_subjects import Sqs, SqsFifo, Subject
from botocore.awsrequest import AWSResponse

from qtune.adapters.base import Outgoing
from qtune.adapters.sqs import SqsAdapter
from qtune.consumer import Consumers
from qtune.errors import BrokerDown, InputError, ProviderFailure, Throttled
from qtune.providers.sqs import SQS, SqsQueue

SECRET = "a-secret-that-nobody-may-see"


def only(*kinds: type[Subject]) -> Callable[[Any], Any]:
    """Tests of these kinds of queues, which the others do not have."""
    return pytest.mark.parametrize("subject", kinds, indirect=True, ids=[kind.name for kind in kinds])


def outgoing(*numbers: int, group: str | None = "g") -> list[Outgoing]:
    """Small messages."""
    return [Outgoing(number=number, body=b"x", group=group) for number in numbers]


class Raw(io.BytesIO):
    """The body of an answer, as urllib3 gives it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.read()


@contextmanager
def answering(
    adapter: SqsAdapter, call: str, status: int, body: dict[str, Any], error: str = ""
) -> Iterator[list[int]]:
    """Every attempt of a call gets this answer instead of the network's; inside boto3's own retries."""
    attempts: list[int] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        attempts.append(1)
        headers = {"x-amzn-query-error": f"{error};Sender"} if error else {}
        return AWSResponse(request.url, status, headers, Raw(json.dumps(body).encode()))

    events, name = adapter._client.meta.events, f"before-send.sqs.{call}"
    events.register(name, answer)
    try:
        yield attempts
    finally:
        events.unregister(name, answer)


@only(Sqs)
def test_of_a_batch_the_entries_that_failed_are_told(queue: SqsAdapter) -> None:
    """A handle that is none fails alone, and so does an entry that the service could not take."""
    sender, receiver = queue.sender(), queue.receiver()
    assert sender.send(outgoing(1, 2)) == (True, True)
    received = receiver.receive(2, 5.0)
    broken = replace(received[0], handle="none")
    assert receiver.complete([received[0], broken, received[1]]) == (True, False, True)
    assert receiver.complete([broken]) == receiver.abandon([broken]) == (False,)
    assert receiver.renew(broken) is None
    body = {"Successful": [{"Id": "1", "MessageId": "m", "MD5OfMessageBody": "0"}], "Failed": [{"Id": "0"}]}
    with answering(queue, "SendMessageBatch", 200, body):
        assert sender.send(outgoing(3, 4)) == (False, True)


@only(Sqs)
def test_throttling_is_repeated_as_the_client_is_told_and_then_an_error(queue: SqsAdapter) -> None:
    """max_attempts counts the first attempt; when it is used up the call is throttled."""
    few = replace(queue, existing=queue.used_name, retry_mode="standard", max_attempts=2)
    receiver = few.receiver()
    body = {"__type": "com.amazonaws.sqs#RequestThrottled", "message": f"slow down, AKIA{'Q' * 16}"}
    with (
        answering(few, "ReceiveMessage", 403, body, "RequestThrottled") as attempts,
        pytest.raises(Throttled) as failure,
    ):
        receiver.receive(1, 0.0)
    assert len(attempts) == 2
    assert "AKIA" not in str(failure.value)
    assert "ReceiveMessage" in str(failure.value)
    assert pickle.loads(pickle.dumps(failure.value)).args == failure.value.args


@only(Sqs)
def test_a_broken_server_and_none_at_all_are_the_broker_being_down(queue: SqsAdapter) -> None:
    """Neither is an answer about the queue."""
    once = replace(queue, existing=queue.used_name, retry_mode="standard", max_attempts=1)
    receiver = once.receiver()
    body = {"__type": "InternalError", "message": "it broke"}
    with answering(once, "ReceiveMessage", 500, body), pytest.raises(BrokerDown, match="it broke"):
        receiver.receive(1, 0.0)
    nobody = replace(once, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(BrokerDown, match="check the endpoint"):
        nobody.sender()


@only(Sqs)
def test_without_credentials_or_a_region_the_error_says_what_to_set(
    queue: SqsAdapter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What boto3 looks for and does not find is named."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match="AWS_ACCESS_KEY_ID"):
        replace(queue, max_attempts=7).sender()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(InputError, match="AWS_DEFAULT_REGION"):
        replace(queue, max_attempts=8).sender()


@only(Sqs)
def test_credentials_are_nowhere_but_in_the_sdk(queue: SqsAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in what an adapter shows of itself, nor in what is sent to another process, nor in an error."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    mine = replace(queue, name="with-a-secret", max_attempts=6)
    mine.create()
    sender = mine.sender()
    sender.send(outgoing(1))
    mine.remove()
    with pytest.raises(ProviderFailure) as failure:
        sender.send(outgoing(1))
    for text in (repr(mine), repr(pickle.dumps(mine)), str(failure.value), repr(pickle.dumps(failure.value))):
        assert SECRET not in text


@only(Sqs)
def test_who_may_not_list_queues_can_still_measure(queue: SqsAdapter) -> None:
    """The versions of the SDK are known without a call; only the server's name is missing then."""
    body = {"__type": "AccessDenied", "message": "not for you"}
    with answering(queue, "ListQueues", 403, body) as attempts:
        assert set(queue.versions()) == {"boto3", "botocore"}
    assert attempts


def test_an_address_with_credentials_is_refused() -> None:
    """It would be kept with results."""
    with pytest.raises(InputError, match="leave them out") as failure:
        SqsAdapter(endpoint_url=f"http://me:{SECRET}@127.0.0.1:4566")
    assert SECRET not in str(failure.value)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how one is written."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(InputError, match="write it as http"):
        SqsAdapter(endpoint_url="127.0.0.1 4566").create()


@pytest.mark.parametrize("field", ["visibility_timeout_s", "message_retention_s"])
def test_sqs_counts_whole_seconds(field: str) -> None:
    """A fraction of a second is refused, not rounded."""
    with pytest.raises(InputError, match="whole seconds"):
        SqsAdapter(queue=SqsQueue(**{field: 61.5}))


@only(Sqs)
def test_a_wait_that_is_not_of_whole_seconds_is_refused(queue: SqsAdapter) -> None:
    """A client that would wait so is refused when it connects, and a call when it is made."""
    with pytest.raises(InputError, match="whole seconds"):
        queue.receiver().receive(1, 0.5)
    behaviour = SQS.behaviour(queue.queue, Consumers(workers=1, receive_wait_s=0.5))
    with pytest.raises(InputError, match="whole seconds"):
        queue.receiver(behaviour)


@only(Sqs, SqsFifo)
def test_an_existing_queue_must_be_set_as_the_scenario_says(queue: SqsAdapter) -> None:
    """Each setting that differs is named with both values; so a prediction is for the queue that is measured."""
    other = SqsQueue(type=queue.queue.type, visibility_timeout_s=31.0)
    with pytest.raises(InputError) as failure:
        replace(queue, existing=queue.used_name, queue=other).create()
    assert [problem.where for problem in failure.value.problems] == [
        "queue.visibility_timeout",
        "queue.max_receive_count",
    ]
    replace(queue, existing=queue.used_name).create()
    replace(queue, existing=queue._url()).create()


@only(Sqs)
def test_a_queue_that_is_not_there_is_a_failure_with_its_next_step(queue: SqsAdapter) -> None:
    """It names the call and what to check."""
    with pytest.raises(ProviderFailure, match=r"GetQueueUrl.*check its name"):
        replace(queue, existing="nothing-of-that-name").create()


@only(Sqs, SqsFifo)
def test_a_dead_letter_has_its_number_and_reason(queue: SqsAdapter) -> None:
    """It can be looked at in the dead-letter queue of the run."""
    queue.sender().send(outgoing(7))
    receiver = queue.receiver()
    assert receiver.dead_letter(receiver.receive(1, 5.0), "cannot be read") == (True,)
    client = boto3.client("sqs", endpoint_url=queue.endpoint_url)
    [letter] = client.receive_message(
        QueueUrl=queue._url_of(queue._dead_letters_name), MessageAttributeNames=["All"], WaitTimeSeconds=5
    )["Messages"]
    client.close()
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert attributes == {"qtune": "7", "qtune-reason": "cannot be read"}


@only(SqsFifo)
def test_a_send_that_is_repeated_is_not_doubled(queue: SqsAdapter) -> None:
    """A FIFO queue knows a message of the run by its number, so a send whose answer was lost may be made again."""
    sender, receiver = queue.sender(), queue.receiver()
    for _ in range(2):
        assert sender.send(outgoing(1)) == (True,)
    received = receiver.receive(10, 2.0)
    assert [each.number for each in received] == [1]
    receiver.complete(received)
    assert queue.depth().ready == 0


@only(Sqs)
def test_a_consumer_killed_in_its_poll_delays_a_message_and_loses_none(queues: Any) -> None:
    """Servers may give the next message to a poll whose client is dead: it comes when the lock has run out."""
    queue = queues.make(lock_s=2.0)
    code = (
        "import pickle, sys\n"
        "receiver = pickle.loads(sys.stdin.buffer.read()).receiver()\n"
        "print('polls', flush=True)\n"
        "receiver.receive(1, 20.0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(queue))
        process.stdin.close()
        assert process.stdout.readline() == b"polls\n"
        time.sleep(0.5)
        process.kill()
    queue.sender().send(outgoing(1))
    receiver = queue.receiver()
    received = receiver.receive(1, 20.0)
    assert [each.number for each in received] == [1]
    assert receiver.complete(received) == (True,)
    assert receiver.receive(1, 3.0) == []
