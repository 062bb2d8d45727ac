"""Makes the demo's photographs, or looks at the user's own; run with Pillow by `wadi demo`.

photos.py make WHEEL OUT    takes public-domain pictures out of scikit-image's wheel and makes large ones of them
photos.py look DIR OUT      takes the user's JPEG and PNG files

Both write a truncated file into OUT and print one JSON line a photo: name, file, width and height when upright, whole.
"""

import json
import pathlib
import sys
import zipfile

from PIL import Image

ORIENTATION = 0x0112
# Marked public domain or CC0 by scikit-image's documentation of its data: NASA, Stefan van der Walt, Rachel Michetti,
# SpaceX, NASA.
SMALL = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
SUFFIXES = {".jpg", ".jpeg", ".png"}


def make(wheel, out):
    with zipfile.ZipFile(wheel) as archive:
        for name in SMALL:
            (out / name).write_bytes(archive.read(f"skimage/data/{name}"))
    enlarge(out / "astronaut.png", (4000, 4000)).save(out / "astronaut-16mp.jpg", quality=88)
    enlarge(out / "coffee.png", (6000, 4000)).save(out / "coffee-24mp.png", compress_level=1)
    enlarge(out / "rocket.jpg", (6000, 4003)).save(out / "rocket-24mp.jpg", quality=88)
    # As a camera held upright stores it: turned, with a note how to turn it back.
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = enlarge(out / "chelsea.png", (4510, 3000)).rotate(90, expand=True)
    turned.save(out / "chelsea-turned-13mp.jpg", quality=88, exif=exif)
    return [out / name for name in SMALL] + [
        out / "astronaut-16mp.jpg",
        out / "coffee-24mp.png",
        out / "rocket-24mp.jpg",
        out / "chelsea-turned-13mp.jpg",
    ]


def enlarge(path, size):
    return Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)


def truncate(path, out):
    whole = path.read_bytes()
    broken = out / f"truncated-{path.name}"
    broken.write_bytes(whole[: len(whole) // 2])
    return broken


def describe(path):
    """Width and height as a viewer sees it; whole if every pixel can be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION, 1) >= 5:
                width, height = height, width
            whole = readable(image)
    except OSError:
        width, height, whole = 0, 0, False
    print(json.dumps({"name": path.name, "file": str(path), "width": width, "height": height, "whole": whole}))


def readable(image):
    try:
        image.load()
    except (OSError, SyntaxError):
        return False
    return True


def main(verb, source, out):
    out = pathlib.Path(out)
    if verb == "make":
        photos = make(source, out)
        broken = truncate(out / "astronaut-16mp.jpg", out)
    else:
        photos = sorted(p for p in pathlib.Path(source).iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not photos:
            sys.exit(f"no .jpg, .jpeg or .png file in {source}")
        broken = truncate(max(photos, key=lambda p: p.stat().st_size), out)
    for photo in photos:
        describe(photo)
    describe(broken)


main(*sys.argv[1:])
