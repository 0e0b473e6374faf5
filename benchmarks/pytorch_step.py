"""The training steps of recipes gan, gan-class and wgan as one would write them in PyTorch, to compare speeds with.

    pip install torch            # into an environment of its own: kcolor does without it

The same networks, batches, losses and optimizers as kcolor's, each step a batch for both networks. Nothing of kcolor is
imported. L and ab are there at once, where kcolor's step converts them from RGB.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from benchmarks import turns

WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)


class Generator(nn.Module):
    """pix2pix's U-Net; with classes, the branch of Saccaro 2023 fused into its bottleneck."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            down(inside, outside, normalize=i > 0)
            for i, (inside, outside) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False))
        )
        inside, self.decoder = WIDTHS[-1] + (512 if classes else 0), nn.ModuleList()
        for i, skip in enumerate(reversed(WIDTHS[:-1])):
            self.decoder.append(
                nn.Sequential(
                    nn.ConvTranspose2d(inside, skip, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(skip),
                    *([nn.Dropout(0.5)] if i < 3 else []),
                    nn.ReLU(),
                )
            )
            inside = 2 * skip
        self.output = nn.Sequential(nn.ConvTranspose2d(inside, 2, 4, 2, 1), nn.Tanh())
        if classes:
            self.scene = nn.Sequential(down(256, 512), down(512, 512), down(512, 512), nn.Flatten())
            self.fusion = nn.Sequential(
                nn.Linear(8192, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 512), nn.LeakyReLU(0.2)
            )
            self.classifier = nn.Sequential(
                *(nn.Linear(8192, 2048), nn.ReLU(), nn.Dropout(0.5)),
                *(nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.5)),
                nn.Linear(1024, classes),
            )
        self.classes = classes

    def forward(self, l: Tensor) -> tuple[Tensor, Tensor | None]:
        """ab, and logits where there are classes."""
        skips = [l]
        for block in self.encoder:
            skips.append(block(skips[-1]))
        x, logits = skips[-1], None
        if self.classes:
            scene = self.scene(skips[3])
            x = torch.cat([x, self.fusion(scene)[:, :, None, None]], 1)
            logits = self.classifier(scene)
        for block, skip in zip(self.decoder, reversed(skips[1:-1]), strict=True):
            x = torch.cat([block(x), skip], 1)
        return self.output(x), logits


def down(inside: int, outside: int, *, normalize: bool = True, stride: int = 2) -> nn.Sequential:
    norm = [nn.BatchNorm2d(outside)] if normalize else []
    return nn.Sequential(nn.Conv2d(inside, outside, 4, stride, 1, bias=False), *norm, nn.LeakyReLU(0.2))


def patchgan(*, normalize: bool) -> nn.Sequential:
    return nn.Sequential(
        down(3, 64, normalize=False),
        down(64, 128, normalize=normalize),
        down(128, 256, normalize=normalize),
        down(256, 512, normalize=normalize, stride=1),
        nn.Conv2d(512, 1, 4, 1, 1),
    )


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def step_of(recipe: str, classes: int, *, batch: int, tuned: bool, precision: str) -> tuple[Callable[[], float], Any]:
    """One training step on a batch in memory, which gives the generator's loss; and how many parameters there are.

    Args:
        recipe: "gan", "gan-class" or "wgan".
        classes: Of the class branch.
        batch: Pictures.
        tuned: Channels last, and Adam of one operation, which PyTorch offers but does not do by itself.
        precision: "float32", or "mixed_bfloat16", which is autocast here.
    """
    torch.manual_seed(0)
    wasserstein = recipe == "wgan"
    generator = Generator(classes if recipe != "gan" else 0)
    critic = patchgan(normalize=not wasserstein)
    layout = torch.channels_last if tuned else torch.contiguous_format
    generator, critic = generator.to(memory_format=layout), critic.to(memory_format=layout)
    rate = 2e-5 if wasserstein else 2e-4
    adams = [torch.optim.Adam(each.parameters(), rate, (0.5, 0.999), fused=tuned) for each in (generator, critic)]
    l = (torch.rand(batch, 1, 256, 256) * 2 - 1).to(memory_format=layout)
    ab = (torch.rand(batch, 2, 256, 256) - 0.5).to(memory_format=layout)
    labels = torch.zeros(batch, dtype=torch.long)

    def cast() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16")

    def judge(colours: Tensor) -> Tensor:
        with cast():
            return critic(torch.cat([l, colours], 1)).float()

    def penalty(fake: Tensor) -> Tensor:
        mixing = torch.rand(batch, 1, 1, 1)
        between = (mixing * ab + (1 - mixing) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def step() -> float:
        with cast():
            fake, logits = generator(l)
        fake = fake.float()

        for each in critic.parameters():
            each.requires_grad_(True)
        adams[1].zero_grad()
        right, wrong = judge(ab), judge(fake.detach())
        if wasserstein:
            loss = wrong.mean() - right.mean() + 10 * penalty(fake.detach())
        else:
            loss = 0.5 * (_cross_entropy(right, 0.9) + _cross_entropy(wrong, 0.0))
        loss.backward()
        adams[1].step()

        for each in critic.parameters():
            each.requires_grad_(False)
        adams[0].zero_grad()
        scores = judge(fake)
        if wasserstein:
            loss = -0.1 * scores.mean() + f.mse_loss(fake, ab)
        else:
            loss = _cross_entropy(scores, 1.0) + 100 * f.l1_loss(fake, ab)
        if logits is not None:
            loss = loss + 0.003 * f.cross_entropy(logits.float(), labels)
        loss.backward()
        adams[0].step()
        return loss.item()

    return step, {"generator": parameters(generator), "critic": parameters(critic)}


def _cross_entropy(scores: Tensor, target: float) -> Tensor:
    return f.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


def work(recipe: str, precision: str, way: str, classes: str, batch: str) -> None:
    """In a worker (`benchmarks.turns`): time steps as they are asked for."""
    step, sizes = step_of(recipe, int(classes), batch=int(batch), tuned=way == "tuned", precision=precision)
    step()

    def answer() -> dict[str, float]:
        started = time.perf_counter()
        step()
        return {"seconds": time.perf_counter() - started}

    versions = {"torch": torch.__version__, "python": sys.version.split()[0], "threads": torch.get_num_threads()}
    turns.serve({"parameters": sizes, **versions}, answer)
