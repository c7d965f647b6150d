#!/usr/bin/env python3
"""resnet.py: writes tests/golden/resnet_*.safetensors with PyTorch (2.13.0, CPU, double precision).

A residual network with torchvision's names, built of torch.nn.Conv2d and BatchNorm2d, sees three batches in training
mode and one in evaluation mode. Of the first batch there are the view (the mean of the last map), the map and all
gradients of sum(view * view_weight) + sum(map * map_weight); of the three, the running state that they leave; then the
view in evaluation mode. Values that go in are rounded to F32 first.

    python3 tests/golden/resnet.py tests/golden
"""
import json
import struct
import sys

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, n, inner, out, stride, bottleneck, groups):
        super().__init__()
        self.bottleneck = bottleneck
        conv = lambda a, b, k, s=1, g=1: nn.Conv2d(a, b, k, s, k // 2, groups=g, bias=False)
        if bottleneck:
            self.conv1, self.bn1 = conv(n, inner, 1), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(inner, inner, 3, stride, groups), nn.BatchNorm2d(inner)
            self.conv3, self.bn3 = conv(inner, out, 1), nn.BatchNorm2d(out)
        else:
            self.conv1, self.bn1 = conv(n, inner, 3, stride), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(inner, out, 3), nn.BatchNorm2d(out)
        if stride != 1 or n != out:
            self.downsample = nn.Sequential(conv(n, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.bottleneck:
            y = self.bn3(self.conv3(y.relu()))
        return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


class Net(nn.Module):
    def __init__(self, depths, width, bottleneck, small, groups, group_width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        n = width
        for s, depth in enumerate(depths):
            planes = width << s
            inner = int(planes * group_width / 64) * groups if bottleneck else planes
            out = planes * (4 if bottleneck else 1)
            blocks = []
            for b in range(depth):
                blocks.append(Block(n, inner, out, 2 if s and not b else 1, bottleneck, groups))
                n = out
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)).relu())
        for s in range(1, 5):
            x = getattr(self, f"layer{s}")(x)
        return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


def write(path, tensors, about):
    header, data = {"__metadata__": about}, b""
    for name, t in tensors.items():
        bytes_ = t.float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def make(path, options, batch, rows, cols, **shape):
    torch.manual_seed(7)
    net, steps, out = Net(**shape).double(), 3, {}
    for p in net.parameters():  # far from what a network begins with
        p.data = (p.data + 0.1 * torch.randn_like(p)).float().double()
    pictures = (torch.randn(steps, batch, 3, rows, cols) * 1.2 + 0.3).double()
    for name, t in net.state_dict().items():
        if t.dtype == torch.float64:
            out["state." + name] = t.clone()
    for s in range(steps):
        view, patches = net(pictures[s])
        if s:
            continue
        weights = torch.randn_like(view).float().double(), (torch.randn_like(patches) * 0.2).float().double()
        ((view * weights[0]).sum() + (patches * weights[1]).sum()).backward()
        out |= {"view_weight": weights[0], "map_weight": weights[1], "view": view.detach(), "map": patches.detach()}
        out |= {"grad." + name: p.grad.clone() for name, p in net.named_parameters()}
    out |= {"after." + name: t for name, t in net.state_dict().items() if "running" in name}
    net.eval()
    out["eval_view"] = net(pictures[0])[0].detach()
    out["pictures"] = pictures
    write(path, out, {"made_by": f"tests/golden/resnet.py, torch {torch.__version__}, double precision", "options": options})


if __name__ == "__main__":
    folder = sys.argv[1]
    make(f"{folder}/resnet_bottleneck.safetensors",
         "{arch: custom, block: bottleneck, depths: [1, 2, 1, 1], width: 4, groups: 2, group_width: 32}", 3, 64, 32,
         depths=[1, 2, 1, 1], width=4, bottleneck=True, small=False, groups=2, group_width=32)
    make(f"{folder}/resnet_basic.safetensors", "{arch: custom, depths: [1, 2, 1, 1], width: 3, stem: small}", 2, 24, 16,
         depths=[1, 2, 1, 1], width=3, bottleneck=False, small=True, groups=1, group_width=64)
