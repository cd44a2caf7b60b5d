"""A queue of Amazon SQS, or of a server that answers like it, as a queue to measure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from qtune.adapters.base import Depth, QueueAdapter
from qtune.adapters.sqs.connections import Place, SqsReceiver, SqsSender, check_wait
from qtune.adapters.sqs.service import QueueMissing, answers, client_of
from qtune.errors import InputError, Problem, ProviderFailure
from qtune.providers.base import ReceiveBehaviour
from qtune.providers.sqs import SqsQueue

_LONGEST_RETENTION: Final = "1209600"
_READY, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
_DELAYED = "ApproximateNumberOfMessagesDelayed"
_EMPTYING_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class SqsAdapter(QueueAdapter):
    """A standard or a FIFO queue with its dead-letter queue.

    endpoint_url: of another server than AWS, such as the one that `qtune emulator sqs` starts; None: AWS. region: None:
    the SDK's own. existing: a name or a URL; the name of a FIFO queue ends with .fifo. Credentials are found by boto3,
    in the environment, a profile or the machine's role, and are kept nowhere. max_pool_connections: that a client of
    boto3 keeps, which all threads of a process share; None: as many as they use.
    """

    provider: ClassVar[str] = "sqs"

    queue: SqsQueue = field(default_factory=SqsQueue)
    endpoint_url: str | None = None
    region: str | None = None
    max_pool_connections: int | None = None

    def __post_init__(self) -> None:
        if self.endpoint_url is not None and "@" in urlsplit(self.endpoint_url).netloc:
            message = "it holds credentials, which would be kept with results: leave them out"
            raise InputError(Problem(where="endpoint_url", value="an address with an @", message=message))
        for name, value_s in (
            ("visibility_timeout", self.queue.visibility_timeout_s),
            ("message_retention", self.queue.message_retention_s),
        ):
            if value_s != int(value_s):
                message = "SQS takes whole seconds: leave the fraction out"
                raise InputError(Problem(where=f"queue.{name}", value=f"{value_s}s", message=message))

    @property
    def _is_fifo(self) -> bool:
        return self.queue.type == "fifo"

    @property
    def used_name(self) -> str:
        """The name of the queue as SQS has it."""
        if self.existing is not None:
            return self.existing.rpartition("/")[2]
        return f"{self.name}.fifo" if self._is_fifo else self.name

    @property
    def _dead_letters_name(self) -> str:
        return f"{self.name}-dead-letters.fifo" if self._is_fifo else f"{self.name}-dead-letters"

    @property
    def _client(self) -> Any:
        return client_of(
            self.endpoint_url, self.region, self.retry_mode, self.max_attempts, self.max_pool_connections
        )

    # -- the queue ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make both queues, or see that an existing one is there, empty, and set as the scenario says."""
        if self.existing is not None:
            self._check_settings(self._attributes(self._url()))
        super().create()

    def _check_settings(self, attributes: Mapping[str, str]) -> None:
        redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
        count = redrive.get("maxReceiveCount")
        there = {
            "type": "fifo" if attributes.get("FifoQueue") == "true" else "standard",
            "visibility_timeout": f"{attributes['VisibilityTimeout']}s",
            "max_receive_count": "none" if count is None else str(count),
        }
        wanted = {
            "type": self.queue.type,
            "visibility_timeout": f"{int(self.queue.visibility_timeout_s)}s",
            "max_receive_count": str(self.queue.max_receive_count or "none"),
        }
        problems = [
            Problem(
                where=f"queue.{name}",
                value=wanted[name],
                message=f"the queue {self.used_name!r} has {there[name]}: write that, or change the queue",
            )
            for name in wanted
            if wanted[name] != there[name]
        ]
        if problems:
            raise InputError(problems)

    def _make(self) -> None:
        fifo = {"FifoQueue": "true"} if self._is_fifo else {}
        with answers("CreateQueue"):
            letters = self._client.create_queue(
                QueueName=self._dead_letters_name,
                Attributes={"MessageRetentionPeriod": _LONGEST_RETENTION, **fifo},
            )
        attributes = {
            "VisibilityTimeout": str(int(self.queue.visibility_timeout_s)),
            "MessageRetentionPeriod": str(int(self.queue.message_retention_s)),
            **fifo,
        }
        if self.queue.max_receive_count is not None:
            policy = {
                "deadLetterTargetArn": self._attributes(letters["QueueUrl"])["QueueArn"],
                "maxReceiveCount": str(self.queue.max_receive_count),
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        with answers("CreateQueue"):
            self._client.create_queue(QueueName=self.used_name, Attributes=attributes)

    def _unmake(self) -> None:
        for name in (self.used_name, self._dead_letters_name):
            with suppress(QueueMissing):
                url = self._url_of(name)
                with answers("DeleteQueue"):
                    self._client.delete_queue(QueueUrl=url)

    def _delete_all_messages(self) -> None:
        """By receiving them, since PurgeQueue goes on for a minute in which it may delete what is sent."""
        with answers("ReceiveMessage"):
            url, client = self._url(), self._client
            while messages := client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            ).get("Messages"):
                entries = [
                    {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                    for place, message in enumerate(messages)
                ]
                client.delete_message_batch(QueueUrl=url, Entries=entries)
        end_s = time.monotonic() + _EMPTYING_S
        while (left := (depth := self.depth()).ready or depth.in_flight) and time.monotonic() < end_s:
            time.sleep(0.5)
        if left:
            message = f"{left} messages are in flight or delayed there: wait until they can be received"
            raise InputError(Problem(where="queue", value=self.used_name, message=message))

    # -- looking -----------------------------------------------------------------------------------------------

    def depth(self) -> Depth:
        """Approximate on AWS, where it lags by up to a minute; delayed messages count as ready."""
        url = self._url()
        attributes = self._attributes(url)
        letters_url = self._dead_letters_url(attributes)
        letters = None if letters_url is None else int(self._attributes(letters_url)[_READY])
        return Depth(
            ready=int(attributes[_READY]) + int(attributes.get(_DELAYED, 0)),
            in_flight=int(attributes[_IN_FLIGHT]),
            dead_lettered=letters,
        )

    def _attributes(self, url: str) -> dict[str, str]:
        with answers("GetQueueAttributes"):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return dict(answer["Attributes"])

    def _url(self) -> str:
        if self.existing is not None and "://" in self.existing:
            return self.existing
        return self._url_of(self.used_name)

    def _url_of(self, name: str) -> str:
        with answers("GetQueueUrl"):
            return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])

    def _dead_letters_url(self, attributes: Mapping[str, str]) -> str | None:
        """Of an existing queue by its redrive policy; None: it has none."""
        if self.existing is None:
            return self._url_of(self._dead_letters_name)
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        arn = policy.get("deadLetterTargetArn")
        return None if arn is None else self._url_of(arn.rpartition(":")[2])

    def versions(self) -> Mapping[str, str]:
        """boto3 and botocore, and the server where it says what it is and the call for that is allowed."""
        client = self._client  # says what to install when boto3 is not there
        import boto3
        import botocore

        found = {"boto3": str(boto3.__version__), "botocore": str(botocore.__version__)}
        with suppress(ProviderFailure), answers("ListQueues"):
            answer = client.list_queues(MaxResults=1, QueueNamePrefix=self.used_name)
            if server := answer["ResponseMetadata"]["HTTPHeaders"].get("server"):
                found["server"] = str(server)
        return found

    # -- connections -------------------------------------------------------------------------------------------

    def _place(self) -> Place:
        url = self._url()
        return Place(
            client=self._client,
            name=self.used_name,
            url=url,
            dead_letters_url=self._dead_letters_url(self._attributes(url)),
            is_fifo=self._is_fifo,
            run=self.name,
            visibility_timeout_s=int(self.queue.visibility_timeout_s),
        )

    def sender(self) -> SqsSender:
        """Senders and receivers of a process share one client, as boto3 advises, and so its quota of retries."""
        return SqsSender(self._place())

    def receiver(self, behaviour: ReceiveBehaviour | None = None) -> SqsReceiver:
        """It polls as it is called; of the client's behaviour only its wait is looked at, which SQS may not take."""
        if behaviour is not None:
            check_wait(behaviour.wait_s)
        return SqsReceiver(self._place())
