"""What was acknowledged survives kill -9, at any moment."""

import json
import os
import random
import threading
import time

from conftest import ROLE, RUNTIME, eventually, package
from test_events import BOOTSTRAP

ROUNDS = int(os.environ.get("WADI_KILL_ROUNDS", "50"))


def test_kill_loop_loses_nothing_acknowledged(own):
    """Uploads and asynchronous invocations while the node is killed again and again: all that was acknowledged is there."""
    seed = int(os.environ.get("WADI_SEED", "20261123"))
    rng = random.Random(seed)
    own.start()
    own.client("s3").create_bucket(Bucket="kept")
    lam = own.client("lambda", read_timeout=30)
    lam.create_function(FunctionName="seen", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Timeout=30, MemorySize=256, Code={"ZipFile": package(app=SEEN)})
    lam.get_waiter("function_active_v2").wait(FunctionName="seen", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    acknowledged, events, functions, stop = {}, set(), set(), threading.Event()

    def work(worker):
        i = 0
        while not stop.is_set():
            i += 1
            key, body = f"{worker}/{i}", os.urandom(rng.choice([10, 1000, 100_000]))
            try:
                s3 = own.client("s3", connect_timeout=2, read_timeout=5, retries={"max_attempts": 0})
                while not stop.is_set():
                    s3.put_object(Bucket="kept", Key=key, Body=body)
                    acknowledged[key] = body
                    l = own.client("lambda", connect_timeout=2, read_timeout=5, retries={"max_attempts": 0})
                    l.invoke(FunctionName="seen", InvocationType="Event", Payload=json.dumps({"key": key}).encode())
                    events.add(key)
                    if i % 20 == 0:
                        l.create_function(FunctionName=f"f-{worker}-{i}", Runtime="provided.al2023", Role=ROLE, Handler="x", Code={"ZipFile": package(bootstrap=BOOTSTRAP)})
                        functions.add(f"f-{worker}-{i}")
                    i += 1
                    key, body = f"{worker}/{i}", os.urandom(rng.choice([10, 1000, 100_000]))
            except Exception:
                time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(w,)) for w in range(4)]
    [t.start() for t in threads]
    try:
        for _ in range(ROUNDS):
            time.sleep(rng.uniform(0.05, 0.5))
            own.kill()
            own.start()
    finally:
        stop.set()
        [t.join() for t in threads]
    assert len(acknowledged) > ROUNDS and len(events) > ROUNDS, (len(acknowledged), len(events))
    s3 = own.client("s3")
    lost = [k for k, body in acknowledged.items() if s3.get_object(Bucket="kept", Key=k)["Body"].read() != body]
    assert not lost, f"seed {seed}: {len(lost)} of {len(acknowledged)} objects lost: {lost[:5]}"
    assert functions <= {f["FunctionName"] for p in own.client("lambda").get_paginator("list_functions").paginate() for f in p["Functions"]}

    def ran():
        pages = own.client("s3").get_paginator("list_objects_v2").paginate(Bucket="kept", Prefix="ran/")
        return events <= {o["Key"][4:] for p in pages for o in p.get("Contents", [])}
    eventually(ran, seconds=120, every=1)


SEEN = """
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    s3.put_object(Bucket="kept", Key="ran/" + event["key"], Body=b"")
"""
