"""boto3's client of one process, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from qtune.errors import BrokerDown, InputError, LockLost, Problem, ProviderFailure, Throttled

_CONNECTIONS: Final = 256
"""Most that are kept open; boto3 opens more when more threads call, and closes those again after each call."""

_THROTTLED: Final = {
    "OverLimit",
    "RequestThrottled",
    "SlowDown",
    "TooManyRequestsException",
    "RequestLimitExceeded",
}
_STALE: Final = {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
_KEY: Final = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b")
_NO_SDK: Final = "boto3 is not installed: pip install 'qtune[aws]'"


class QueueMissing(ProviderFailure):
    """There is no queue of that name."""


def client_of(
    endpoint_url: str | None,
    region: str | None,
    retry_mode: str | None,
    max_attempts: int | None,
    pool_connections: int | None,
) -> Any:
    """The client of this process for these settings, made when it is first asked for; threads may share it."""
    pool = _CONNECTIONS if pool_connections is None else pool_connections
    return _client(os.getpid(), endpoint_url, region, retry_mode, max_attempts, pool)


@lru_cache(maxsize=8)
def _client(
    process: int,
    endpoint_url: str | None,
    region: str | None,
    retry_mode: str | None,
    max_attempts: int | None,
    pool_connections: int,
) -> Any:
    """``process`` keeps a forked process from using its parent's connections."""
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise InputError(Problem(where="provider", value="sqs", message=_NO_SDK)) from error
    retries: dict[str, Any] = {}
    if retry_mode is not None:
        retries["mode"] = retry_mode
    if max_attempts is not None:
        retries["total_max_attempts"] = max_attempts
    config = Config(retries=retries or None, max_pool_connections=pool_connections)
    with answers("make a client"):
        try:
            return boto3.session.Session().client(
                "sqs", endpoint_url=endpoint_url, region_name=region, config=config
            )
        except ValueError as error:
            message = f"boto3 does not take it ({error}): write it as http://127.0.0.1:4566"
            raise InputError(
                Problem(where="endpoint_url", value=str(endpoint_url), message=message)
            ) from None


@contextmanager
def answers(call: str) -> Iterator[None]:
    """Turn what boto3 raises in a call into qtune's errors, which survive pickling and hold no credential."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(call, error.response) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        message = (
            "boto3 found no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile "
            "(a local server takes any)"
        )
        raise InputError(Problem(where="credentials", value=type(error).__name__, message=message)) from None
    except exceptions.NoRegionError as error:
        message = "boto3 found no region: set AWS_DEFAULT_REGION, or give one (a local server takes any)"
        raise InputError(Problem(where="region", value=type(error).__name__, message=message)) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        text = f"sqs: {call}: no answer ({type(error).__name__}): check the endpoint and that the server runs"
        raise BrokerDown(text) from None
    except exceptions.BotoCoreError as error:
        raise ProviderFailure(f"sqs: {call}: {_without_keys(str(error))}: check the settings") from None


def _refusal(call: str, response: Any) -> ProviderFailure:
    """The error for an answer that refuses a call."""
    error = response.get("Error", {})
    code = str(error.get("QueryErrorCode") or error.get("Code") or "?")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"sqs: {call}: {code}: {_without_keys(str(error.get('Message', '')))}"
    if "Throttl" in code or code.rpartition(".")[2] in _THROTTLED:
        return Throttled(f"{text}: call less often")
    if code in _STALE or "receipt handle has expired" in text:
        return LockLost(f"{text}: the visibility timeout has ended, or the message was deleted before")
    if code.endswith(("QueueDoesNotExist", "NonExistentQueue")):
        return QueueMissing(f"{text}: make it, or check its name, the region and the endpoint")
    if status >= 500:
        return BrokerDown(f"{text}: try again later")
    return ProviderFailure(f"{text}: check the queue, its settings and your permissions")


def _without_keys(text: str) -> str:
    """The first line of a message of the service, without the ids of access keys."""
    return _KEY.sub("...", text.splitlines()[0] if text else "")
