"""Amazon SQS, or a server that answers like it, over boto3."""

from qtune.adapters.sqs.adapter import SqsAdapter

__all__ = ["SqsAdapter"]
