"""Small line charts as SVG text: panels of coloured lines with dots, axes linear or logarithmic. No packages needed."""
import math

LEFT, TOP, BOTTOM, GAP = 56, 30, 50, 70


class Axis:
    """Values to pixels: from `low` to `high` over `size`, with the places where a tick and a number stand."""

    def __init__(self, low, high, size, ticks, log=False):
        self.low, self.high, self.size, self.ticks, self.log = low, high, size, ticks, log

    def __call__(self, v):
        f = math.log if self.log else float
        return self.size * (f(v) - f(self.low)) / (f(self.high) - f(self.low))


def decades(low, high, size):
    low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return Axis(10.0 ** low, 10.0 ** high, size, [10.0 ** e for e in range(low, high + 1)], log=True)


def even(low, high, size, step):
    low, high = step * math.floor(low / step), step * math.ceil(high / step)
    return Axis(low, high, size, [low + step * i for i in range(round((high - low) / step) + 1)])


def panel(lines, x, y, label, left):
    """lines: [(colour, [(x value, y value)])]."""
    out = [f'<g transform="translate({left},{TOP})">',
           f'<rect width="{x.size}" height="{y.size}" fill="none" stroke="#999"/>',
           f'<text x="{x.size / 2}" y="{y.size + 34}" text-anchor="middle">{label}</text>']
    for v in y.ticks:
        at = y.size - y(v)
        out += [f'<line x2="{x.size}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>',
                f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{v:g}</text>']
    out += [f'<text x="{x(v):.1f}" y="{y.size + 16}" text-anchor="middle">{v:g}</text>' for v in x.ticks]
    for colour, dots in lines:
        at = [(x(a), y.size - y(b)) for a, b in sorted(dots)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in at]
    return out + ["</g>"]


def write(path, title, names, panels, width, height):
    """names: [(name, colour)] beside the title; width and height: of all panels, without the margins."""
    w, h = LEFT + width + 24, TOP + height + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">',
           f'<rect width="{w}" height="{h}" fill="white"/>', f'<text x="{LEFT}" y="18">{title}</text>']
    for i, (name, colour) in enumerate(names):
        out.append(f'<text x="{LEFT + 160 + 70 * i}" y="18" fill="{colour}">{name}</text>')
    for lines in panels:
        out += lines
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out + ["</svg>", ""]))
