"""The method in plain PyTorch, from 1.13 on: vision transformer, projection head, the two losses, and the step.

Names and shapes of parameters are timm's and iBOT's, so the golden files load as they are. Two ways through the head:

  dense   the head and the loss see every token of student and teacher, as the published code does
  pruned  the student's head sees [CLS] and masked patches only, and so does what follows the attention of its last
          block; so does the last layer of the teacher, whose centre takes the mean of all patches' features through
          that (linear) layer

Both give the same losses, centres and gradients. Nothing here times anything.
"""
import torch
import torch.nn.functional as F
from torch import nn

FUSED = hasattr(F, "scaled_dot_product_attention")


# ---- backbone ---------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, dim, heads, bias, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, only=None):
        views, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(views, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5
            y = scores.softmax(dim=-1) @ v
        y = y.transpose(1, 2).reshape(views, tokens, dim)
        return self.proj(y if only is None else y.flatten(0, 1)[only])


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Scale(nn.Module):
    def __init__(self, dim, start):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(start)))

    def forward(self, x):
        return x * self.gamma


def drop_path(x, p):
    """Stochastic depth: a picture's branch is left out with probability p. x: one item a picture."""
    keep = x.new_empty([len(x)] + [1] * (x.dim() - 1)).bernoulli_(1 - p)
    return x * (keep / (1 - p))


class Block(nn.Module):
    def __init__(self, c, dim, heads, hidden, fused, drop=0.0):
        super().__init__()
        scale = c["layer_scale"]
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads, c["qkv_bias"], fused)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), Mlp(dim, hidden)
        self.ls1 = Scale(dim, scale) if scale else nn.Identity()
        self.ls2 = Scale(dim, scale) if scale else nn.Identity()
        self.drop = drop

    def branch(self, y):
        return drop_path(y, self.drop) if self.drop and self.training else y

    def forward(self, x, only=None):
        """only: see Vit; with stochastic depth it is one token a picture."""
        y = self.attn(self.norm1(x), only)
        x = (x if only is None else x.flatten(0, 1)[only]) + self.branch(self.ls1(y))
        return x + self.branch(self.ls2(self.mlp(self.norm2(x))))


class PatchEmbed(nn.Module):
    def __init__(self, dim, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, pictures):
        return self.proj(pictures).flatten(2).transpose(1, 2)


class Vit(nn.Module):
    """Tokens (views, 1 + patches, dim) after the last norm; [CLS] first. `c` is a dict as recipe.py makes it."""

    def __init__(self, c, masked=True, fused=FUSED, drop_path=0.0):
        super().__init__()
        dim, self.patch, self.side = c["dim"], c["patch"], c["global_size"] // c["patch"]
        self.patch_embed = PatchEmbed(dim, c["patch"])
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, dim))
        if masked:
            self.masked_embed = nn.Parameter(torch.zeros(1, dim))
        hidden = round(dim * c["mlp_ratio"])
        drop = [drop_path * i / max(1, c["depth"] - 1) for i in range(c["depth"])]
        self.blocks = nn.ModuleList(Block(c, dim, c["heads"], hidden, fused, p) for p in drop)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for name, p in self.named_parameters():
            if p.dim() == 2 or name in ("cls_token", "pos_embed"):
                nn.init.trunc_normal_(p, std=0.02)
            elif name.endswith("bias") and "patch_embed" not in name:
                nn.init.zeros_(p)

    def positions(self, side):
        """The position embedding for a grid of side × side patches, resized as the published code resizes it."""
        if side == self.side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        factor = (side + 0.1) / self.side
        grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)

    def embed(self, pictures, mask=None):
        """Tokens before the first block."""
        x = self.patch_embed(pictures)
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), self.masked_embed.to(x.dtype), x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        return x + self.positions(pictures.shape[-1] // self.patch)

    def forward(self, pictures, mask=None, only=None):
        """only: indices among all tokens; the rest of them ends in the last block's attention: (len(only), dim)."""
        x = self.embed(pictures, mask)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, only))


# ---- head -------------------------------------------------------------------------------------------------------


