"""Writes tests/data/s3/boto3-presigned.jsonl: what boto3 makes of odd keys, hosts, regions and dates.

    pip install boto3==1.44.5 && python3 tests/presigned/boto3_urls.py > tests/data/s3/boto3-presigned.jsonl
"""

import datetime
import json
import random
import sys

import boto3
import botocore.auth
import botocore.compat
from botocore.config import Config

SEED = 20260129
PIECES = ["docs", "ge %C3%BCn%25,odd", "a b", "ü", "日本語", "100%", "%41", "a+b", "~tilde", "..", "q?x=1", "h#h", "\"'", "[x]{y}", "=&", "*!()", "@:$;", "|<>^`\\"]


def main():
    generator = random.Random(SEED)
    for number in range(300):
        key = "/".join(generator.choice(PIECES) for _ in range(generator.randint(1, 4)))
        if number % 25 == 0:
            key = "snapshots//" + key
        virtual = generator.random() < 0.3
        host = generator.choice(["s3.amazonaws.com", "s3.eu-central-1.amazonaws.com", "minio.default.svc.cluster.local:9000", "10.0.0.7:3900", "garage:80", "s3.example:443"])
        scheme = generator.choice(["http", "https"])
        region = generator.choice(["us-east-1", "eu-central-1", "garage", "eu01"])
        token = generator.choice([None, None, "session/token+with=odd&characters"])
        expires = generator.choice([1, 60, 3600, 86400, 604800])
        moment = datetime.datetime(2013, 5, 24) + datetime.timedelta(seconds=generator.randint(0, 500_000_000))
        if virtual and host[0].isdigit():
            virtual = False
        frozen = lambda *_, **__: moment
        botocore.auth.get_current_datetime = frozen
        client = boto3.client(
            "s3",
            endpoint_url=f"{scheme}://{host}",
            region_name=region,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            aws_session_token=token,
            config=Config(signature_version="s3v4", s3={"addressing_style": "virtual" if virtual else "path"}),
        )
        url = client.generate_presigned_url("get_object", Params={"Bucket": "qdrant-snapshots", "Key": key}, ExpiresIn=expires)
        if f"X-Amz-Date={moment:%Y%m%dT%H%M%SZ}" not in url:
            sys.exit(f"the date was not taken: {url}")
        entry = {"key": key, "endpoint": f"{scheme}://{host}", "virtual": virtual, "region": region, "token": token, "expires": expires, "unix": int(moment.replace(tzinfo=datetime.timezone.utc).timestamp()), "url": url}
        print(json.dumps(entry, ensure_ascii=False))


main()
