"""Who gets the next message: links with credit, receives that wait, groups and sessions."""

from __future__ import annotations

from collections import Counter

import pytest
from broker_hands import HandClock, Hands, poll, polled, queue_of, semantics

from qtune.broker import Broker, HandsOutTo, Message
from qtune.errors import LockLost, SessionLocked


def broker_with_links(hands_out_to: HandsOutTo, links: int) -> tuple[Broker, list[Hands]]:
    """A broker by age, and links that have no credit yet."""
    broker = Broker(semantics(), clock=HandClock(), hands_out_to=hands_out_to, seed=7)
    hands = [Hands(name=str(place)) for place in range(links)]
    for each in hands:
        broker.add(each)
    return broker, hands


def send(broker: Broker, count: int, group: str | None = None) -> None:
    """So many messages."""
    for _ in range(count):
        broker.send(Message(body=b"", group=group))


def test_a_link_gets_messages_while_it_has_credit() -> None:
    """Credit goes down by one a message; granting sets it anew, and 0 takes it back."""
    broker, [link] = broker_with_links("longest_waiting", 1)
    send(broker, 6)
    broker.grant(link, 2)
    assert (link.numbers, link.credit) == ([1, 2], 0)
    broker.grant(link, 1)
    broker.grant(link, 0)
    assert link.numbers == [1, 2, 3]
    broker.remove(link)
    with pytest.raises(ValueError, match="not added"):
        broker.grant(link, 1)


def test_a_receive_takes_all_it_may_at_once_and_is_over() -> None:
    """It waits for its first message and gets no second helping."""
    broker = queue_of(HandClock())
    first, second = Hands(credit=3), Hands(credit=3)
    broker.poll(first)
    broker.poll(second)
    send(broker, 2)
    assert (first.numbers, second.numbers) == ([1], [2])
    send(broker, 1)
    assert (first.numbers, second.numbers) == ([1], [2])


def test_a_receive_that_was_removed_gets_nothing() -> None:
    """Whoever gives up waiting is not served."""
    broker = queue_of(HandClock())
    hands = Hands(credit=1)
    broker.poll(hands)
    broker.remove(hands)
    send(broker, 1)
    assert hands.got == []
    assert broker.counts().ready == 1


def test_who_has_waited_longest_is_next() -> None:
    """A link that is served, or that gets credit only now, goes to the end."""
    broker, (a, b, c) = broker_with_links("longest_waiting", 3)
    broker.grant(b, 2)
    broker.grant(a, 1)
    broker.grant(c, 1)
    send(broker, 4)
    assert (a.numbers, b.numbers, c.numbers) == ([2], [1, 4], [3])


def test_in_turn_a_link_keeps_its_turn_whenever_it_gets_credit() -> None:
    """Who was served longest ago is next, even if its credit came last."""
    broker, (a, b, c) = broker_with_links("in_turn", 3)
    for link in (a, b, c):
        broker.grant(link, 1)
    send(broker, 3)
    broker.grant(c, 1)
    broker.grant(b, 2)
    broker.grant(a, 1)
    send(broker, 4)
    assert (a.numbers, b.numbers, c.numbers) == ([1, 4], [2, 5, 7], [3, 6])


def test_any_link_with_credit_is_as_likely_as_another() -> None:
    """Of 4 links each gets a quarter, within five standard deviations, and the seed decides which."""
    runs = []
    for _ in range(2):
        broker, links = broker_with_links("any", 4)
        for link in links:
            broker.grant(link, 10_000)
        send(broker, 4_000)
        runs.append([link.numbers for link in links])
    assert runs[0] == runs[1]
    assert all(abs(len(numbers) - 1_000) < 5 * (4_000 * 0.25 * 0.75) ** 0.5 for numbers in runs[0])
    assert any(later - sooner != 4 for sooner, later in zip(runs[0][0], runs[0][0][1:], strict=False))


