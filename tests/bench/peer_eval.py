"""Evaluations in plain PyTorch, as quick as plain PyTorch gets: many linear classifiers at once, and fine-tuning.

k-NN and the network are in peer_model.py. Nothing here times anything.
"""
import torch
import torch.nn.functional as F
from torch import nn

import peer_model

# ---- linear probe: classifiers of many learning rates on the same features ------------------------------------------


class OneByOne:
    """As the published code: a classifier, a loss and a step of SGD for each rate."""

    def __init__(self, dim, classes, rates, compiled=False):
        self.classifiers = nn.ModuleList(nn.Linear(dim, classes) for _ in rates)
        self.optimizers = [torch.optim.SGD(c.parameters(), lr=r, momentum=0.9)
                           for c, r in zip(self.classifiers, rates)]

    def step(self, x, label):
        for classifier, optimizer in zip(self.classifiers, self.optimizers):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(classifier(x), label).backward()
            optimizer.step()


class Stacked:
    """The same with the weights of all rates in one matrix, so that a batch meets them in one product."""

    def __init__(self, dim, classes, rates, compiled=False):
        self.weight = nn.Parameter(torch.randn(len(rates) * classes, dim) * 0.01)
        self.bias = nn.Parameter(torch.zeros(len(rates) * classes))
        self.moments = [torch.zeros_like(p) for p in (self.weight, self.bias)]
        self.rate = torch.tensor(rates).repeat_interleave(classes)
        self.classes, self.many = classes, len(rates)
        self.loss = torch.compile(self.all_losses) if compiled else self.all_losses

    def all_losses(self, x, label):
        """The sum over rates of the mean over pictures."""
        z = F.linear(x, self.weight, self.bias).reshape(len(x) * self.many, self.classes)
        return F.cross_entropy(z, label.repeat_interleave(self.many)) * self.many

    def step(self, x, label):
        self.weight.grad = self.bias.grad = None
        self.loss(x, label).backward()
        with torch.no_grad():
            for p, moment, rate in zip((self.weight, self.bias), self.moments, (self.rate.unsqueeze(1), self.rate)):
                moment.mul_(0.9).add_(p.grad)
                p.addcmul_(moment, rate, value=-1)


def last_views(network, pictures, blocks=4):
    """[CLS] of the last blocks side by side, each after the norm: (n, blocks · dim)."""
    x, kept = network.embed(pictures), []
    for i, block in enumerate(network.blocks):
        x = block(x)
        if i >= len(network.blocks) - blocks:
            kept.append(network.norm(x[:, 0]))
    return torch.cat(kept, dim=1)


# ---- fine-tuning ------------------------------------------------------------------------------------------------------


def mixed(x, label, classes, smoothing=0.1):
    """mixup or cutmix of a batch with itself turned round, and its soft labels (timm's Mixup, mode batch)."""
    share = torch.distributions.Beta(0.8, 0.8).sample().item()
    if torch.rand(()) < 0.5:
        side = x.shape[-1]
        cut = int(side * (1 - share) ** 0.5)
        top, left = (int(torch.randint(side - cut + 1, ())) for _ in range(2))
        box = (..., slice(top, top + cut), slice(left, left + cut))
        other = x.flip(0)[box].clone()
        x = x.clone()
        x[box] = other
        share = 1 - cut * cut / (side * side)
    else:
        x = x * share + x.flip(0) * (1 - share)
    q = F.one_hot(label, classes) * (1 - smoothing) + smoothing / classes
    return x, q * share + q.flip(0) * (1 - share)


class FineTuner:
    """Backbone, classifier, AdamW with layer-wise rates; step() is one training step (BEiT's class fine-tuning)."""

    def __init__(self, c, classes, variant="dense", precision="fp32", compiled=False, drop_path=0.1, layer_decay=0.75):
        self.network = peer_model.Vit(c, masked=False, drop_path=drop_path).train()
        self.classifier = nn.Linear(c["dim"], classes)
        self.classes, self.pruned, self.bf16 = classes, variant == "pruned", precision == "bf16"
        self.loss = torch.compile(self.mean_loss) if compiled else self.mean_loss
        self.optimizer = self.make_optimizer(c["depth"], layer_decay)

    def make_optimizer(self, depth, decay):
        groups = {}
        for name, p in [*self.network.named_parameters(), *self.classifier.named_parameters()]:
            layer = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1
            if name.startswith(("cls_token", "pos_embed", "patch_embed")):
                layer = 0
            plain = p.dim() == 1 or name in ("cls_token", "pos_embed")
            group = groups.setdefault((layer, plain), {"params": [], "weight_decay": 0.0 if plain else 0.05,
                                                       "lr": 1e-6 * decay ** (depth + 1 - layer)})
            group["params"].append(p)
        try:
            return torch.optim.AdamW(list(groups.values()), fused=True)
        except (RuntimeError, TypeError, AssertionError):
            return torch.optim.AdamW(list(groups.values()))

    def mean_loss(self, x, q):
        if self.pruned:
            tokens = (x.shape[-1] // self.network.patch) ** 2 + 1
            view = self.network(x, only=torch.arange(0, len(x) * tokens, tokens))
        else:
            view = self.network(x)[:, 0]
        return -(q * F.log_softmax(self.classifier(view), dim=-1)).sum(dim=-1).mean()

    def step(self, pictures, label):
        x, q = mixed(pictures, label, self.classes)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.loss(x, q)
        loss.backward()
        self.optimizer.step()
        return loss.item()
