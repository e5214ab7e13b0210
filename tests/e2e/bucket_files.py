"""What LiteLLM's loggers write to buckets, made by LiteLLM itself: run by its environment's Python.

Reads payload lines on stdin, and puts an object for each to the S3 server that the argument names.
Then it writes what the loggers for Google's buckets would send, as JSON strings: of the first
payload alone, and of all together. Sending it needs Google's libraries.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any


async def put(endpoint: str, payloads: list[Any]) -> None:
    from litellm.integrations.s3_v2 import S3Logger

    logger = S3Logger(
        s3_bucket_name="logs",
        s3_endpoint_url=endpoint,
        s3_region_name="us-east-1",
        s3_aws_access_key_id="nobody",
        s3_aws_secret_access_key="nothing",  # noqa: S106 - of a server on this machine
    )
    for payload in payloads:
        start = datetime.fromtimestamp(payload["startTime"])  # noqa: DTZ006 - as LiteLLM does
        element = logger.create_s3_batch_logging_element(start, payload)
        await logger.async_upload_data_to_s3(element)


def main() -> None:
    from litellm.integrations.gcs_bucket.gcs_bucket import GCSBucketLogger

    payloads = list(map(json.loads, sys.stdin))
    asyncio.run(put(sys.argv[1], payloads))
    items: Any = [{"payload": payload} for payload in payloads]
    # As GCSBucketBase._log_json_data_on_gcs has it.
    bodies = [json.dumps(payloads[0], default=str)]
    bodies.append(GCSBucketLogger._combine_payloads_to_ndjson(None, items))
    sys.stdout.write(json.dumps(bodies))


if __name__ == "__main__":
    main()
