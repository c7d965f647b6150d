"""Makes maskcut.safetensors: masks that normalised cuts, one after another, find in made-up keys.

    python3 maskcut.py [FILE]     needs NumPy

The rules are those of CutLER's maskcut.py (Wang et al. 2023) without its CRF, at the size of the grid: tau joins
patches, others have 1e-5; the second eigenvector of the normalised cut is turned so that its largest magnitude lies
above its mean, split there, and turned again where three corners lie in the upper part (in that file the solver's sign
decides whether they are asked at all); what hangs together with its largest value is the mask,
empty where it is a later one with at most a hundredth of the patches or more than half in common with the mask before;
keys of the mask become 0; a mask lacks what earlier ones have. Masks that are left without a patch are not listed.

Case I: I.keys f32 [h*w, dim]; I.masks u8 [found, h, w], I.seeds i64 [found] (-1: several are equal), I.given_up u8 [rounds]: 1 where a mask
became empty by overlap."""
import json
import struct
import sys

import numpy as np

# grid, dimensions, tau, rounds, noise, objects as (top, left, height, width), seed
CASES = (
    ((9, 12), 8, 0.2, 3, 0.25, ((1, 1, 4, 4), (4, 7, 4, 4)), 1),
    ((8, 7), 6, 0.15, 4, 0.3, ((0, 0, 3, 3), (5, 1, 2, 4), (1, 4, 3, 2)), 2),
    ((10, 10), 5, 0.2, 3, 0.6, ((3, 3, 4, 5),), 5),
    ((6, 15), 8, 0.3, 6, 0.2, ((1, 1, 4, 3), (1, 6, 4, 3), (1, 11, 4, 3)), 4),
    ((12, 12), 4, 0.0, 3, 0.9, ((2, 2, 7, 5),), 6),
    ((12, 9), 6, 0.2, 5, 0.5, ((0, 0, 8, 9), (8, 0, 4, 4)), 7),
    ((10, 13), 7, 0.3, 4, 0.2, ((2, 2, 5, 5), (4, 10, 1, 1)), 8),
    ((9, 10), 7, 0.2, 3, 0.2, ((1, 1, 7, 8),), 9),
)


def made_up(grid, dim, noise, objects, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(len(objects) + 1, dim))
    keys = np.tile(kinds[0], (*grid, 1))
    for kind, (top, left, height, width) in zip(kinds[1:], objects):
        keys[top:top + height, left:left + width] = kind
    return (keys + noise * rng.normal(size=keys.shape)).reshape(-1, dim).astype(np.float32)


def second_vector(keys, tau):
    x = keys.astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    weight = np.where(x @ x.T > tau, 1.0, 1e-5)
    root = np.sqrt(weight.sum(1))
    value, vector = np.linalg.eigh(np.eye(len(x)) - weight / root[:, None] / root[None, :])
    assert value[2] - value[1] > 1e-6, "no single second vector"
    return vector[:, 1] / root


def component(inside, seed):
    mask, waiting = np.zeros_like(inside), [seed]
    while waiting:
        y, x = waiting.pop()
        if 0 <= y < inside.shape[0] and 0 <= x < inside.shape[1] and inside[y, x] and not mask[y, x]:
            mask[y, x] = True
            waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return mask


def cut(keys, grid, tau, found):
    vector = second_vector(keys, tau)
    assert np.abs(vector - vector.mean()).min() > 1e-9, "a patch lies at the mean"
    if not vector[np.argmax(np.abs(vector))] > vector.mean():
        vector = -vector
    upper = (vector > vector.mean()).reshape(grid)
    if int(upper[0, 0]) + int(upper[0, -1]) + int(upper[-1, 0]) + int(upper[-1, -1]) >= 3:
        vector, upper = -vector, ~upper
    seeds = np.flatnonzero(vector > vector.max() - 1e-9)
    masks = [component(upper, divmod(int(seed), grid[1])) for seed in seeds]
    new = [mask & ~found for mask in masks]
    assert all((mask == new[0]).all() for mask in new), "equal seeds in different parts"
    return masks[0], int(seeds[0]) if len(seeds) == 1 else -1


def rounds_of(keys, grid, tau, rounds):
    keys, before = keys.copy(), np.zeros(grid, bool)
    all_before, found = np.zeros(grid, bool), []
    given_up = []
    for turn in range(rounds):
        mask, seed = cut(keys, grid, tau, all_before)
        shared, either = (mask & before).sum(), (mask | before).sum()
        overlap = turn > 0 and shared > 0.5 * either
        if overlap or (turn > 0 and mask.mean() <= 0.01):
            mask = np.zeros(grid, bool)
        given_up.append(overlap)
        found.append((mask & ~all_before, seed))
        all_before |= mask
        keys[mask.ravel()] = 0
        before = mask
    return [(mask, seed) for mask, seed in found if mask.any()], given_up


def main(path):
    tensors, config = {}, []
    for i, (grid, dim, tau, rounds, noise, objects, seed) in enumerate(CASES):
        keys = made_up(grid, dim, noise, objects, seed)
        found, given_up = rounds_of(keys, grid, tau, rounds)
        tensors[f"{i}.keys"] = ("F32", keys)
        tensors[f"{i}.masks"] = ("U8", np.array([mask for mask, _ in found], np.uint8))
        tensors[f"{i}.seeds"] = ("I64", np.array([seed for _, seed in found], np.int64))
        tensors[f"{i}.given_up"] = ("U8", np.array(given_up, np.uint8))
        config.append({"grid": list(grid), "tau": tau, "rounds": rounds})
        print(i, [int(mask.sum()) for mask, _ in found], [int(g) for g in given_up], file=sys.stderr)
    header, data = {"__metadata__": {"what": __doc__.split("Case I: ")[1], "config": json.dumps(config)}}, b""
    for name, (dtype, value) in tensors.items():
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


main(sys.argv[1] if len(sys.argv) > 1 else "maskcut.safetensors")
