"""Messages, locks and their ends, on a clock that is moved by hand."""

from __future__ import annotations

import math

import pytest
from broker_hands import HandClock, Hands, poll, polled, queue_of, semantics

from qtune.broker import TOO_MANY_DELIVERIES, Broker, DeadLetter, Delivery, Message
from qtune.errors import InputError, LockLost, MessageNotFound, QueueFull, Throttled

NONE = (None,)


def test_messages_go_out_in_the_order_of_their_sends_and_are_numbered_from_1() -> None:
    """The oldest message is first, and its body and properties come as they were sent."""
    clock = HandClock(now_s=5.0)
    broker = queue_of(clock)
    for text in (b"a", b"b", b"c"):
        broker.send(Message(body=text, properties={"text": text}))
    deliveries = poll(broker, 2) + poll(broker, 2)
    assert [delivery.message.number for delivery in deliveries] == [1, 2, 3]
    assert [delivery.message.body for delivery in deliveries] == [b"a", b"b", b"c"]
    assert deliveries[2].message.properties == {"text": b"c"}
    assert {delivery.message.enqueued_s for delivery in deliveries} == {5.0}


def test_a_completed_message_is_gone() -> None:
    """After a completion nothing is left, and a second settlement finds no lock."""
    broker = queue_of(HandClock(), *NONE)
    [delivery] = poll(broker)
    broker.settle(delivery.token, "completed")
    assert broker.counts().locked == broker.counts().ready == 0
    with pytest.raises(LockLost, match="'orders'"):
        broker.settle(delivery.token, "completed")
    assert (broker.counters.completed, broker.counters.lock_lost) == (1, 1)


def test_a_lock_runs_out_after_its_time_and_not_before() -> None:
    """At the very end of its lock a settlement is in time; later the message is somebody else's."""
    clock = HandClock()
    broker = queue_of(clock, *NONE * 2)
    first, second = poll(broker, 2)
    assert first.lock_end_s == broker.next_due_s() == 10.0
    clock.now_s = 10.0
    broker.settle(first.token, "completed")
    clock.now_s = math.nextafter(10.0, 11.0)
    with pytest.raises(LockLost):
        broker.settle(second.token, "completed")
    [again] = poll(broker)
    assert (again.message.number, again.delivery_no, broker.counters.expired) == (2, 2, 1)


def test_advance_ends_a_lock_at_its_very_end_and_serves_who_waits() -> None:
    """A receive that waits gets the message when the lock of another runs out."""
    clock = HandClock()
    broker = queue_of(clock, *NONE)
    poll(broker)
    waiting = Hands(credit=1)
    broker.poll(waiting)
    clock.now_s = 10.0
    broker.advance()
    assert waiting.numbers == [1]
    assert waiting.got[0].lock_end_s == 20.0


def test_a_renewed_lock_runs_from_the_renewal() -> None:
    """Each renewal starts the lock afresh, and after a lost lock there is nothing to renew."""
    clock = HandClock()
    broker = queue_of(clock, *NONE)
    [delivery] = poll(broker)
    clock.now_s = 6.0
    assert broker.renew(delivery.token) == 16.0
    clock.go_to(15.0, broker)
    assert polled(broker) == []
    clock.go_to(16.0, broker)
    assert polled(broker) == [1]
    with pytest.raises(LockLost):
        broker.renew(delivery.token)
    assert (broker.counters.renewed, broker.counters.lock_lost) == (1, 1)


@pytest.mark.parametrize(("redelivers_first", "then"), [(True, [1, 2]), (False, [2, 1])])
def test_what_comes_back_goes_before_or_behind_all_that_wait(redelivers_first: bool, then: list[int]) -> None:
    """redelivers_first says where an abandoned message stands."""
    broker = queue_of(HandClock(), *NONE * 2, redelivers_first=redelivers_first)
    broker.settle(poll(broker)[0].token, "abandoned")
    assert polled(broker, 2) == then


