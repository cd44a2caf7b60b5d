"""Rules of Azure Service Bus that change throughput, latency, loss, order or cost: simulated, or why not."""

from __future__ import annotations

from qtune.providers.base import Rule, modelled, not_modelled

_LOST_LINK = "Azure.Messaging.ServiceBus, TROUBLESHOOTING.md, and azure-servicebus 7.15.0, source"
_QUOTAS = "Azure documentation, Service Bus quotas"
_PERF = "Azure documentation, Service Bus performance best practices"
_DLQ = "Azure documentation, Service Bus dead-letter queues"
_PREFETCH = "Azure documentation, Service Bus prefetch"
_SESSIONS = "Azure documentation, Service Bus message sessions"
_SESSION_PROCESSOR = "Azure.Messaging.ServiceBus (.NET), ServiceBusSessionProcessorOptions"
_IDLE = "Azure/azure-sdk-for-net#21106 and source of ServiceBusSessionProcessor"
_THROTTLING = "Azure documentation, Service Bus throttling"
_TRANSFERS = "Azure documentation, Service Bus transfers, locks and settlement"
_PREMIUM = "Azure documentation, Service Bus premium messaging"
_PYTHON = "azure-servicebus 7.15.0, source and changelog"
_PROCESSOR = "ServiceBusProcessor (.NET), documentation; assumed where it is silent"
_SETTLE = "JasperFx/wolverine#3494"
_FUNCTIONS = "Azure Functions documentation, host.json of Service Bus, extension 5.x"
_PRICES = "second-hand notes on azure.microsoft.com/pricing/details/service-bus"


