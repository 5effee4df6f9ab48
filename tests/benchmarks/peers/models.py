"""The models of `blockwise bench` in plain PyTorch, as a nanoGPT-style program has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    name: str
    width: int
    layers: int
    heads: int
    vocabulary: int
    length: int
    sequences: int


# experiments/bench/bench_models.cpp
SIZES = (
    Size("0.6M", 96, 4, 4, 1024, 128, 8),
    Size("12M", 384, 6, 6, 4096, 128, 8),
    Size("30M", 384, 6, 6, 50304, 256, 8),
)


class Layer(nn.Module):
    def __init__(self, size: Size, fused_attention: bool) -> None:
        super().__init__()
        width = size.width
        self.heads, self.fused = size.heads, fused_attention
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            hidden = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            mixed = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, size: Size, fused_attention: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.length, size.width)
        self.layers = nn.ModuleList(Layer(size, fused_attention) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.tokens(x) + self.positions.weight[: x.shape[1]]
        for layer in self.layers:
            h = layer(h)
        logits = F.linear(self.norm(h), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())


def batch_of(size: Size) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shape = (size.sequences, size.length)
    return (
        torch.randint(size.vocabulary, shape, generator=generator),
        torch.randint(size.vocabulary, shape, generator=generator),
    )