def test_an_abandoned_delivery_counts_and_a_released_one_does_not() -> None:
    """The number of a delivery goes up when it was abandoned, and stays when it was released."""
    broker = queue_of(HandClock(), *NONE)
    numbers = []
    for outcome in ("released", "abandoned", "released", "abandoned"):
        [delivery] = poll(broker)
        numbers.append(delivery.delivery_no)
        broker.settle(delivery.token, outcome)  # type: ignore[arg-type]
    assert numbers == [1, 1, 2, 2]
    assert (broker.counters.released, broker.counters.abandoned) == (2, 2)


def test_after_too_many_deliveries_a_message_is_a_dead_letter() -> None:
    """It goes when its last delivery fails, whether by an abandon or by a lock that ran out."""
    clock = HandClock()
    broker = queue_of(clock, *NONE, max_deliveries=2)
    broker.settle(poll(broker)[0].token, "abandoned")
    poll(broker)
    clock.go_to(10.0, broker)
    assert (broker.counts().ready, broker.counts().dead_lettered, broker.counters.dead_lettered) == (0, 1, 1)
    [letter] = poll(broker.dead_letters)
    assert letter.message.number == 1
    assert letter.message.dead_letter == DeadLetter(reason=TOO_MANY_DELIVERIES)
    assert letter.delivery_no == 3


def test_a_receiver_may_send_a_message_to_the_dead_letters_with_its_reason() -> None:
    """Who waits for dead letters gets it at once, and nothing makes it run out there."""
    clock = HandClock()
    broker = queue_of(clock, *NONE, retention_s=60.0)
    waiting = Hands(credit=1)
    broker.dead_letters.poll(waiting)
    broker.settle(poll(broker)[0].token, "dead_lettered", reason="poison", description="no such customer")
    assert waiting.got[0].message.dead_letter == DeadLetter(reason="poison", description="no such customer")
    clock.go_to(1e6, broker)
    assert broker.counts().dead_lettered == 1
    assert broker.dead_letters.counters.expired == 1


def test_dead_letters_have_dead_letters_too() -> None:
    """A dead letter that is dead-lettered again is kept one queue further."""
    broker = queue_of(HandClock(), *NONE)
    broker.settle(poll(broker)[0].token, "dead_lettered", reason="first")
    letters = broker.dead_letters
    letters.settle(poll(letters)[0].token, "dead_lettered", reason="second")
    assert letters.counts().dead_lettered == 1
    assert broker.counts().dead_lettered == 0


def test_retention_deletes_what_nobody_holds() -> None:
    """A ready message is deleted at its end, a locked one when it comes back, and a completed one was in time."""
    clock = HandClock()
    broker = queue_of(clock, *NONE * 3, retention_s=15.0)
    done, held = poll(broker, 2)
    for delivery in (done, held):
        clock.now_s = 8.0
        broker.renew(delivery.token)
    clock.go_to(15.0, broker)
    assert broker.counters.outlived == 1
    broker.settle(done.token, "completed")
    clock.go_to(18.0, broker)
    assert (broker.counters.outlived, broker.counts().ready) == (2, 0)


def test_a_broker_that_looks_late_hands_out_nothing_that_has_outlived_its_time() -> None:
    """After a freeze, what was free for a while and then over is deleted, though somebody waits for it."""
    clock = HandClock()
    broker = queue_of(clock, *NONE, retention_s=15.0)
    poll(broker)
    waiting = Hands(credit=1)
    broker.poll(waiting)
    clock.now_s = 20.0
    broker.advance()
    assert (waiting.got, broker.counters.expired, broker.counters.outlived) == ([], 1, 1)


def test_a_message_may_end_before_the_retention_but_not_after() -> None:
    """The sender's own end counts when it is earlier."""
    clock = HandClock()
    broker = queue_of(clock, retention_s=15.0)
    broker.send(Message(body=b"", expires_s=5.0))
    broker.send(Message(body=b"", expires_s=100.0))
    clock.go_to(5.0, broker)
    assert broker.counters.outlived == 1
    clock.go_to(15.0, broker)
    assert broker.counters.outlived == 2


