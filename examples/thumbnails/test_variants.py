"""The handler's own test: `python -m unittest` with Pillow and boto3 installed."""

import io
import os
import unittest
from unittest import mock

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from PIL import Image

import lambda_function


def encoded(image, format, **options):
    body = io.BytesIO()
    image.save(body, format, **options)
    return body.getvalue()


class Bucket:
    """Stands in for S3: a dictionary."""

    def __init__(self, **objects):
        self.objects = {key.replace("__", "/"): body for key, body in objects.items()}

    def get_object(self, Bucket, Key):
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, Bucket, Key, Body, ContentType, Metadata):
        self.objects[Key] = Body


def handle(bucket, key):
    event = {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]}
    with mock.patch.object(lambda_function, "s3", bucket):
        return lambda_function.lambda_handler(event, None)


class Thumbnails(unittest.TestCase):
    def test_an_upright_photo_in_two_sizes(self):
        exif = Image.Exif()
        exif[0x0112] = 6  # turn it clockwise to look at it
        bucket = Bucket(photos__a=encoded(Image.new("RGB", (3000, 1500)), "JPEG", exif=exif))
        self.assertEqual(handle(bucket, "photos/a")["variants"], ["thumbnails/1024/a", "thumbnails/256/a"])
        sizes = [Image.open(io.BytesIO(bucket.objects[f"thumbnails/{n}/a"])).size for n in (1024, 256)]
        self.assertEqual(sizes, [(512, 1024), (128, 256)])

    def test_small_ones_are_not_enlarged_and_transparency_stays(self):
        bucket = Bucket(photos__a=encoded(Image.new("RGBA", (300, 40)), "PNG"))
        handle(bucket, "photos/a")
        large = Image.open(io.BytesIO(bucket.objects["thumbnails/1024/a"]))
        self.assertEqual((large.size, large.mode, large.format), ((300, 40), "RGBA", "PNG"))

    def test_a_truncated_photo_fails_and_stores_nothing(self):
        whole = encoded(Image.effect_noise((800, 600), 80), "JPEG")
        bucket = Bucket(photos__a=whole[: len(whole) // 2])
        with self.assertRaisesRegex(OSError, "truncated"):
            handle(bucket, "photos/a")
        self.assertEqual(list(bucket.objects), ["photos/a"])


if __name__ == "__main__":
    unittest.main()
