"""What a FIFO queue in high-throughput mode answers in each region of AWS, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SOURCE: Final = "Amazon SQS Developer Guide, quotas of messages: high throughput for FIFO queues"
AS_OF: Final = "2026-11"

_OTHERS_PER_S: Final = 2_400

_OTHERS: Final = (
    *("us-west-1", "ca-central-1", "ca-west-1", "mx-central-1", "af-south-1"),
    *("eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eu-central-2"),
    *("ap-east-1", "ap-northeast-2", "ap-northeast-3", "ap-south-2"),
    *("ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7"),
    *("me-south-1", "me-central-1", "il-central-1"),
    *("us-gov-east-1", "us-gov-west-1", "cn-north-1", "cn-northwest-1"),
)

_NAMED: Final[Mapping[tuple[str, ...], int]] = {
    ("us-east-1", "us-west-2", "eu-west-1"): 70_000,
    ("us-east-2", "eu-central-1"): 19_000,
    ("ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1"): 9_000,
    ("eu-west-2", "sa-east-1"): 4_500,
}

QUOTAS: Final[Mapping[str, int]] = {
    **{", ".join(regions): calls for regions, calls in _NAMED.items()},
    "all other regions": _OTHERS_PER_S,
}
"""Calls of each action in a second, without batches, as the source groups the regions."""

CALLS_PER_S: Final[Mapping[str, int]] = {
    **{region: calls for regions, calls in _NAMED.items() for region in regions},
    **dict.fromkeys(_OTHERS, _OTHERS_PER_S),
}
"""The same by region."""
