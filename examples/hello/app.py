"""Greets whoever asks: GET /?name=Ada"""

import json


def handler(event, context):
    name = (event.get("queryStringParameters") or {}).get("name", "world")
    print(f"greeting {name}")
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"hello": name, "from": context.function_name}),
    }
