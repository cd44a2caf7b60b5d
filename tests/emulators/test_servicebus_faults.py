"""The knobs of an emulated namespace do what they say, and bad clients do it no harm."""

from __future__ import annotations

import gc
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusServerBusyError

from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.emulators.servicebus.frames import (
    AMQP_HEADER,
    SASL_HEADER,
    Attach,
    Begin,
    Close,
    Disposition,
    Flow,
    Frame,
    FrameReader,
    Open,
    Transfer,
    frame_bytes,
)
from qtune.emulators.servicebus.values import Described, ULong
from qtune.errors import InputError


@pytest.fixture
def emulator() -> Iterator[ServiceBusEmulator]:
    """A namespace with a queue "q" and nothing wrong with it yet."""
    with ServiceBusEmulator(queues={"q": {"lock_duration": 30}}) as running:
        yield running


class Wire:
    """A client without an SDK, which may say anything."""

    def __init__(self, emulator: ServiceBusEmulator) -> None:
        self._socket = socket.create_connection(("127.0.0.1", emulator.port), timeout=10)
        self._reader = FrameReader()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def hear(self) -> list[Frame]:
        """The frames that come next; [] when the other end has closed the connection."""
        data = self._socket.recv(65_536)
        return list(self._reader.feed(data)) or (self.hear() if data else [])

    def hear_until(self, kind: type) -> Frame:
        """The next frame of a kind; what comes before it is not looked at."""
        while frames := self.hear():
            for frame in frames:
                if isinstance(frame.performative, kind):
                    return frame
        raise AssertionError(f"the connection was closed without {kind.__name__}")

    def begin(self) -> None:
        """Open the connection and a session."""
        self.say(
            AMQP_HEADER
            + frame_bytes(0, Open("test", max_frame_size=512))
            + frame_bytes(0, Begin(None, 0, 9, 9))
        )
        self.hear_until(Begin)


