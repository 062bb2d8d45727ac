"""Stores thumbnails of every photograph that arrives under photos/ in a bucket."""

import io
import json
from urllib.parse import unquote_plus

import boto3
from PIL import Image, ImageOps

SOURCE = "photos/"
TARGET = "thumbnails/"
SIZES = (1024, 256)  # pixels of the longer side, the larger first: each is made from the one before
KEPT = {"JPEG", "PNG"}  # other formats become JPEG

s3 = boto3.client("s3")


def lambda_handler(event, context):
    made = []
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = unquote_plus(record["s3"]["object"]["key"])
        made += store_thumbnails(bucket, key)
    return {"variants": made}


def store_thumbnails(bucket, key):
    print(json.dumps({"photo": key}))
    photo = Image.open(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    format = photo.format if photo.format in KEPT else "JPEG"
    keys = []
    for size, variant in variants(photo, format):
        target = f"{TARGET}{size}/{key.removeprefix(SOURCE)}"
        encoded = io.BytesIO()
        variant.save(encoded, format)
        s3.put_object(
            Bucket=bucket,
            Key=target,
            Body=encoded.getvalue(),
            ContentType=Image.MIME[format],
            Metadata={"width": str(variant.width), "height": str(variant.height)},
        )
        keys.append(target)
    print(json.dumps({"photo": key, "variants": keys}))
    return keys


def variants(photo, format):
    """Yields (size, image) for each size: upright, never enlarged, in colours that the format can hold."""
    image = ImageOps.exif_transpose(photo)
    if format == "JPEG" and image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGBA")
    for size in SIZES:
        image = image.copy()
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        yield size, image