def test_a_scheduled_message_is_hidden_until_its_time() -> None:
    """It counts as scheduled, becomes ready at its instant, and its retention begins then."""
    clock = HandClock()
    broker = queue_of(clock, retention_s=15.0)
    broker.send(Message(body=b"", visible_s=7.0))
    waiting = Hands(credit=1)
    broker.poll(waiting)
    assert (broker.counts().scheduled, broker.next_due_s()) == (1, 7.0)
    clock.go_to(7.0, broker)
    assert waiting.numbers == [1]
    assert waiting.got[0].message.enqueued_s == 7.0
    broker.settle(waiting.got[0].token, "abandoned")
    clock.go_to(22.0, broker)
    assert broker.counters.outlived == 1


def test_a_full_queue_refuses_a_send() -> None:
    """What is locked takes room too; a completion makes room."""
    broker = queue_of(HandClock(), *NONE * 2, capacity_messages=2, rejects_when_full=True)
    [delivery] = poll(broker)
    with pytest.raises(QueueFull, match="holds 2 messages"):
        broker.send(Message(body=b""))
    with pytest.raises(QueueFull):
        broker.send_when_there_is_room(Message(body=b""), [].append)
    broker.settle(delivery.token, "completed")
    assert broker.send(Message(body=b"")) == 3
    assert broker.counters.rejected == 2


def test_a_send_may_wait_for_room_in_the_order_of_asking() -> None:
    """Senders at the door get in one for each place, first come first served, unless they have withdrawn."""
    broker = queue_of(HandClock(), *NONE, capacity_messages=1)
    came: list[tuple[str, int]] = []
    messages = {name: Message(body=name.encode()) for name in "abc"}
    for name, message in messages.items():
        broker.send_when_there_is_room(message, lambda number, name=name: came.append((name, number)))
    assert broker.withdraw(messages["b"])
    broker.settle(poll(broker)[0].token, "completed")
    assert came == [("a", 2)]
    assert not broker.withdraw(messages["a"])
    broker.settle(poll(broker)[0].token, "completed")
    assert came == [("a", 2), ("c", 3)]


def test_a_late_completion_counts_where_the_queue_takes_it() -> None:
    """With accepts_late a message that has come back, or is locked by another, leaves by its first delivery."""
    clock = HandClock()
    broker = queue_of(clock, *NONE * 2, accepts_late=True)
    first, second = poll(broker, 2)
    clock.go_to(10.0, broker)
    [again] = poll(broker)
    assert again.message.number == 1
    broker.settle(first.token, "completed")
    broker.settle(second.token, "completed")
    assert (broker.counts().ready, broker.counts().locked) == (0, 0)
    for token in (again.token, second.token):
        with pytest.raises(LockLost):
            broker.settle(token, "completed")


def test_only_a_completion_may_come_late() -> None:
    """A late abandon is refused, and the message stays where it is."""
    clock = HandClock()
    broker = queue_of(clock, *NONE, accepts_late=True)
    [delivery] = poll(broker)
    clock.go_to(10.0, broker)
    with pytest.raises(LockLost):
        broker.settle(delivery.token, "abandoned")
    assert broker.counts().ready == 1


def test_no_more_is_locked_than_may_be_in_flight() -> None:
    """A receive gets as many as the limit leaves, and the rest when a lock has ended."""
    broker = queue_of(HandClock(), *NONE * 3, in_flight_most=2)
    held = poll(broker, 3)
    assert len(held) == 2
    assert poll(broker) == []
    waiting = Hands(credit=2)
    broker.poll(waiting)
    broker.settle(held[0].token, "completed")
    assert waiting.numbers == [3]


def test_above_the_limit_in_flight_a_receive_that_does_not_wait_may_be_an_error() -> None:
    """over_limit_fails makes an error of what is otherwise an empty answer; one that waits never fails."""
    broker = queue_of(HandClock(), *NONE * 2, in_flight_most=1, over_limit_fails=True)
    poll(broker)
    with pytest.raises(Throttled, match="1 messages locked"):
        poll(broker)
    broker.poll(Hands(credit=1))


