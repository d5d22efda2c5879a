"""Scores and likelihoods against hand computation, SciPy and the literal reference."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import multivariate_normal

from differnet.flow import score
from support import reference

Z = torch.tensor([[[1.0, 2.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)


def test_by_hand():
    assert score.latent_norm(Z).tolist() == [[2.5, 2.0], [4.5, 0.5]]
    assert score.image_score(Z).tolist() == [2.25, 2.5]
    log_det = torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert score.negative_log_likelihood(Z[0], log_det).tolist() == [1.5, 3.0]
    assert float(score.training_loss(Z[0], log_det, 2)) == (1.5 + 3.0) / 2 / 2


def test_against_the_literal_reference():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5, 4, 7, generator=generator, dtype=torch.float64)
    wanted = [reference.score(latents) for latents in z.tolist()]
    np.testing.assert_allclose(score.image_score(z), wanted, rtol=1e-12)
    log_det = torch.randn(4, generator=generator, dtype=torch.float64)
    losses = [reference.loss(v, d) for v, d in zip(z[0].tolist(), log_det.tolist(), strict=True)]
    np.testing.assert_allclose(score.negative_log_likelihood(z[0], log_det), losses, rtol=1e-12)


def test_the_latent_norm_is_the_gaussian_up_to_its_constant():
    density = multivariate_normal(mean=np.zeros(2))
    constant = math.log(2 * math.pi)
    np.testing.assert_allclose(score.latent_norm(Z[0]), -density.logpdf(Z[0].numpy()) - constant)
