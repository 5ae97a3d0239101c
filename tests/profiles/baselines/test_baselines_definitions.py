"""Each replay and regularisation baseline against its published definition, on cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from baseline_networks import cross_entropy, linear_network, one_batch, softmax, task_of

from lightcl_profiler.baselines.buffer import Buffer
from lightcl_profiler.baselines.contract import Settings, masked_cross_entropy
from lightcl_profiler.baselines.derpp import Derpp
from lightcl_profiler.baselines.er import Er
from lightcl_profiler.baselines.ewc import Ewc
from lightcl_profiler.baselines.fdr import Fdr
from lightcl_profiler.baselines.sgd import Sgd

SETTINGS = Settings(learning_rate=0.1, buffer_samples=2)
W = np.array([[0.3, -0.2], [0.1, 0.4]])
NEW, OLD = [[1.0, 2.0]], [[-1.0, 1.0]]


def weight_of(method: Sgd | Er | Derpp | Fdr | Ewc) -> np.ndarray:
    return method.network[1].weight.detach().numpy().astype(np.float64)  # type: ignore[index]


def test_sgd_takes_one_plain_step() -> None:
    """Zero weights, x = (1, 2), class 0: p = (1/2, 1/2), loss ln 2, gradient (p - y) x^T."""
    method = Sgd(linear_network(), SETTINGS)
    batch = one_batch(NEW, [0])
    assert method.step(task_of(batch), batch) == pytest.approx(math.log(2))
    np.testing.assert_allclose(weight_of(method), [[0.05, 0.1], [-0.05, -0.1]], rtol=1e-6)


def test_er_steps_on_the_mean_over_new_and_remembered_images() -> None:
    method = Er(linear_network(W), SETTINGS)
    method.buffer.offer(torch.tensor(OLD)[:, :, None, None], torch.tensor([1]))
    batch = one_batch(NEW, [0])
    loss, gradient = cross_entropy(np.array(NEW + OLD), [0, 1], W)
    assert method.step(task_of(batch), batch) == pytest.approx(loss)
    np.testing.assert_allclose(weight_of(method), W - 0.1 * gradient, rtol=1e-5)
    assert len(method.buffer) == 2, "the new image was offered to the reservoir"


def test_derpp_adds_distance_of_logits_and_labels() -> None:
    """CE(new) + alpha MSE(h(x'), z') + beta CE(h(x''), y''); with one image in the buffer both draws are it."""
    method = Derpp(linear_network(W), SETTINGS, alpha=0.7, beta=0.3)
    stored = np.array([[0.5, -0.5]])
    method.buffer.offer(torch.tensor(OLD)[:, :, None, None], torch.tensor([1]), torch.tensor(stored).float())
    batch = one_batch(NEW, [0])
    new, gradient = cross_entropy(np.array(NEW), [0], W)
    old, old_gradient = cross_entropy(np.array(OLD), [1], W)
    moved = np.array(OLD) @ W.T - stored
    expected = new + 0.7 * float((moved**2).mean()) + 0.3 * old
    assert method.step(task_of(batch), batch) == pytest.approx(expected)
    total = gradient + 0.7 * (2 * moved / moved.size).T @ np.array(OLD) + 0.3 * old_gradient
    np.testing.assert_allclose(weight_of(method), W - 0.1 * total, rtol=1e-5)
    kept = method.buffer.all()
    assert kept.logits is not None
    np.testing.assert_allclose(kept.logits[1].numpy(), (np.array(NEW) @ W.T)[0], rtol=1e-6)


def test_fdr_adds_the_l2_distance_of_answers() -> None:
    """Stored logits (0, 0) are answers (1/2, 1/2)."""
    method = Fdr(linear_network(W), SETTINGS, alpha=0.4)
    method.buffer.offer(torch.tensor(OLD)[:, :, None, None], torch.tensor([1]), torch.zeros(1, 2))
    batch = one_batch(NEW, [0])
    loss, _ = cross_entropy(np.array(NEW), [0], W)
    p = softmax(np.array(OLD) @ W.T)[0]
    distance = math.sqrt((p[0] - 0.5) ** 2 + (p[1] - 0.5) ** 2)
    assert float(method.distance().detach()) == pytest.approx(distance, rel=1e-5)
    assert method.step(task_of(batch), batch) == pytest.approx(loss + 0.4 * distance, rel=1e-5)


def test_fdr_shares_its_buffer_among_the_tasks() -> None:
    method = Fdr(linear_network(W), Settings(buffer_samples=6))
    for number, value in enumerate((1.0, 2.0, 3.0)):
        method.end_task(task_of(one_batch([[value, value]] * 8, [0] * 8), number))
        counts = np.unique(method.buffer.all().images[:, 0, 0, 0].numpy(), return_counts=True)[1]
        assert counts.tolist() == [6 // (number + 1)] * (number + 1)
    assert len(method.buffer) == 6


def test_ewc_holds_what_mattered() -> None:
    """The Fisher diagonal of one sample is its squared gradient; the penalty is lambda / 2 F (theta - theta*)^2."""
    method = Ewc(linear_network(W), SETTINGS, strength=3.0, decay=0.5)
    first = one_batch(OLD, [1])
    method.end_task(task_of(first))
    _, gradient = cross_entropy(np.array(OLD), [1], W)
    np.testing.assert_allclose(method.fisher[0].numpy(), gradient**2, rtol=1e-5)
    with torch.no_grad():
        method.network[1].weight += 0.2  # type: ignore[index]
    moved = W + 0.2
    batch = one_batch(NEW, [0])
    loss, push = cross_entropy(np.array(NEW), [0], moved)
    penalty = 1.5 * float((gradient**2 * 0.04).sum())
    assert method.step(task_of(batch), batch) == pytest.approx(loss + penalty, rel=1e-5)
    np.testing.assert_allclose(weight_of(method), moved - 0.1 * (push + 3.0 * gradient**2 * 0.2), rtol=1e-4)


def test_ewc_adds_the_next_task_to_the_decayed_information() -> None:
    method = Ewc(linear_network(W), SETTINGS, decay=0.5, fisher_samples=2)
    x, labels = OLD + NEW, [1, 0]
    for number in range(2):
        method.end_task(task_of(one_batch(x, labels), number))
    each = [cross_entropy(np.array([row]), [label], W)[1] ** 2 for row, label in zip(x, labels, strict=True)]
    np.testing.assert_allclose(method.fisher[0].numpy(), 1.5 * np.mean(each, axis=0), rtol=1e-5)


def test_a_reservoir_keeps_every_image_with_the_same_probability() -> None:
    kept = np.zeros(20)
    for seed in range(600):
        buffer = Buffer(5, seed)
        for start in range(0, 20, 4):
            rows = torch.arange(start, start + 4)
            buffer.offer(rows[:, None, None, None].float(), rows)
        assert len(buffer) == 5
        kept[buffer.all().labels.numpy()] += 1
    assert np.abs(kept / 600 - 5 / 20).max() < 0.07  # four standard deviations of 600 throws


def test_masked_cross_entropy_looks_at_some_classes_only() -> None:
    logits = torch.tensor([[1.0, 9.0, 2.0, 3.0]])
    expected = -math.log(math.exp(3) / (math.exp(1) + math.exp(3)))
    assert float(masked_cross_entropy(logits, torch.tensor([3]), (0, 3))) == pytest.approx(expected)