def test_a_group_is_closed_while_one_of_its_messages_is_locked() -> None:
    """One receive takes as much of the oldest group as it can, then of the next; then both are closed."""
    broker = queue_of(HandClock(), "a", "b", "a", "b", "a", hands_out="by group")
    held = poll(broker, 4)
    assert [delivery.message.number for delivery in held] == [1, 3, 5, 2]
    assert poll(broker) == []
    for delivery in held[:2]:
        broker.settle(delivery.token, "completed")
    assert poll(broker) == []
    broker.settle(held[3].token, "completed")
    assert polled(broker) == [4]


def test_what_comes_back_is_the_first_of_its_group() -> None:
    """An abandoned message goes before its followers, whatever redelivers_first says."""
    broker = queue_of(HandClock(), "a", "a", "b", hands_out="by group")
    [delivery] = poll(broker)
    broker.settle(delivery.token, "abandoned")
    assert polled(broker, 3) == [1, 2, 3]


def test_a_group_goes_on_after_its_first_message_has_outlived_its_time_or_was_set_aside() -> None:
    """Neither a deletion nor a deferral leaves the group closed."""
    clock = HandClock()
    broker = queue_of(clock, hands_out="by group")
    broker.send(Message(body=b"", group="a", expires_s=1.0))
    send(broker, 2, group="a")
    clock.go_to(1.0, broker)
    [delivery] = poll(broker)
    assert delivery.message.number == 2
    broker.settle(delivery.token, "deferred")
    assert polled(broker) == [3]
    [aside] = broker.take_deferred([2])
    broker.settle(aside.token, "completed")
    assert poll(broker) == []


def sessions_of(clock: HandClock, *groups: str) -> Broker:
    """A broker with sessions that holds a message for each of the groups."""
    return queue_of(clock, *groups, hands_out="by session")


def holder_of(broker: Broker, name: str | None = None, credit: int = 10) -> Hands:
    """A receiver that holds a session, or waits for one, and has credit."""
    hands = Hands()
    broker.accept_session(hands, name)
    broker.grant(hands, credit)
    return hands


def test_the_next_session_is_the_one_with_the_oldest_message() -> None:
    """Each receiver gets one session, and of that all that is there and comes."""
    broker = sessions_of(HandClock(), "a", "b", "a")
    first, second = holder_of(broker), holder_of(broker)
    broker.send(Message(body=b"", group="b"))
    assert (first.sessions, first.numbers) == (["a"], [1, 3])
    assert (second.sessions, second.numbers) == (["b"], [2, 4])
    assert broker.session_holder("a") is first


def test_who_has_asked_for_a_session_longest_gets_the_next() -> None:
    """Nobody gets an empty session unless by name; who has given up waiting gets none."""
    broker = sessions_of(HandClock())
    hands = [Hands(name=name) for name in "abc"]
    for each in hands:
        broker.accept_session(each)
    broker.cancel_session(hands[0])
    for name in ("x", "y"):
        broker.send(Message(body=b"", group=name))
    assert [each.sessions for each in hands] == [[], ["x"], ["y"]]


def test_a_session_may_be_had_by_its_name_unless_somebody_holds_it() -> None:
    """An empty session can be locked; a locked one cannot, and a receiver has one at a time."""
    broker = sessions_of(HandClock())
    hands = holder_of(broker, "x")
    assert (hands.sessions, hands.session_ends_s) == (["x"], 10.0)
    with pytest.raises(SessionLocked, match="'x'"):
        broker.accept_session(Hands(), "x")
    with pytest.raises(ValueError, match="one session at a time"):
        broker.accept_session(hands, "y")
    broker.send(Message(body=b"", group="x"))
    assert hands.numbers == [1]


def test_a_session_whose_lock_runs_out_is_lost_with_all_that_is_in_flight() -> None:
    """Its messages come back counted, its tokens are void, its holder is told, and another gets it."""
    clock = HandClock()
    broker = sessions_of(clock, "a", "a")
    first = holder_of(broker)
    clock.go_to(6.0, broker)
    assert broker.renew_session(first) == 16.0
    assert broker.next_due_s() == 16.0
    second = holder_of(broker)
    clock.go_to(16.0, broker)
    assert (first.lost, second.sessions, second.numbers) == (1, ["a"], [1, 2])
    assert [delivery.delivery_no for delivery in second.got] == [2, 2]
    for call in (broker.renew_session, broker.close_session):
        with pytest.raises(LockLost):
            call(first)
    with pytest.raises(LockLost):
        broker.settle(first.got[0].token, "completed")
    broker.settle(second.got[0].token, "completed")