RULES: tuple[Rule, ...] = (
    modelled(
        "a message is locked for the lock duration, 60 s by default and 5 min at most",
        _PERF,
        setting="queue.lock_duration",
        as_of="2025-04",
    ),
    modelled(
        "abandon and the end of a lock count a delivery; beyond max delivery count a message is dead-lettered",
        _DLQ,
        setting="queue.max_delivery_count",
        as_of="2023-10",
    ),
    modelled(
        "a message that comes back is handed out before those that wait",
        _TRANSFERS,
        as_of="2017",
    ),
    modelled(
        "the lock of a prefetched message runs from the moment at which it enters the buffer",
        _PREFETCH,
        setting="consumers.prefetch",
        as_of="2024-06",
    ),
    modelled(
        "a message whose lock ends in the buffer counts a delivery, and is delivered again",
        _PREFETCH,
        setting="consumers.prefetch",
        as_of="2024-06",
    ),
    modelled(
        "a message is lost when its time to live ends; in the buffer that is not looked at again",
        _PERF,
        setting="queue.message_ttl",
        as_of="2025-04",
    ),
    modelled(
        "the Python client grants credit in bursts, and again when all of it is used up",
        _PYTHON,
    ),
    modelled(
        "the Python client waits 0.2 s more after the first message of a receive",
        _PYTHON,
    ),
    modelled(
        "an idle Python receiver gives back what it was sent unasked when it reads its socket",
        _PYTHON,
    ),
    modelled(
        "since 7.15 of the Python client a settlement waits for the broker; before it was sent ahead",
        _PYTHON,
        setting="consumers.client",
    ),
    modelled(
        "since 7.15 of the Python client a receiver that closes gives its buffer back; before it stayed locked",
        _PYTHON,
        setting="consumers.client",
    ),
    modelled(
        "a Python receiver serves one thread, so each worker has a receiver and a connection of its own",
        _PYTHON,
        setting="consumers.workers",
    ),
    modelled(
        "the AutoLockRenewer looks every 0.5 s and renews, with under 10 s left, what a handler has, for 5 min",
        _PYTHON,
        setting="consumers.renewal",
    ),
    modelled(
        "AMQP settles one message at a time",
        _SETTLE,
        setting="consumers.settle",
    ),
    modelled(
        "a processor has a sliding link whose credit comes back with each message",
        _PROCESSOR,
        setting="consumers.credit_returned",
    ),
    modelled(
        "a namespace has 5,000 AMQP connections, and a queue 5,000 receive requests at once",
        _QUOTAS,
        setting="consumers.instances",
        as_of="2022-07",
    ),
    modelled(
        "a message holds 256 KB in standard and 100 MB in premium",
        _QUOTAS,
        setting="message_size",
        as_of="2022-07",
    ),
    modelled(
        "a premium namespace has 1, 2, 4, 8 or 16 messaging units, each paid by the hour",
        _PREMIUM,
        setting="queue.messaging_units",
        as_of="2021",
    ),
    modelled(
        "standard: each send, delivery, settlement, renewal and empty receive is an operation, by started 64 KB; tiers",
        _PRICES,
        setting="queue.tier",
    ),
    modelled(
        "a standard namespace has 1,000 credits a second, one for each message sent or delivered; without, calls fail",
        _THROTTLING,
        setting="queue.credits",
        as_of="2024-03",
    ),
    modelled(
        "all that is in a namespace shares its credits; an autoscaler's question and the like take 10",
        _THROTTLING,
        setting="queue.credits_elsewhere",
        as_of="2024-03",
    ),
    modelled(
        "the Python client repeats a failed call 3 times, after 1.6, 3.2 and 6.4 s, or each time after 0.8 s",
        _PYTHON,
        setting="consumers.retry_mode",
    ),
    modelled(
        "a batch of sends holds 256 KB in standard and 1 MB in premium, and is taken or refused as a whole",
        _PYTHON,
        setting="producers.batch",
    ),
    modelled(
        "a messaging unit carries about 4 MB a second each way, a benchmark figure; calls above it are throttled",
        _PERF,
        setting="queue.messaging_units",
        as_of="2025-04",
    ),
    modelled(
        "whose receive gets a message when several wait is not documented: who has waited longest, or any of them",
        _TRANSFERS,
        setting="model",
    ),
    modelled(
        "a session is locked for one receiver, with all its messages that are there and that come, in order",
        _SESSIONS,
        setting="queue.requires_session",
        as_of="2021-04",
    ),
    modelled(
        "the lock of a session that runs out counts a delivery of what is in flight; closing the session does not",
        _SESSIONS,
        setting="queue.lock_duration",
        as_of="2021-04",
    ),
    modelled(
        "when the lock of a session runs out the broker ends its holder's link (session-lock-lost)",
        _PYTHON,
    ),
    modelled(
        "a processor holds so many sessions, with so many calls in each, and asks for the next for 60 s at a time",
        _SESSION_PROCESSOR,
        setting="consumers.sessions",
    ),
    modelled(
        "a processor keeps a session until it has had no message in it for the idle timeout, 60 s by default",
        _IDLE,
        setting="consumers.session_idle_timeout",
    ),
    modelled(
        "a processor renews the lock of a session, not those of its messages; it is not tried again when refused",
        _SESSION_PROCESSOR,
        setting="consumers.renewal",
    ),
    not_modelled(
        "session receivers of azure-servicebus for Python, and session state",
        "how long one keeps a session is up to the code around it: describe it as an azure-processor",
        _SESSIONS,
        as_of="2021-04",
    ),
    not_modelled(
        "messages that are abandoned into a buffer go to its end",
        "an abandoned message goes back to the queue, and is handed out first",
        _PREFETCH,
        as_of="2024-06",
    ),
    modelled(
        "a queue holds 1 to 5 GB in standard and up to 80 GB in premium; a send to a full one is refused",
        _QUOTAS,
        setting="queue.max_size",
        as_of="2022-07",
    ),
    not_modelled(
        "receive-and-delete loses what is in the buffer when a client ends",
        "every receive is in peek-lock mode",
        _PREFETCH,
        as_of="2024-06",
    ),
    modelled(
        "KEDA: a fleet with an idleReplicaCount sleeps with so many pods, and wakes to its fewest",
        "KEDA 2.21, documentation and source",
        setting="scaling",
        as_of="2026-08",
    ),
    modelled(
        "KEDA: more failed questions than failureThreshold in a row, and the fallback's replicas are what is wanted",
        "KEDA 2.21, documentation and source",
        setting="scaling",
        as_of="2026-08",
    ),
    not_modelled(
        "KEDA: ScaledJob starts jobs that end with their work, by one of four strategies",
        "a fleet's instances stay until the scaler removes them",
        "KEDA 2.21, documentation",
        as_of="2026-08",
    ),
    modelled(
        "KEDA counts active messages only, wakes and sends to sleep; the pod autoscaler doubles, and waits 300 s",
        "KEDA 2.21 and Kubernetes, documentation",
        setting="scaling",
        as_of="2026-08",
    ),
    modelled(
        "KEDA's scaler does not count sessions; a metric of one's own may, as scaling: groups has it",
        "kedacore/keda#1479; that such a metric counts those in flight is assumed",
        setting="scaling",
    ),
    modelled(
        "Azure Functions scale to the messages over the executions of an instance (16; with sessions 8), four a time",
        _FUNCTIONS,
        setting="scaling",
    ),
    modelled(
        "Azure Functions: a host dispatches single messages or sessions by a processor, and renews locks for 5 min",
        _FUNCTIONS,
        setting="consumers.client",
    ),
    not_modelled(
        "Azure Functions: 16 calls a core and 8 sessions by default",
        "a scenario says how many workers and sessions an instance has: write the host's numbers there",
        _FUNCTIONS,
    ),
    not_modelled(
        "Azure Functions: batches of up to maxMessageBatchSize, which wait to have minMessageBatchSize",
        "how its receives share a batch among them is not stated; hosts dispatch single messages here",
        _FUNCTIONS,
    ),
    not_modelled(
        "a message whose link is lost stays locked; .NET cannot settle it any more, Python does so by another link",
        "links stand for ever: an outage fails calls, and kill_consumers ends a client with its links",
        _LOST_LINK,
        as_of="2025-02",
    ),
    modelled(
        "brokered connections beyond 1,000 cost about 0.03 USD a month each in standard",
        _PRICES,
        setting="model",
    ),
    not_modelled(
        "duplicate detection, transactions, filters and forwarding take processor time of a messaging unit",
        "none of them is part of a scenario",
        _PREMIUM,
        as_of="2021",
    ),
)