class LastLayer(nn.Module):
    """A linear layer whose rows have the length weight_g."""

    def __init__(self, width, out, frozen):
        super().__init__()
        bound = width**-0.5
        self.weight_g = nn.Parameter(torch.ones(out, 1), requires_grad=not frozen)
        self.weight_v = nn.Parameter(torch.empty(out, width).uniform_(-bound, bound))

    def forward(self, x):
        return F.linear(x, self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True)))


class Head(nn.Module):
    """features: tokens to the normalised bottleneck; then logits, `last_layer` for [CLS], `last_layer2` for patches."""

    def __init__(self, c):
        super().__init__()
        hidden, width = c["head_hidden"], c["head_bottleneck"]
        self.mlp = nn.Sequential(nn.Linear(c["dim"], hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(),
                                 nn.Linear(hidden, width))
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.last_layer = LastLayer(width, c["out_dim"], c["norm_last_layer"])
        shared = c["shared_head"]
        self.last_layer2 = self.last_layer if shared else LastLayer(width, c["patch_out_dim"], c["norm_last_layer"])

    def features(self, x):
        return F.normalize(self.mlp(x), dim=-1)


class Network(nn.Module):
    def __init__(self, c, masked, fused=FUSED):
        super().__init__()
        self.backbone, self.head = Vit(c, masked, fused), Head(c)


# ---- losses -----------------------------------------------------------------------------------------------------


def cross_entropy(target, prediction, temperature):
    return -(target * F.log_softmax(prediction / temperature, dim=-1)).sum(dim=-1)


def cls_loss(c, student, target):
    """Every student view against every global view of the teacher but itself: lists of (pictures, K)."""
    terms = [cross_entropy(target[q], student[v], c["student_temperature"]).mean()
             for q in range(len(target)) for v in range(len(student)) if v != q]
    return sum(terms) / len(terms)


def objective(c, student, teacher, pruned, views, locals_, mask, rows, centre, temperature):
    """The loss of a step, its two parts, and this step's means of the teacher's logits (for the centres).

    views: (G·B, 3, S, S), view-major; locals_ the same or None; mask: (G·B, patches) bool; rows: indices of masked
    patches among all tokens; centre: [CLS] and patch; temperature: of the teacher, [CLS] and patch.
    """
    batch, patches = len(views) // c["globals"], mask.shape[1]
    masked = mask if hasattr(student.backbone, "masked_embed") else None
    weight = mask.float() / mask.sum(dim=1, keepdim=True).clamp(min=1) / len(views)  # of each patch in the mean

    with torch.no_grad():
        features = teacher.head.features(teacher.backbone(views))
        cls_logits = teacher.head.last_layer(features[:, 0])
        if pruned:
            patch_logits = teacher.head.last_layer2(features.flatten(0, 1)[rows])
            patch_mean = teacher.head.last_layer2(features[:, 1:].float().mean(dim=(0, 1)).unsqueeze(0))[0]
        else:
            patch_logits = teacher.head.last_layer2(features[:, 1:])
            patch_mean = patch_logits.float().mean(dim=(0, 1))
        cls_mean = cls_logits.float().mean(dim=0)
        cls_target = ((cls_logits - centre[0]) / temperature[0]).softmax(dim=-1).chunk(c["globals"])
        patch_target = ((patch_logits - centre[1]) / temperature[1]).softmax(dim=-1)

    if pruned:
        first = torch.arange(0, len(views) * (patches + 1), patches + 1, device=rows.device)
        both = student.head.features(student.backbone(views, masked, torch.cat([first, rows])))
        cls, patch = student.head.last_layer(both[: len(views)]), student.head.last_layer2(both[len(views):])
        weight = weight.flatten()[rows - rows // (patches + 1) - 1]  # rows count [CLS], masks do not
    else:
        features = student.head.features(student.backbone(views, masked))
        cls, patch = student.head.last_layer(features[:, 0]), student.head.last_layer2(features[:, 1:])
    out = list(cls.chunk(c["globals"]))
    if locals_ is not None:
        if pruned:
            tokens = (locals_.shape[-1] // student.backbone.patch) ** 2 + 1
            first = torch.arange(0, len(locals_) * tokens, tokens, device=locals_.device)
            kept = student.backbone(locals_, only=first)
            out += student.head.last_layer(student.head.features(kept)).chunk(c["locals"])
        else:  # patches too, although no loss asks for them
            features = student.head.features(student.backbone(locals_))
            student.head.last_layer2(features[:, 1:])
            out += student.head.last_layer(features[:, 0]).chunk(c["locals"])

    first = cls_loss(c, out, cls_target)
    second = (cross_entropy(patch_target, patch, c["student_temperature"]) * weight).sum()
    return c["lambda_cls"] * first + c["lambda_patch"] * second, first, second, cls_mean, patch_mean


# ---- the step ---------------------------------------------------------------------------------------------------


class Trainer:
    """Student, teacher, centres and optimiser; step() is one training step."""

    def __init__(self, c, variant="dense", precision="fp32", compiled=False, fused=FUSED):
        self.c, self.pruned = c, variant == "pruned"
        self.bf16 = precision == "bf16"
        self.student, self.teacher = Network(c, c["masked"], fused), Network(c, False, fused)
        self.teacher.load_state_dict(self.student.state_dict(), strict=False)
        for p in self.teacher.parameters():
            p.requires_grad_(False)
        self.centre = [torch.zeros(c["out_dim"]), torch.zeros(c["patch_out_dim"])]
        self.objective = torch.compile(objective) if compiled else objective
        self.optimizer = self.make_optimizer()
        theirs = dict(self.teacher.named_parameters())
        self.pairs = [(theirs[name], p) for name, p in self.student.named_parameters() if name in theirs]

    def make_optimizer(self):
        trained = [(name, p) for name, p in self.student.named_parameters() if p.requires_grad]
        plain = [p for name, p in trained if name.endswith(".bias") or p.dim() == 1]
        decayed = [p for name, p in trained if not (name.endswith(".bias") or p.dim() == 1)]
        groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        options = {"lr": 0.0, "betas": tuple(self.c["betas"]), "eps": self.c["eps"]}
        try:  # one sweep in native code, on processors since 2.4
            return torch.optim.AdamW(groups, fused=True, **options)
        except (RuntimeError, TypeError, AssertionError):
            return torch.optim.AdamW(groups, **options)

    def parameters(self):
        return sum(p.numel() for p in self.student.parameters() if p.requires_grad)

    def step(self, batch, lr, weight_decay, momentum, temperature, freeze_last=False):
        """batch: views, locals or None, mask, rows. Returns the loss and its two parts."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            loss, first, second, cls_mean, patch_mean = self.objective(
                self.c, self.student, self.teacher, self.pruned, *batch, self.centre, temperature)
        loss.backward()
        self.clip()
        if freeze_last:
            for name, p in self.student.head.named_parameters():
                if name.startswith("last_layer"):
                    p.grad = None
        self.optimizer.param_groups[0].update(lr=lr, weight_decay=weight_decay)
        self.optimizer.param_groups[1].update(lr=lr)
        self.optimizer.step()
        with torch.no_grad():
            for kept, new, m in zip(self.centre, (cls_mean, patch_mean), self.c["centre_momentum"]):
                kept.mul_(m).add_(new.float(), alpha=1 - m)
            for theirs, ours in self.pairs:
                theirs.lerp_(ours, 1 - momentum)
        return loss.item(), first.item(), second.item()

    def clip(self):
        limit = self.c["clip_grad"]
        for p in self.student.parameters():
            if p.grad is not None and limit:
                coefficient = limit / (p.grad.norm() + 1e-6)
                if coefficient < 1:
                    p.grad.mul_(coefficient)


# ---- k-NN -------------------------------------------------------------------------------------------------------


def knn(train, labels, queries, k, temperature, classes, chunk=500):
    """Class of each query by its k nearest neighbours: cosine similarity, votes exp(similarity / temperature)."""
    train, queries = F.normalize(train, dim=1), F.normalize(queries, dim=1)
    answers = []
    for part in queries.split(chunk):
        similarity, index = (part @ train.t()).topk(k, dim=1)
        votes = torch.zeros(len(part), classes)
        votes.scatter_add_(1, labels[index], (similarity / temperature).exp())
        answers.append(votes.argmax(dim=1))
    return torch.cat(answers)
