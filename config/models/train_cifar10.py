#!/usr/bin/env python3
"""Train resnetd's default model: ResNet-20 (He et al. 2015, section 4.2) on CIFAR-10.

    ./train_cifar10.py --data DIR --out cifar10-resnet20.safetensors
    ./train_cifar10.py --golden cifar10-resnet20.safetensors        only its golden logits, anew

DIR holds one folder per class (airplane … truck) of 32x32 images; class order is alphabetical.
Needs Debian 12's python3-torch, python3-numpy and python3-pil. About an hour on two cores with
AVX-512 BF16; a checkpoint is written after every epoch and picked up again after an interruption.

Recipe
  network      ResNet-20: 3x3 stem, three stages of 16/32/64 channels with three basic blocks each,
               option A shortcuts (no parameters), global average pooling, one linear layer
  split        every tenth image of a class, in file order, is held out (5,000 of 50,000)
  augment      random horizontal flip; random crop after reflecting 4 pixels; 30 % of the images are
               re-encoded as JPEG (quality 50-95), half of these after being enlarged to 48-256
               pixels and back, because users send photographs and not CIFAR thumbnails
  optimiser    SGD, Nesterov momentum 0.9, weight decay 5e-4 (not on BN and biases), batch 128,
               one-cycle learning rate up to 0.2; cross-entropy; bfloat16 autocast
  weights      exponential moving average (0.998 a step), kept in fp32
  seed         1 (weights) and epoch number (shuffling, augmentation): a rerun with the same torch,
               threads and CPU gives the same file
"""
import argparse
import io
import json
import os
import pathlib
import struct
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.stride, self.pad = stride, (c_out - c_in) // 2

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride != 1:  # option A: subsample, zero channels half before and half after
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self, blocks=3, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        c_in = 16
        for stage, (c_out, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
            layers = [BasicBlock(c_in if b == 0 else c_out, c_out, stride if b == 0 else 1)
                      for b in range(blocks)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            c_in = c_out
        self.fc = nn.Linear(64, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def load_images(root):
    """uint8 images [n][32][32][3], labels [n], held-out mask [n], class names."""
    names = sorted(p.name for p in root.iterdir() if p.is_dir())
    pixels, labels, held = [], [], []
    for index, name in enumerate(names):
        for k, path in enumerate(sorted((root / name).iterdir())):
            pixels.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(index)
            held.append(k % 10 == 0)
    return np.stack(pixels), np.array(labels), np.array(held), names


def reencode(pixels, rng):
    """One image as if it had been through somebody's photo library."""
    image = Image.fromarray(pixels)
    side = image.size
    if rng.random() < 0.5:
        edge = int(rng.integers(48, 257))
        image = image.resize((edge, edge), Image.BICUBIC if rng.random() < 0.5 else Image.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
    image = Image.open(buffer)
    return np.asarray(image if image.size == side else image.resize(side, Image.BILINEAR))


def augment(batch, rng):
    """uint8 [n][32][32][3] -> uint8 of the same shape: re-encode, flip, crop."""
    batch = batch.copy()
    for i in np.flatnonzero(rng.random(len(batch)) < 0.3):
        batch[i] = reencode(batch[i], rng)
    flip = rng.random(len(batch)) < 0.5
    batch[flip] = batch[flip, :, ::-1]
    padded = np.pad(batch, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    shift = rng.integers(0, 9, (len(batch), 2))
    return np.stack([padded[i, y:y + 32, x:x + 32] for i, (y, x) in enumerate(shift)])


def to_tensor(batch):
    x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float().div_(255)
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(model, pixels, labels):
    model.eval()
    right = sum(int((model(to_tensor(pixels[i:i + 500])).argmax(1).numpy()
                     == labels[i:i + 500]).sum()) for i in range(0, len(pixels), 500))
    return right / len(pixels)


def save_safetensors(path, state, metadata):
    """https://github.com/huggingface/safetensors#format, tensors F32, in name order."""
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(k for k in state if not k.endswith("num_batches_tracked")):
        blob = state[name].detach().float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(state[name].shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def golden(model):
    """The logits of the engine's golden input (rn_golden_input), in double precision."""
    k = np.arange(3 * 32 * 32, dtype=np.uint64)
    x = ((k * 2654435761 % 2**32) >> 8).astype(np.float64) / 2**23 - 1
    with torch.no_grad():
        logits = model.double().eval()(torch.from_numpy(x).reshape(1, 3, 32, 32))[0]
    return json.dumps({"logits": [float(f"{v:.9g}") for v in logits.tolist()]})


def add_golden(path):
    """Puts golden logits into a file that this script wrote."""
    data = path.read_bytes()
    n_header = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n_header])
    metadata = header.pop("__metadata__")
    state = {}
    for name, tensor in header.items():
        begin, end = (8 + n_header + offset for offset in tensor["data_offsets"])
        values = np.frombuffer(data[begin:end], np.float32).reshape(tensor["shape"])
        state[name] = torch.from_numpy(values.copy())
    model = ResNet20()
    model.load_state_dict(state, strict=False)
    metadata["resnetd.golden"] = golden(model)
    save_safetensors(path, state, metadata)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--data", type=pathlib.Path)
    ap.add_argument("--out", type=pathlib.Path)
    ap.add_argument("--golden", type=pathlib.Path)
    ap.add_argument("--epochs", type=int, default=30)
    ap.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("cifar10.ckpt"))
    args = ap.parse_args()
    if args.golden:
        add_golden(args.golden)
        return
    if not args.data or not args.out:
        ap.error("--data and --out are needed, or --golden")

    torch.manual_seed(1)
    pixels, labels, held, names = load_images(args.data)
    train, val = np.flatnonzero(~held), np.flatnonzero(held)
    print(f"{len(train)} training images, {len(val)} held out, classes: {' '.join(names)}")

    batch = 128
    steps = len(train) // batch
    model = ResNet20().to(memory_format=torch.channels_last)
    average = ResNet20().to(memory_format=torch.channels_last)
    average.load_state_dict(model.state_dict())
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.SGD([{"params": decay, "weight_decay": 5e-4},
                                 {"params": plain, "weight_decay": 0.0}],
                                lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.2, total_steps=steps * args.epochs, pct_start=0.2,
        cycle_momentum=False, div_factor=10, final_div_factor=1000)
    first = 0
    if args.checkpoint.exists():
        saved = torch.load(args.checkpoint)
        for part, key in ((model, "model"), (average, "average"), (optimiser, "optimiser"),
                          (schedule, "schedule")):
            part.load_state_dict(saved[key])
        first = saved["epoch"] + 1

    for epoch in range(first, args.epochs):
        start, rng = time.time(), np.random.default_rng(epoch)
        order = rng.permutation(train)
        model.train()
        for s in range(steps):
            pick = order[s * batch:(s + 1) * batch]
            x, y = to_tensor(augment(pixels[pick], rng)), torch.from_numpy(labels[pick])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = model(x)
            loss = F.cross_entropy(out.float(), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for a, b in zip(average.state_dict().values(), model.state_dict().values()):
                    if a.is_floating_point():
                        a.lerp_(b, 0.002)
        acc = accuracy(average, pixels[val], labels[val])
        print(f"epoch {epoch + 1}/{args.epochs} loss {loss.item():.3f} held-out {acc:.4f} "
              f"({time.time() - start:.0f} s)", flush=True)
        partial = args.checkpoint.with_suffix(".tmp")
        torch.save({"model": model.state_dict(), "average": average.state_dict(),
                    "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(),
                    "epoch": epoch}, partial)
        os.replace(partial, args.checkpoint)

    acc = accuracy(average, pixels[val], labels[val])
    save_safetensors(args.out, average.state_dict(), {
        "resnetd.name": "cifar10-resnet20",
        "resnetd.version": "1",
        "resnetd.labels": "\n".join(names),
        "resnetd.preprocess": json.dumps({"resize": 32, "crop": 32, "interpolation": "bilinear",
                                          "mean": MEAN, "std": STD}),
        "resnetd.source": "trained by config/models/train_cifar10.py on CIFAR-10 as JPEG files "
                          "(quality 75), 45,000 of the 50,000 training images",
        "resnetd.accuracy": f"{100 * acc:.2f} % top-1 on 5,000 held-out CIFAR-10 JPEG files",
        "resnetd.golden": golden(average),
    })
    print(f"{args.out}: held-out accuracy {acc:.4f}")


if __name__ == "__main__":
    main()