def test_a_deferred_message_is_had_by_its_number_alone() -> None:
    """It is given to no receiver; taken by number it is locked, and comes back to where it was set aside."""
    clock = HandClock()
    broker = queue_of(clock, *NONE * 2, max_deliveries=4)
    broker.settle(poll(broker)[0].token, "deferred")
    assert polled(broker, 2) == [2]
    assert broker.counts().deferred == 1
    [taken] = broker.take_deferred([1])
    assert (taken.delivery_no, broker.counts().deferred) == (2, 0)
    with pytest.raises(MessageNotFound):
        broker.take_deferred([1])
    broker.settle(taken.token, "abandoned")
    assert (broker.counts().deferred, broker.counts().ready) == (1, 0)
    [taken] = broker.take_deferred([1])
    clock.go_to(20.0, broker)
    assert broker.counts().deferred == 1
    [taken] = broker.take_deferred([1])
    broker.settle(taken.token, "abandoned")
    assert broker.counts().dead_lettered == 1
    with pytest.raises(MessageNotFound, match="ask for each once"):
        broker.take_deferred([1, 2])


def test_taking_set_aside_messages_is_all_or_nothing() -> None:
    """One number that is not there, or is there twice, and none of the others is locked."""
    broker = queue_of(HandClock(), *NONE * 2)
    for delivery in poll(broker, 2):
        broker.settle(delivery.token, "deferred")
    for numbers in ([1, 3], [1, 1]):
        with pytest.raises(MessageNotFound):
            broker.take_deferred(numbers)
    assert broker.counts().deferred == 2


def test_peek_shows_messages_by_number_whatever_their_state() -> None:
    """It locks nothing, and pages by number."""
    broker = queue_of(HandClock(), *NONE * 4)
    broker.send(Message(body=b"", visible_s=100.0))
    done, deferred, _ = poll(broker, 3)
    broker.settle(done.token, "completed")
    broker.settle(deferred.token, "deferred")
    states = [(message.number, message.state) for message in broker.peek(1, 10)]
    assert states == [(2, "deferred"), (3, "locked"), (4, "ready"), (5, "scheduled")]
    assert [message.number for message in broker.peek(3, 2)] == [3, 4]
    assert broker.counters.delivered == 3


def test_what_is_done_in_one_call_is_handed_out_at_its_end() -> None:
    """A receive that waits gets the whole of a batch, not its first message."""
    broker = queue_of(HandClock())
    waiting = Hands(credit=10)
    broker.poll(waiting)
    with broker.one_call():
        for _ in range(3):
            broker.send(Message(body=b""))
        assert waiting.numbers == []
    assert waiting.numbers == [1, 2, 3]


def test_a_receiver_may_settle_while_it_is_served() -> None:
    """A receiver that completes on delivery, as receive-and-delete does, gets one message after the other."""
    broker = queue_of(HandClock(), *NONE * 5)

    class Greedy(Hands):
        def deliver(self, delivery: Delivery) -> None:
            super().deliver(delivery)
            broker.settle(delivery.token, "completed")

    greedy = Greedy()
    broker.add(greedy)
    broker.grant(greedy, 4)
    assert greedy.numbers == [1, 2, 3, 4]
    assert (broker.counts().ready, broker.counts().locked) == (1, 0)


def test_a_clock_that_goes_back_stops_time() -> None:
    """Nothing is locked for longer than it should be when the clock is set back, and nothing goes wrong."""
    clock = HandClock(now_s=100.0)
    broker = queue_of(clock, *NONE)
    clock.now_s = 50.0
    [delivery] = poll(broker)
    assert delivery.lock_end_s == 110.0


def test_groups_are_asked_for_where_the_queue_needs_them() -> None:
    """A message without a group is refused by a queue that hands out by group."""
    broker = Broker(semantics(hands_out="by group"), clock=HandClock(), name="orders")
    with pytest.raises(InputError, match="give each message its group"):
        broker.send(Message(body=b""))


def test_void_deadlines_do_not_pile_up() -> None:
    """A queue that runs for long under a long retention keeps no trace of what has left."""
    clock = HandClock()
    broker = queue_of(clock, retention_s=1e9)
    broker.send(Message(body=b"stays"))
    broker.settle(poll(broker)[0].token, "deferred")
    for _ in range(3_000):
        broker.send(Message(body=b""))
        broker.settle(poll(broker)[0].token, "completed")
    assert len(broker._deadlines._heap) < 2_500
    assert broker.next_due_s() == 1e9
