"""Writes tests/data/s3/botocore-signatures.jsonl: what botocore signs for thousands of keys, hosts, regions and dates.

    pip install boto3==1.44.5 && python3 tests/presigned/botocore_signatures.py > tests/data/s3/botocore-signatures.jsonl

A line is [call, key, endpoint, virtual, region, token, expiry in seconds, Unix time, body, signature]; the first 16 digits
of a signature tell it from any other.
"""

import datetime
import functools
import json
import random
import re

import boto3
import botocore.auth
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import quote
from botocore.config import Config
from botocore.credentials import Credentials

SEED = 20260130
ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOSTS = ["s3.amazonaws.com", "s3.eu-central-1.amazonaws.com", "minio.svc:9000", "10.0.0.7:3900", "garage:80", "s3.example:443", "[fd00::7]:9000", "s3.example:65535"]
LETTERS = "ab0-_.~ /%+=&?#:@!$'()*,;<>[]{}|\\^`\"äß日\u00a0\u200b🦀\t\x01"


@functools.cache
def client(endpoint, virtual, region, token):
    style = {"addressing_style": "virtual" if virtual else "path"}
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET, aws_session_token=token, config=Config(signature_version="s3v4", s3=style))


def main():
    generator = random.Random(SEED)
    for number in range(4000):
        call = ["link", "link", "put", "range", "list"][number % 5]
        key = "".join(generator.choice(LETTERS) for _ in range(generator.randint(1, 24))).strip("/") or "k"
        host = generator.choice(HOSTS)
        virtual = generator.random() < 0.3 and host[0].isalpha() and call == "link"
        endpoint = f"{generator.choice(['http', 'https'])}://{host}"
        region = generator.choice(["us-east-1", "eu-central-1", "garage", "eu01"])
        token = generator.choice([None, None, "session/token+with=odd&characters"])
        expires = generator.choice([1, 60, 3600, 604800])
        moment = datetime.datetime(2013, 5, 24) + datetime.timedelta(seconds=generator.randint(0, 2_000_000_000))
        body = "".join(generator.choice("ab\n{}ü") for _ in range(generator.randint(0, 20))) if call == "put" else ""
        botocore.auth.get_current_datetime = lambda *_, **__: moment
        if call == "link":
            url = client(endpoint, virtual, region, token).generate_presigned_url("get_object", Params={"Bucket": "qdrant-snapshots", "Key": key}, ExpiresIn=expires)
            signature = re.search("X-Amz-Signature=([0-9a-f]{64})", url)[1]
        else:
            path = f"{endpoint}/qdrant-snapshots"
            request = {
                "put": lambda: AWSRequest("PUT", f"{path}/{quote(key, safe='/~')}", {"content-type": "application/json"}, body.encode()),
                "range": lambda: AWSRequest("GET", f"{path}/{quote(key, safe='/~')}", {"range": "bytes=5-9"}),
                "list": lambda: AWSRequest("GET", f"{path}?list-type=2&prefix={quote(key, safe='~')}"),
            }[call]()
            S3SigV4Auth(Credentials(ACCESS, SECRET, token), "s3", region).add_auth(request)
            signature = re.search("Signature=([0-9a-f]{64})", request.headers["Authorization"])[1]
        unix = int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())
        print(json.dumps([call, key, endpoint, virtual, region, token, expires, unix, body, signature[:16]], ensure_ascii=False, separators=(",", ":")))


main()
