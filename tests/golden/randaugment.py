"""Makes randaugment.safetensors: what PIL gives for each operation of timm's rand-m9-mstd0.5-inc1.

    python3 randaugment.py [FILE]     needs Pillow; 9.4 and 13.0 give the same file

Each case is an operation (timm's name), a magnitude, a sign, the argument that timm's level functions make of them, a
filter, and a picture; tensor "WxH" is the picture, tensor "WxH.NUMBER" what becomes of it, both [H, W, 3] uint8."""
import json
import struct
import sys

from PIL import Image, ImageEnhance, ImageOps

FILL = (124, 116, 104)  # round(255 * ImageNet's mean)
SIZES = ((1, 1), (2, 5), (13, 9), (29, 21))
ENHANCE = {"Color": ImageEnhance.Color, "Contrast": ImageEnhance.Contrast, "Brightness": ImageEnhance.Brightness,
           "Sharpness": ImageEnhance.Sharpness}
SIGNED = {"Rotate": 30.0, "ShearX": 0.3, "ShearY": 0.3, "TranslateXRel": 0.45, "TranslateYRel": 0.45}


def picture(width, height):
    """A slope, a grain, and a bright corner, so that no table is straight and equalising has steps."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            value = [20 + (5 * x + 3 * y + x * y * (7 + c) % 31 + 37 * c) % 200 for c in range(3)]
            image.putpixel((x, y), (250, 251, 240) if x > 2 * y + width // 2 else tuple(value))
    return image


def argument(name, magnitude, sign):
    share = magnitude / 10.0
    if name in SIGNED:
        return sign * (share * SIGNED[name])
    if name.endswith("Increasing") and name[:-10] in ENHANCE:
        return max(0.1, 1.0 + sign * (share * 0.9))
    return {"PosterizeIncreasing": 4 - int(share * 4), "SolarizeIncreasing": 256 - int(share * 256),
            "SolarizeAdd": int(share * 110)}.get(name, 0)


def apply(image, name, value, resample):
    look = {"resample": resample, "fillcolor": FILL}
    width, height = image.size
    shift = {"ShearX": (1, value, 0, 0, 1, 0), "ShearY": (1, 0, 0, value, 1, 0),
             "TranslateXRel": (1, 0, value * width, 0, 1, 0), "TranslateYRel": (1, 0, 0, 0, 1, value * height)}
    if name in shift:
        return image.transform(image.size, Image.AFFINE, shift[name], **look)
    if name == "Rotate":
        return image.rotate(value, **look)
    if name[:-10] in ENHANCE:
        return ENHANCE[name[:-10]](image).enhance(value)
    if name == "PosterizeIncreasing" and value == 0:  # newer versions refuse 0 bits; this is what older ones made
        return image.point([v & ~255 for v in range(256)] * 3)
    if name == "SolarizeAdd":
        return image.point([min(255, v + value) if v < 128 else v for v in range(256)] * 3)
    return {"AutoContrast": ImageOps.autocontrast, "Equalize": ImageOps.equalize, "Invert": ImageOps.invert,
            "PosterizeIncreasing": lambda i: ImageOps.posterize(i, value),
            "SolarizeIncreasing": lambda i: ImageOps.solarize(i, value)}[name](image)


def cases():
    for name in ("AutoContrast", "Equalize", "Invert"):
        yield name, 9, 1, "bicubic"
    for name in ("PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd"):
        for magnitude in (0, 4.3, 9, 10):
            yield name, magnitude, 1, "bicubic"
    for name in [n + "Increasing" for n in ENHANCE] + sorted(SIGNED):
        for magnitude in (0, 4.3, 9, 10):
            for sign in (1, -1) if magnitude else (1,):
                yield name, magnitude, sign, "bicubic"
                if name in SIGNED and magnitude == 9:
                    yield name, magnitude, sign, "bilinear"


def main(path):
    tensors, about, data = {}, [], b""

    def add(name, image):
        nonlocal data
        end = len(data) + image.width * image.height * 3
        tensors[name] = {"dtype": "U8", "shape": [image.height, image.width, 3], "data_offsets": [len(data), end]}
        data += image.tobytes()

    for size in SIZES:
        add("%dx%d" % size, picture(*size))
    for number, (name, magnitude, sign, resample) in enumerate(cases()):
        value = argument(name, magnitude, sign)
        about.append({"op": name, "magnitude": magnitude, "negative": sign < 0, "argument": value, "filter": resample})
        for size in SIZES:
            add("%dx%d.%d" % (*size, number), apply(picture(*size), name, value, getattr(Image, resample.upper())))
    header = {"__metadata__": {"what": "made by tests/golden/randaugment.py", "cases": json.dumps(about),
                               "sizes": json.dumps(["%dx%d" % s for s in SIZES])}, **tensors}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "randaugment.safetensors")
