"""ADGAN: for an image unlike the good ones, a generator of good images finds nothing like it.

Deecke, Vandermeulen, Ruff, Mandt and Kloft, *Image Anomaly Detection with Generative Adversarial Networks*, ECML PKDD
2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from differnet.data.stream import Progress
from differnet.evaluation.baselines.method import fitted
from differnet.evaluation.baselines.pixels import SmallImages, critic_loss, decoder, encoder
from differnet.features.seeds import generator


@dataclass(kw_only=True)
class AdGan(SmallImages):
    """A DCGAN learns to make good images; the score is how near to an image it can come.

    From each of ``starts`` latents z_j, ``steps`` steps of Adam lower ||g_j(z_j) - x||^2 over z_j and, for each start
    by itself, over the weights of the generator g_j. Score: the mean over starts of what is left. Learning rates 0.25
    for latents and 5e-5 for weights, 8 starts, 5 steps; the starts are the same for all images. The GAN is trained with
    the loss of DCGAN: Adam, learning rate 2e-4, betas (0.5, 0.999).
    """

    epochs: int = 100
    width: int = 32
    latent: int = 64
    starts: int = 8
    steps: int = 5
    _generator: nn.Module | None = field(default=None, init=False, repr=False)
    _latents: Tensor | None = field(default=None, init=False, repr=False)

    def _learn(self, images: Tensor, seed: int, progress: Progress) -> None:
        make, critic = decoder(self.side, self.width, self.latent), encoder(self.side, self.width, 1)
        makers = torch.optim.Adam(make.parameters(), lr=2e-4, betas=(0.5, 0.999))
        critics = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
        draws = generator(seed, "latents")
        for batch in self._batches(images, seed, progress):
            made = make(torch.randn(len(batch), self.latent, generator=draws))
            critics.zero_grad()
            critic_loss(critic, batch, made.detach()).backward()
            critics.step()
            makers.zero_grad()
            (-F.logsigmoid(critic(made)).mean()).backward()
            makers.step()
        self._generator = make.eval().requires_grad_(False)
        self._latents = torch.randn(self.starts, self.latent, generator=generator(seed, "starts"))

    def _score(self, image: Tensor) -> float:
        make, latents = fitted(self._generator, self), fitted(self._latents, self)
        weights = {
            name: value.detach().expand(self.starts, *value.shape).clone().requires_grad_()
            for name, value in make.named_parameters()
        }
        latents = latents.clone().requires_grad_()
        buffers = dict(make.named_buffers())
        made_by = vmap(lambda own, latent: functional_call(make, (own, buffers), (latent[None],))[0])
        search = torch.optim.Adam(
            [{"params": [latents], "lr": 0.25}, {"params": list(weights.values()), "lr": 5e-5}]
        )
        for _ in range(self.steps):
            search.zero_grad()
            (made_by(weights, latents) - image).square().sum().backward()
            search.step()
        with torch.no_grad():
            return float((made_by(weights, latents) - image).square().sum(dim=(1, 2, 3)).mean())
