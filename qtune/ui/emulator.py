"""`qtune emulator`: servers to try a provider's SDK with, which run until they are interrupted."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Literal, NoReturn

import typer

import qtune
from qtune.ui import text

app = typer.Typer(
    name="emulator",
    help="Run a server that speaks a provider's protocol, on this machine.",
    short_help="Run a server to try a provider's SDK with.",
    no_args_is_help=True,
)

HandOut = Literal["longest_waiting", "any", "in_turn"]


@app.command(short_help="Speak AMQP 1.0 as Azure Service Bus does.")
def servicebus(
    queue: Annotated[
        list[str] | None, typer.Option(help="Make this queue; may be given more than once.")
    ] = None,
    session_queue: Annotated[
        list[str] | None, typer.Option(help="Make this queue with sessions; may be given more than once.")
    ] = None,
    lock: Annotated[str, typer.Option(help="How long a lock lasts.")] = "60s",
    max_delivery_count: Annotated[
        int, typer.Option(min=1, help="Deliveries after which a message is a dead letter.")
    ] = 10,
    hand_out: Annotated[
        HandOut, typer.Option(help="Which of the receivers with credit gets the next message.")
    ] = "longest_waiting",
    rtt: Annotated[str, typer.Option(help="Round trip time of the network, such as 20ms.")] = "0s",
    server_busy_every: Annotated[
        int, typer.Option(min=0, help="Refuse every so many sends as a throttled namespace does; 0: none.")
    ] = 0,
    drop_after: Annotated[
        int, typer.Option(min=0, help="Cut a connection after so many messages; 0: never.")
    ] = 0,
    late_disposition: Annotated[str, typer.Option(help="Answer settlements so much later.")] = "0s",
    host: Annotated[
        str, typer.Option(help="Where to listen. Whoever reaches it may do everything.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: one that is free.")] = 0,
) -> None:
    """Run a namespace of Azure Service Bus on this machine: queues, sessions, dead letters, deferred messages.

    It prints the connection string that azure-servicebus takes, and its counters as JSON when Ctrl-C ends it. A queue
    that no option names is made, without sessions, when a client first names it. GET / on the same port shows the
    counters.
    """
    emulator = qtune.emulators.servicebus.emulator_of(
        queues=queue or (),
        session_queues=session_queue or (),
        lock=lock,
        max_delivery_count=max_delivery_count,
        hand_out=hand_out,
        rtt=rtt,
        server_busy_every=server_busy_every,
        drop_after=drop_after,
        late_disposition=late_disposition,
        host=host,
        port=port,
    )
    with emulator:
        text.write(f"{emulator.connection_string}\n")
        text.tell(f"qtune: http://{host}:{emulator.port}/ shows the counters; Ctrl-C ends the emulator")
        wait_until_interrupted()
        text.write_json(emulator.counters())


@app.command(short_help="Answer as Amazon SQS does (ministack).")
def sqs(port: Annotated[int, typer.Option(min=0, max=65_535, help="0: one that is free.")] = 0) -> None:
    """Run ministack, a server that answers like Amazon SQS, for this machine alone.

    It prints the endpoint URL that an AWS SDK takes, and ends with Ctrl-C. It is an extra: pip install
    'qtune[sqs-emulator]'. It never throttles and takes any credentials; its times are not those of SQS.
    """
    with qtune.emulators.sqs.SqsEmulator(port=port) as emulator:
        text.write(f"{emulator.endpoint_url}\n")
        text.tell("qtune: boto3 needs a region and credentials, and any will do; Ctrl-C ends the emulator")
        wait_until_interrupted()


def wait_until_interrupted() -> None:
    """Return when Ctrl-C is pressed, or the process is asked to end."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
