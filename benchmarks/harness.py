"""What measuring costs: a measured consumer against a loop of the bare SDK that makes the same calls.

Both find a queue that was filled before, both run as a process of their own with one thread, and take turns. The
handler does nothing, so what is compared is all cost: the less the handler does, the more the harness weighs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from measure import Row, Spread, speed
from servicebus import emulator

from qtune.adapters.base import Outgoing, QueueAdapter
from qtune.emulators.sqs import SqsEmulator
from qtune.measurement import adapter_of
from qtune.measurement.client import Orders
from qtune.measurement.logs import clock_s, read_rows
from qtune.measurement.process import Task
from qtune.measurement.processes import OwnProcess
from qtune.result import DELIVERY
from qtune.scenario import Scenario
from qtune.workload import Workload

BAR = 0.95
BODY = b"x" * 256
_COMMAND = "python benchmarks/run.py harness"

SQS = """
import sys, time, boto3
url, endpoint, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sqs = boto3.client("sqs", endpoint_url=endpoint)
done, began_s = 0, time.perf_counter()
while done < count:
    messages = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1,
        MessageSystemAttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["qtune"],
    ).get("Messages", [])
    if messages:
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        done += len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"])
print(done / (time.perf_counter() - began_s))
"""

SERVICE_BUS = """
import sys, time
from azure.servicebus import ServiceBusClient
queue, connection, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with ServiceBusClient.from_connection_string(connection) as client, client.get_queue_receiver(queue) as receiver:
    done, began_s = 0, time.perf_counter()
    while done < count:
        for message in receiver.receive_messages(max_message_count=10, max_wait_time=1):
            receiver.complete_message(message)
            done += 1
    print(done / (time.perf_counter() - began_s))
"""


def scenario(provider: str, count: int) -> Scenario:
    """One worker that handles nothing for no time."""
    consumers = {
        "sqs": {"receive_batch": 10, "receive_wait_s": 1.0, "settle": "batch"},
        "servicebus": {"receive_batch": 10, "receive_wait_s": 1.0},
    }[provider]
    queue = {"provider": provider, "tier": "premium"} if provider == "servicebus" else {"provider": provider}
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": count},
        service_time={"family": "constant", "mean_s": 1e-9},
        message_size_bytes=len(BODY),
        producers={"senders": 1},
        queue=queue,
        consumers={"workers": 1, **consumers},
        horizon_s=60.0,
    )


@contextmanager
def filled(adapter: QueueAdapter, count: int) -> Iterator[None]:
    """The queue with so many messages in it."""
    adapter.create()
    sender = adapter.sender()
    for first in range(0, count, 10):
        sender.send([Outgoing(number=number, body=BODY) for number in range(first, min(first + 10, count))])
    sender.close()
    try:
        yield
    finally:
        adapter.remove()


def measured_per_s(adapter: QueueAdapter, its: Scenario, count: int) -> float:
    """How many messages a second a consumer process of a measured run completes."""
    orders = Orders(
        adapter=adapter,
        workload=Workload(its, 1),
        behaviour=its.behaviour(),
        workers=1,
        lock_s=its.semantics().lock_s,
        abandons=False,
        cpu_share=0.0,
        pauses_s=(),
    )
    with tempfile.TemporaryDirectory() as folder, filled(adapter, count):
        process = OwnProcess(Task(orders=orders, folder=Path(folder), number=0))
        process.wait_until_ready()
        start_s = clock_s() + 0.1
        process.start(start_s)
        while (
            settled_s := read_rows(Path(folder), "deliveries", DELIVERY)["settled_s"]
        ).size < count or np.isnan(settled_s).any():
            time.sleep(0.5)
        process.stop()
        process.ended(5.0)
        process.kill()
    return count / float(settled_s.max() - start_s)


def bare_per_s(adapter: QueueAdapter, program: str, where: str, queue: str, count: int) -> float:
    """How many a second the loop of the bare SDK completes."""
    with filled(adapter, count):
        command = [sys.executable, "-c", program, queue, where, str(count)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare_harness(quick: bool, _full: bool) -> list[Row]:
    """Throughput of a measured consumer over that of the bare loop, for both SDKs."""
    rounds, count = (2, 500) if quick else (7, 2000)
    credentials = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "any")
    os.environ.update({**credentials, "AWS_DEFAULT_REGION": "us-east-1", **os.environ})
    with SqsEmulator() as sqs, emulator(0.0) as bus:  # each a process of its own
        return [
            _row("sqs", "boto3 and ministack", SQS, sqs.endpoint_url, sqs.endpoint_url, rounds, count),
            _row(
                "servicebus",
                "azure-servicebus and the emulator",
                SERVICE_BUS,
                bus,
                f"Endpoint=sb://{bus};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true",
                rounds,
                count,
            ),
        ]


def _row(provider: str, what: str, program: str, endpoint: str, where: str, rounds: int, count: int) -> Row:
    its = scenario(provider, count)
    shares, bare = [], []
    for number in range(rounds + 1):
        adapter = adapter_of(its, endpoint=endpoint)
        queue = adapter.used_name
        if provider == "sqs":
            queue = f"{endpoint}/000000000000/{queue}"
        bare_now = bare_per_s(adapter, program, where, queue, count)
        measured = measured_per_s(adapter_of(its, endpoint=endpoint), its, count)
        if number:  # the first round fills caches
            shares.append(measured / bare_now)
            bare.append(bare_now)
    spread = Spread.of(shares)
    return Row(
        what=f"{what}: throughput of a measured consumer over the bare loop",
        bar=f"{BAR:.0%}",
        measured=spread.text(),
        met=spread.middle >= BAR,
        command=_COMMAND,
        notes=(f"the bare loop completes {speed(Spread.of(bare).middle)} of one worker",),
    )
