#!/usr/bin/env python3
"""Write logits.inc: PyTorch's logits for seeded weights and seeded images.

    ./make_golden.py > logits.inc        (Debian 12's python3-torch and python3-torchvision)

Every weight and pixel is a hash of its tensor's name and its own index, computed here and in
tests/support_model.c by the same formula, so that neither weights nor images have to be kept.
tests/golden/README.md describes both files.

SPDX-License-Identifier: MIT
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

IMAGES = 3


# ---- seeded numbers ------------------------------------------------------------------------------

def uniform(name, index):
    """Numbers `index` of the splitmix64 stream seeded with FNV-1a(name): 24 bits as 0 <= u < 1."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24


def weight(name, shape, residual, last_bn):
    """One tensor of a state dict, float32."""
    u = uniform(name, np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)).reshape(shape)
    layer, field = name.rsplit(".", 1)
    fan_in = float(np.prod(shape[1:]))
    if len(shape) == 4:
        value = (2 * u - 1) * np.sqrt(6 / fan_in)
    elif len(shape) == 2:
        value = (2 * u - 1) * np.sqrt(3 / fan_in)
    elif field == "weight" and last_bn and layer.startswith("layer") and layer.endswith(last_bn):
        value = residual * (0.5 + u)
    elif field in ("weight", "running_var"):
        value = 0.5 + u
    else:
        value = 0.1 * (2 * u - 1)
    return value.astype(np.float32)


def image(index, size):
    """[3][size][size]: fine noise on patches of 8x8 pixels."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(size), np.arange(size), indexing="ij")
    fine = uniform(f"image{index}", ((c * size + y) * size + x).astype(np.uint64))
    coarse = uniform(f"image{index}.coarse", ((c * 64 + y // 8) * 64 + x // 8).astype(np.uint64))
    return (0.5 * (2 * fine - 1) + 1.5 * (2 * coarse - 1)).astype(np.float32)


# ---- the CIFAR family, in torchvision's spelling ----------------------------------------------------

class CifarBlock(nn.Module):
    def __init__(self, c_in, c_out, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.changes = stride != 1 or c_in != c_out
        self.stride, self.added = stride, c_out - c_in
        if self.changes and projection:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False),
                                            nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.changes:  # option A
            x = x[:, :, ::self.stride, ::self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return F.relu(x + y)


class CifarResNet(nn.Module):
    def __init__(self, depths, planes, projection, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, planes, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        c_in = planes
        self.stages = len(depths)
        for stage, depth in enumerate(depths):
            blocks = []
            for b in range(depth):
                c_out = planes << stage
                blocks.append(CifarBlock(c_in, c_out, 2 if stage and b == 0 else 1, projection))
                c_in = c_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c_in, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


# ---- rows -------------------------------------------------------------------------------------------

def tv(name):
    return lambda: getattr(torchvision.models, name)(weights=None)


def cifar(blocks, projection=False):
    return lambda: CifarResNet([blocks] * 3, 16, projection)


def stride_in_1x1():
    """The ResNet-50 of the paper: a bottleneck's stride is in its first 1x1."""
    model = torchvision.models.resnet50(weights=None)
    for module in model.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return model


# name@size, model, every how many-th logit is kept, factor of the last BN's gamma, dtype of weights
ROWS = [
    ("resnet18@224", tv("resnet18"), 1, 0.2, None),
    ("resnet50@224", tv("resnet50"), 1, 0.2, None),
    ("resnext50_32x4d@224", tv("resnext50_32x4d"), 10, 0.2, None),
    ("resnet18@75", tv("resnet18"), 10, 0.2, None),
    ("resnet34@96", tv("resnet34"), 10, 0.2, None),
    ("resnet50@96", tv("resnet50"), 10, 0.2, None),
    ("resnet50_stride_in_1x1@96", stride_in_1x1, 10, 0.2, None),
    ("resnet101@96", tv("resnet101"), 10, 0.2, None),
    ("resnet152@96", tv("resnet152"), 10, 0.2, None),
    ("resnext101_32x8d@96", tv("resnext101_32x8d"), 10, 0.2, None),
    ("wide_resnet50_2@96", tv("wide_resnet50_2"), 10, 0.2, None),
    ("wide_resnet101_2@96", tv("wide_resnet101_2"), 10, 0.2, None),
    ("cifar_resnet20@32", cifar(3), 1, 0.2, None),
    ("cifar_resnet20@37", cifar(3), 1, 0.2, None),
    ("cifar_resnet20_f16@32", cifar(3), 1, 0.2, torch.float16),
    ("cifar_resnet20_bf16@32", cifar(3), 1, 0.2, torch.bfloat16),
    ("cifar_resnet20_option_b@32", cifar(3, True), 1, 0.2, None),
    ("cifar_resnet32@32", cifar(5), 1, 0.2, None),
    ("cifar_resnet44@32", cifar(7), 1, 0.2, None),
    ("cifar_resnet56@32", cifar(9), 1, 0.2, None),
    ("cifar_resnet110@32", cifar(18), 1, 0.2, None),
    ("cifar_resnet1202@32", cifar(200), 1, 0.02, None),
    ("cifar_resnet18@32", lambda: CifarResNet([2] * 4, 64, True), 1, 0.2, None),
]


def seed_model(model, residual, dtype):
    """Fills the model; returns the sum of the float32 bit patterns of its weights, modulo 2^64."""
    last_bn = ".bn3" if any(k.endswith(".bn3.weight") for k in model.state_dict()) else ".bn2"
    checksum = 0
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        value = weight(name, tuple(tensor.shape), residual, last_bn)
        checksum += int(value.view(np.uint32).astype(np.uint64).sum())
        value = torch.from_numpy(value)
        tensor.copy_(value.to(dtype).float() if dtype else value)
    return checksum


@torch.no_grad()
def main():
    torch.set_flush_denormal(False)
    print(f"/* PyTorch's logits for seeded weights and images: rows of struct golden.\n"
          f" *\n"
          f" * Generated by tests/golden/make_golden.py with torch {torch.__version__} and\n"
          f" * torchvision {torchvision.__version__}; do not edit. SPDX-License-Identifier: MIT */")
    for name, build, step, residual, dtype in ROWS:
        size = int(name.split("@")[1])
        model = build().eval()
        checksum = seed_model(model, residual, dtype)
        parameters = sum(p.numel() for p in model.parameters())
        images = torch.from_numpy(np.stack([image(i, size) for i in range(IMAGES)]))
        logits = model(images)
        exact = model.double()(images.double())
        largest = logits.abs().max().item()
        noise = (logits - exact).abs().max().item() / largest
        apart = (logits[0] - logits[1]).abs().max().item() / largest
        print(f"{name}: {parameters} parameters, max |logit| {largest:.4g}, float32 against "
              f"float64 {noise:.1e}, images differ by {apart:.2g}", file=sys.stderr, flush=True)
        rows = [f"{v:.9g}" for image_logits in logits for v in image_logits[::step].tolist()]
        rows = [v if any(c in v for c in ".e") else v + ".0" for v in rows]
        print(f'{{"{name}", {size}, {logits.shape[1]}, {step}, {parameters}, {checksum}u, '
              f"{largest:.9g}f, {noise:.1e},\n (const float[]){{")
        for i in range(0, len(rows), 8):
            print("  " + ", ".join(v + "f" for v in rows[i:i + 8]) + ",")
        print(" }},")


if __name__ == "__main__":
    main()