def test_the_lock_of_a_message_in_a_session_is_that_of_the_session() -> None:
    """A delivery ends with the session's lock, and renewing it renews the session."""
    clock = HandClock()
    broker = sessions_of(clock, "a")
    hands = holder_of(broker)
    clock.now_s = 4.0
    broker.send(Message(body=b"", group="a"))
    assert [delivery.lock_end_s for delivery in hands.got] == [10.0, 10.0]
    assert broker.renew(hands.got[0].token) == 14.0
    assert broker.next_due_s() == 14.0


def test_a_session_that_is_closed_gives_back_what_is_in_flight_uncounted() -> None:
    """The next holder gets it in order, and the holder may accept another session then."""
    broker = sessions_of(HandClock(), "a", "a", "b")
    first = holder_of(broker)
    broker.settle(first.got[0].token, "completed")
    broker.close_session(first)
    broker.accept_session(first)
    assert first.sessions == ["a", "a"]
    assert [(d.message.number, d.delivery_no) for d in first.got] == [(1, 1), (2, 1), (2, 1)]
    assert broker.counters.released == 1


def test_a_receiver_that_is_gone_keeps_its_session_locked_until_the_lock_ends() -> None:
    """Nobody gets the session before."""
    clock = HandClock()
    broker = sessions_of(clock, "a")
    gone = holder_of(broker)
    broker.remove(gone)
    waiting = holder_of(broker)
    assert (waiting.sessions, broker.session_holder("a")) == ([], None)
    clock.go_to(10.0, broker)
    assert (waiting.sessions, gone.lost) == (["a"], 0)


def test_credit_of_a_session_is_its_holders() -> None:
    """Without credit nothing is pushed, and an abandoned message comes again as soon as there is some."""
    broker = sessions_of(HandClock(), "a", "a")
    hands = holder_of(broker, credit=1)
    assert hands.numbers == [1]
    broker.settle(hands.got[0].token, "abandoned")
    assert hands.numbers == [1]
    broker.grant(hands, 2)
    assert hands.numbers == [1, 1, 2]


def test_a_session_has_a_state_that_stays() -> None:
    """It is there for the next holder, even when the session is closed and empty, until it is taken away."""
    broker = sessions_of(HandClock())
    hands = holder_of(broker, "a")
    broker.set_session_state("a", b"page 3")
    broker.close_session(hands)
    assert broker.session_state("a") == b"page 3"
    broker.set_session_state("a", None)
    assert broker.session_state("a") is None


def test_a_message_set_aside_belongs_to_its_session() -> None:
    """Only the holder of the session may take it."""
    broker = sessions_of(HandClock(), "a")
    hands = holder_of(broker)
    broker.settle(hands.got[0].token, "deferred")
    with pytest.raises(LockLost, match="session"):
        broker.take_deferred([1], Hands())
    [aside] = broker.take_deferred([1], hands)
    broker.settle(aside.token, "completed")
    assert broker.counts().deferred == broker.counts().locked == 0


def test_a_queue_has_sessions_or_receivers_of_messages() -> None:
    """Each way of asking is refused where the other one is the queue's."""
    with_sessions, without = sessions_of(HandClock()), queue_of(HandClock())
    for call in (with_sessions.add, with_sessions.poll):
        with pytest.raises(ValueError, match="has sessions"):
            call(Hands())
    with pytest.raises(ValueError, match="no sessions"):
        without.accept_session(Hands())


def test_sessions_are_not_remembered_when_nothing_is_left_of_them() -> None:
    """A queue that has seen many sessions holds no trace of them."""
    broker = sessions_of(HandClock())
    for number in range(100):
        broker.send(Message(body=b"", group=str(number)))
        hands = holder_of(broker)
        broker.settle(hands.got[0].token, "completed")
        broker.close_session(hands)
    assert broker._sessions is not None
    sizes = Counter(
        {name: len(held) for name, held in vars(broker._sessions).items() if isinstance(held, dict)}
    )
    assert sizes.total() == 0
