"""`wadi top`: what functions do at this moment."""

import json
import threading
import time

from conftest import eventually, invoke


def test_top_shows_calls_instances_and_what_goes_wrong(shared, function):
    lam = shared.client("lambda", read_timeout=60)
    name = function("""
import time
def handler(event, context):
    time.sleep(event.get("s", 0))
    if event.get("fail"): raise RuntimeError("no")
""", Timeout=60)

    def seen():
        return next((f for f in json.loads(shared.cli("top", "--json").stdout)["Functions"] if f["FunctionName"] == name), None)

    for i in range(5):
        invoke(lam, name, {})
    invoke(lam, name, {"fail": True})
    now = seen()
    assert (now["Calls"], now["ColdStarts"], now["Errors"], now["Throttles"], now["Busy"], now["Waiting"]) == (6, 1, 1, 0, 0, 0), now
    assert now["Idle"] == 1 and now["CallsPerSecond"] > 0 and 0 < now["P50Ms"] <= now["P90Ms"] <= now["P99Ms"] < 60_000, now

    slow = threading.Thread(target=lambda: invoke(shared.client("lambda", read_timeout=60), name, {"s": 3}))
    slow.start()
    eventually(lambda: (f := seen()) and (f["Busy"], f["Idle"]) == (1, 0), seconds=3)
    slow.join()
    assert 2_500 < seen()["P99Ms"] < 5_000, "the slow call is the slowest of the minute"

    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        invoke(shared.client("lambda", retries={"max_attempts": 0}), name)
    except lam.exceptions.TooManyRequestsException:
        pass
    assert (now := seen())["Throttles"] == 1 and now["Calls"] == 7, now

    text = shared.cli("top", "--once").stdout
    row = next(l for l in text.splitlines() if l.startswith(name))
    assert "FUNCTION" in text and "us-east-1: " in text and " functions, " in text and "%" in row, text
    # Without a terminal there is nothing to refresh.
    began = time.time()
    assert name in shared.cli("top").stdout and time.time() - began < 20
    # Another region has functions of its own.
    assert name not in shared.cli("top", "--once", "--region", "eu-north-1").stdout