def error_of(frame: Frame) -> tuple[str, str]:
    """Condition and description of the error that a frame brings."""
    described = frame.performative.error  # type: ignore[union-attr]
    condition, description, _ = described.value
    return str(condition), description


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"AMQP\x00\x01\x00\x00" + b"\xff\xff\xff\xff\x02\x00\x00\x00", "a frame of 4294967295 bytes"),
        (b"AMQP\x03\x02\x00\x00", "is not spoken here"),
        (AMQP_HEADER + frame_bytes(0, Begin(None, 0, 9, 9)), "no session has begun"),
        (AMQP_HEADER + frame_bytes(0, Open("x", max_frame_size=8)), "the least is 512"),
        (AMQP_HEADER + b"\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x53\x10", "cut off"),
    ],
)
def test_a_client_that_speaks_no_amqp_is_told_and_closed(
    emulator: ServiceBusEmulator, said: bytes, word: str
) -> None:
    """The connection ends with the reason in its last frame; other clients are not troubled."""
    with Wire(emulator) as wire:
        wire.say(said)
        condition, description = error_of(wire.hear_until(Close))
        assert condition == "amqp:decode-error"
        assert word in description
        assert wire.hear() == []
    assert emulator.counters()["namespace"]["malformed"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        Attach("x", 0, role=True, source=Described(ULong(0x28), [7])),
        Attach("x", 0, role=True),
        Attach("x", 0, role=False, target=Described(ULong(0x29), ["$nothing"])),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(emulator: ServiceBusEmulator, frame: Attach) -> None:
    """A link without an address that means something is answered and ended; the connection goes on."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, frame))
        wire.hear_until(Attach)
        wire.say(frame_bytes(0, Close()))
        assert isinstance(wire.hear_until(Close).performative, Close)


@pytest.mark.parametrize(
    "payload", [b"\x00", b"x", b"\x00\x53\x75\xa0\xff", b"\x00\x53\x72\x40", b"\x00\x53\x11\x40"]
)
def test_a_message_that_cannot_be_read_is_rejected(emulator: ServiceBusEmulator, payload: bytes) -> None:
    """The sender is told with the outcome; nothing is kept, and the link goes on."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, Attach("s", 0, role=False, target=Described(ULong(0x29), ["q"]))))
        wire.hear_until(Flow)
        wire.say(frame_bytes(0, Transfer(0, 0, b"t", 0), payload))
        outcome = wire.hear()[0].performative.state  # type: ignore[union-attr]
        assert outcome.value[0].value[0] == "amqp:decode-error"
        wire.say(frame_bytes(0, Transfer(0, 1, b"u", 0), b"\x00\x53\x75\xa0\x01x"))
        assert wire.hear()[0].performative.state == Described(ULong(0x24), [])  # type: ignore[union-attr]
    assert emulator.counters()["queues"]["q"]["sent"] == 1


def test_a_client_is_served_in_the_frames_that_it_can_take(emulator: ServiceBusEmulator) -> None:
    """Messages come in frames of at most the client's size, and no more of them than its window lets through."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, Attach("s", 0, role=False, target=Described(ULong(0x29), ["q"]))))
        wire.hear_until(Flow)
        wire.say(
            frame_bytes(
                0, Transfer(0, 0, b"t", 0, more=True), b"\x00\x53\x75\xb0\x00\x00\x0f\xa0" + bytes(2_000)
            )
        )
        wire.say(frame_bytes(0, Transfer(0, 0, b"t", 0), bytes(2_000)))
        wire.say(frame_bytes(0, Attach("r", 1, role=True, source=Described(ULong(0x28), ["q"]))))
        wire.hear_until(Attach)
        wire.say(frame_bytes(0, Flow(0, 3, 0, 9, 1, 0, 1)))
        frames: list[Frame] = []
        while len(frames) < 3:
            frames += [frame for frame in wire.hear() if isinstance(frame.performative, Transfer)]
        assert [frame.performative.more for frame in frames] == [True] * 3  # type: ignore[union-attr]
        wire.say(frame_bytes(0, Flow(3, 100, 0, 9)))
        while frames[-1].performative.more:  # type: ignore[union-attr]
            frames += [frame for frame in wire.hear() if isinstance(frame.performative, Transfer)]
        whole = b"".join(frame.payload for frame in frames)
        assert whole.endswith(bytes(4_000))
        assert all(len(frame.payload) <= 512 for frame in frames)


def test_credit_counts_from_what_the_client_has_seen(emulator: ServiceBusEmulator) -> None:
    """A grant that was made before a delivery arrived is used up by it; a drain uses up what is left."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, Attach("s", 0, role=False, target=Described(ULong(0x29), ["q"]))))
        wire.hear_until(Flow)
        for number in range(3):
            wire.say(frame_bytes(0, Transfer(0, number, b"t", 0, settled=True), b"\x00\x53\x75\xa0\x01x"))
        wire.say(frame_bytes(0, Attach("r", 1, role=True, source=Described(ULong(0x28), ["q"]))))
        wire.hear_until(Attach)
        wire.say(frame_bytes(0, Flow(0, 9, 0, 9, handle=1, delivery_count=0, link_credit=1)))
        wire.hear_until(Transfer)
        wire.say(frame_bytes(0, Flow(0, 9, 0, 9, handle=1, delivery_count=0, link_credit=1, echo=True)))
        said = wire.hear_until(Flow).performative
        assert isinstance(said, Flow)
        assert (said.delivery_count, said.link_credit) == (1, 0)
        assert emulator.counters()["queues"]["q"]["delivered"] == 1
        wire.say(frame_bytes(0, Flow(1, 9, 0, 9, handle=1, delivery_count=1, link_credit=5, drain=True)))
        said = wire.hear_until(Flow).performative
        assert isinstance(said, Flow)
        assert (said.delivery_count, said.link_credit, said.drain) == (6, 0, True)
        assert emulator.counters()["queues"]["q"]["delivered"] == 3


def test_a_sasl_client_is_let_in(emulator: ServiceBusEmulator) -> None:
    """The layer of SASL names its mechanisms before it asks for one."""
    with Wire(emulator) as wire:
        wire.say(SASL_HEADER)
        header, mechanisms = wire.hear()
        assert header.header == SASL_HEADER
        assert "ANONYMOUS" in mechanisms.performative.mechanisms  # type: ignore[union-attr]


def test_the_network_takes_the_time_it_is_told_to(emulator: ServiceBusEmulator) -> None:
    """No answer comes before a round trip has passed, and half of one brings a message to who waits for it."""
    with Wire(emulator) as wire:
        wire.begin()
        emulator.faults.rtt_s = 0.2
        started_s = time.monotonic()
        wire.say(frame_bytes(0, Flow(0, 9, 0, 9, echo=True)))
        wire.hear_until(Flow)
        assert time.monotonic() - started_s >= 0.2


def test_a_network_that_gets_faster_keeps_the_order(emulator: ServiceBusEmulator) -> None:
    """What is on its way is not overtaken by what is sent later."""
    with Wire(emulator) as wire:
        wire.begin()
        names = [f"link {number}" for number in range(6)]
        for number, name in enumerate(names):
            emulator.faults.rtt_s = 0.3 - 0.06 * number
            wire.say(frame_bytes(0, Attach(name, number, role=True, source=Described(ULong(0x28), ["q"]))))
            time.sleep(0.01)
        heard: list[str] = []
        while len(heard) < len(names):
            heard += [
                frame.performative.name for frame in wire.hear() if isinstance(frame.performative, Attach)
            ]
    assert heard == names


def test_what_was_sent_before_the_end_arrives(emulator: ServiceBusEmulator) -> None:
    """A client that sends and hangs up at once has sent, however long the way is."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, Attach("s", 0, role=False, target=Described(ULong(0x29), ["q"]))))
        wire.hear_until(Flow)
        emulator.faults.rtt_s = 0.4
        wire.say(frame_bytes(0, Transfer(0, 0, b"t", 0), b"\x00\x53\x75\xa0\x01x"))
    while emulator.counters()["namespace"]["connections_open"]:
        time.sleep(0.02)
    assert emulator.counters()["queues"]["q"]["sent"] == 1


def test_every_so_many_sends_are_refused_as_busy(emulator: ServiceBusEmulator) -> None:
    """A send whose turn it is gets what a throttled namespace says; the others go through."""
    emulator.faults.server_busy_every = 3
    taken = []
    with (
        ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
        client.get_queue_sender("q") as sender,
    ):
        for number in range(6):
            try:
                sender.send_messages(ServiceBusMessage(str(number)))
                taken.append(number)
            except ServiceBusServerBusyError:
                taken.append(-1)
    assert taken == [0, 1, -1, 3, 4, -1]
    assert emulator.counters()["namespace"]["busy"] == 2


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # azure-servicebus forgets those that were cut
def test_dropped_connections_lose_no_message(emulator: ServiceBusEmulator) -> None:
    """Connections that are cut, by count or by hand, leave every message in the queue or with its receiver."""
    emulator.faults.drop_after = 4
    with ServiceBusClient.from_connection_string(
        emulator.connection_string, retry_backoff_factor=0.05
    ) as client:
        with client.get_queue_sender("q") as sender:
            for number in range(10):
                sender.send_messages(ServiceBusMessage(str(number)))
        emulator.faults.drop_after = 0
        assert emulator.counters()["namespace"]["dropped"] >= 2
        sent = emulator.counters()["queues"]["q"]["sent"]
        with client.get_queue_receiver("q") as receiver:
            (first,) = receiver.receive_messages(max_wait_time=5)
            assert emulator.drop_connections() >= 1
            found = {str(first)}
            while len(found) < 10:
                found |= {str(message) for message in receiver.receive_messages(20, max_wait_time=5)}
    assert found == {str(number) for number in range(10)}
    assert sent >= 10  # a message whose answer was cut off is sent again
    gc.collect()  # while their warnings are expected


def test_settlements_may_be_answered_late(emulator: ServiceBusEmulator) -> None:
    """A settlement takes effect at once, whenever its answer comes."""
    with Wire(emulator) as wire:
        wire.begin()
        wire.say(frame_bytes(0, Attach("s", 0, role=False, target=Described(ULong(0x29), ["q"]))))
        wire.hear_until(Flow)
        wire.say(frame_bytes(0, Transfer(0, 0, b"t", 0), b"\x00\x53\x75\xa0\x01x"))
        wire.say(frame_bytes(0, Attach("r", 1, role=True, source=Described(ULong(0x28), ["q"]))))
        wire.hear_until(Attach)
        wire.say(frame_bytes(0, Flow(0, 9, 0, 9, 1, 0, 1)))
        wire.hear_until(Transfer)
        emulator.faults.late_disposition_s = 0.3
        started_s = time.monotonic()
        wire.say(frame_bytes(0, Disposition(role=True, first=0, state=Described(ULong(0x24), []))))
        while emulator.counters()["queues"]["q"]["completed"] == 0:
            time.sleep(0.01)
        assert wire.hear_until(Disposition).performative == Disposition(
            role=False, first=0, last=0, settled=True, state=Described(ULong(0x24), []), batchable=False
        )
        assert time.monotonic() - started_s >= 0.3


def ask(
    emulator: ServiceBusEmulator, method: str, path: str, body: bytes | None = None
) -> tuple[int, object]:
    """The status and the answer of an HTTP request."""
    request = urllib.request.Request(f"http://127.0.0.1:{emulator.port}{path}", data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_queues_are_made_counted_and_removed_over_http(emulator: ServiceBusEmulator) -> None:
    """The port answers HTTP too: with counters, and for who wants to make a queue of its own."""
    status, made = ask(emulator, "PUT", "/queues/mine", b'{"lock_duration": "5s", "requires_session": true}')
    assert status == 200
    assert made == ask(emulator, "GET", "/queues/mine")[1]
    assert ask(emulator, "PUT", "/queues/Mine", b"")[0] == 409
    assert ask(emulator, "GET", "/")[1] == emulator.counters()
    assert ask(emulator, "DELETE", "/queues/mine") == (200, {})
    assert ask(emulator, "DELETE", "/queues/mine")[0] == 404
    assert set(emulator.counters()["queues"]) == {"q"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("GET", "/queues/none", None, 404, "could not be found"),
        ("POST", "/", b"", 404, "nothing answers POST /"),
        ("PUT", "/queues/x", b"[]", 400, "JSON object"),
        ("PUT", "/queues/x", b"{", 400, "this is not"),
        ("PUT", "/queues/x", b'{"lock_duraton": 5}', 400, "lock_duration"),
        ("PUT", "/queues/x", b'{"lock_duration": -5}', 400, "lock_duration"),
        ("PUT", "/queues/x", bytes(70_000), 413, "at most 65536 bytes"),
    ],
)
def test_requests_that_make_no_sense_are_refused_in_words(
    emulator: ServiceBusEmulator, method: str, path: str, body: bytes | None, status: int, word: str
) -> None:
    """A wrong request gets a status and the reason."""
    found, answer = ask(emulator, method, path, body)
    assert found == status
    assert word in str(answer)


def test_what_is_neither_amqp_nor_http_is_refused(emulator: ServiceBusEmulator) -> None:
    """Other protocols get an answer in words, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as other:
        other.sendall(b"HELO example\r\n\r\n")
        assert b"neither AMQP nor HTTP" in other.makefile("rb").read()


def test_an_address_that_cannot_be_used_is_bad_input(emulator: ServiceBusEmulator) -> None:
    """A port in use, and a queue that is named twice, are errors with the next step."""
    with pytest.raises(InputError, match="cannot listen there"):
        ServiceBusEmulator(port=emulator.port).start()
    with pytest.raises(InputError, match="there is a queue 'Q'"):
        emulator.create("Q")
    with pytest.raises(InputError, match="there is a queue 'Q'"):
        ServiceBusEmulator(queues={"q": {}, "Q": {}})
    with pytest.raises(InputError, match="lock_duration"):
        emulator.create("other", lock_duration="0s")


def test_an_emulator_can_be_stopped_twice_and_with_clients(emulator: ServiceBusEmulator) -> None:
    """Stopping ends the connections of clients that are still there."""
    with Wire(emulator) as wire:
        wire.begin()
        emulator.stop()
        emulator.stop()
        with pytest.raises((ConnectionError, AssertionError)):
            wire.hear_until(Close)
