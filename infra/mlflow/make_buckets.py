"""Makes the buckets named as arguments where they are missing; runs once beside MinIO and MLflow."""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import ClientError

OURS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def main(names: list[str]) -> int:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])
    for name in names:
        try:
            client.create_bucket(Bucket=name)
            print(f"bucket {name}: made")
        except ClientError as error:
            if error.response["Error"]["Code"] not in OURS:
                raise
            print(f"bucket {name}: is there")
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
