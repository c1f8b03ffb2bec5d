"""The Fourier neural operator: layers that are known linear operators, answers that do not depend on the grid."""

import math

import numpy as np
import pytest
import torch

from crosstune.nn.fourier import FourierOperator, SpectralConvolution


def wave_numbers(modes):
    """Arrays of k per axis in the order of the weights."""
    full = [np.concatenate([np.arange(m), np.arange(1 - m, 0)]) for m in modes[:-1]]
    return np.meshgrid(*full, np.arange(modes[-1]), indexing="ij")


def operator(modes, multiplier, channels=1):
    """A layer whose weight is multiplier(k_1, ...) on the diagonal of the channels, in double precision."""
    layer = SpectralConvolution(channels, channels, modes).double()
    values = torch.from_numpy(np.asarray(multiplier(*wave_numbers(modes)), dtype=np.complex128))
    with torch.no_grad():
        layer.weight.copy_(torch.view_as_real(values[..., None, None] * torch.eye(channels)))
    return layer


def positions(sizes):
    return np.meshgrid(*((np.arange(n) + 0.5) / n for n in sizes), indexing="ij")


def waves(sizes, shift=0.0, decay=0.0, seed=0, channels=1):
    """Sums of a few waves |k| <= 5 on the unit torus: shifted, or after the heat equation with nu t = decay."""
    rng = np.random.default_rng(seed)
    x = positions(sizes)
    out = np.zeros((3, channels, *sizes))
    for b, c in np.ndindex(3, channels):
        for _ in range(4):
            k = rng.integers(-5, 6, size=len(sizes))
            phase = rng.uniform(0, 2 * np.pi)
            angle = sum(2 * np.pi * ki * (xi - shift) for ki, xi in zip(k, x)) + phase
            out[b, c] += rng.normal() * np.exp(-decay * (2 * np.pi) ** 2 * (k**2).sum()) * np.cos(angle)
    return torch.from_numpy(out)


@pytest.mark.parametrize("sizes", [(64,), (33,), (24, 32), (27, 15)])
def test_weights_of_the_heat_kernel_solve_the_heat_equation(sizes):
    layer = operator((7,) * len(sizes), lambda *k: np.exp(-0.01 * (2 * np.pi) ** 2 * sum(i**2 for i in k)))
    got = layer(waves(sizes, channels=1))
    torch.testing.assert_close(got, waves(sizes, decay=0.01), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(64,), (33,), (24, 32), (27, 15)])
def test_weights_of_a_translation_translate(sizes):
    layer = operator((7,) * len(sizes), lambda *k: np.exp(-2j * np.pi * 0.137 * sum(k)), channels=2)
    torch.testing.assert_close(layer(waves(sizes, channels=2)), waves(sizes, 0.137, channels=2), rtol=0, atol=1e-12)


def test_channels_are_mixed_by_the_matrix_of_their_wave_number():
    layer = SpectralConvolution(2, 3, (4,))
    x = torch.randn(5, 2, 16)
    coefficients = np.fft.rfft(x.numpy().astype(np.float64), axis=2)
    expected = np.zeros((5, 3, 9), dtype=complex)
    weight = torch.view_as_complex(layer.weight.detach()).numpy()
    for k in range(4):
        expected[:, :, k] = coefficients[:, :, k] @ weight[k]
    got = layer(x).detach().numpy()
    np.testing.assert_allclose(got, np.fft.irfft(expected, n=16, axis=2), atol=1e-5)


@pytest.mark.parametrize(("coarse", "fine"), [((16,), (96,)), ((17,), (64,)), ((16, 13), (48, 64))])
def test_a_layer_is_the_same_operator_on_every_grid(coarse, fine):
    """Weights drawn at random; waves that the coarse grid can carry."""
    torch.manual_seed(0)
    layer = SpectralConvolution(1, 1, (6,) * len(coarse)).double()
    on_coarse, on_fine = layer(waves(coarse)), layer(waves(fine))
    for axis, (few, many) in enumerate(zip(coarse, fine), start=2):
        on_coarse = onto(on_coarse, many, axis)
        assert on_coarse.shape[axis] == many > few
    torch.testing.assert_close(on_coarse, on_fine, rtol=0, atol=1e-12)


def onto(values, size, axis):
    """Trigonometric interpolation between cell centres of two grids, by the definition of the series."""
    n = values.shape[axis]
    k = np.arange(-((n - 1) // 2), (n - 1) // 2 + 1)
    there, here = (np.arange(n) + 0.5) / n, (np.arange(size) + 0.5) / size
    matrix = np.exp(2j * np.pi * np.outer(here, k)) @ np.exp(-2j * np.pi * np.outer(k, there)) / n
    return torch.moveaxis(torch.moveaxis(values, axis, -1) @ torch.from_numpy(matrix.real).T, -1, axis)


@pytest.mark.parametrize("sizes", [(16,), (12, 14)])
def test_a_whole_network_converges_as_the_grid_is_refined(sizes):
    """Its activations make waves that a grid cannot carry, so that answers agree up to what is aliased, which falls."""
    torch.manual_seed(0)
    modes = (5,) * len(sizes)
    net = FourierOperator(1, 2, width=8, modes=modes, blocks=2).double()
    inputs = [waves(tuple(3**i * n for n in sizes)) for i in range(3)]  # the middle of a cell stays one when cut in 3
    with torch.no_grad():
        first, second, third = (net(x) for x in inputs)
    centre = (..., *(slice(1, None, 3) for _ in sizes))
    on_first, on_second = second[centre], third[centre]
    errors = [float((first - on_first).abs().max()), float((second - on_second).abs().max())]
    assert errors[0] < 0.15 * float(third.std())
    assert errors[1] < errors[0] / 5


def test_grids_coarser_than_the_modes_are_allowed_and_the_highest_wave_is_left_out():
    layer = operator((9,), lambda k: np.ones_like(k))
    alternating = torch.tensor([[[1.0, -1.0] * 4]], dtype=torch.double)
    assert layer(alternating).abs().max() < 1e-12
    rest = torch.from_numpy(np.cos(2 * np.pi * 3 * np.arange(8) / 8))[None, None]
    torch.testing.assert_close(layer(rest), rest)
    assert FourierOperator(1, 1, width=4, modes=(8, 8))(torch.randn(2, 1, 1, 3)).shape == (2, 1, 1, 3)


def test_positions_break_the_symmetry_and_padding_the_period():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 32)
    periodic = FourierOperator(1, 1, width=8, modes=(6,))
    with torch.no_grad():
        assert not torch.allclose(periodic(x.roll(8, 2)), periodic(x).roll(8, 2), atol=1e-3)
        periodic.lift.weight[:, 1] = 0  # blind to positions: every layer commutes with shifts
        torch.testing.assert_close(periodic(x.roll(8, 2)), periodic(x).roll(8, 2), rtol=0, atol=1e-5)
        periodic.padding = 0.25
        assert not torch.allclose(periodic(x.roll(8, 2)), periodic(x).roll(8, 2), atol=1e-3)


def test_gradients_reach_every_weight():
    net = FourierOperator(2, 3, width=4, modes=(3, 3))
    net(torch.randn(2, 2, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("modes", [(), (0,), (2, 2, 2)])
def test_other_numbers_of_axes_are_refused(modes):
    with pytest.raises(ValueError, match="one or two positive numbers"):
        SpectralConvolution(1, 1, modes)


@pytest.mark.parametrize("sizes", [(40,), (33,), (24, 20)])
def test_the_layer_equals_that_of_neuraloperator(sizes):
    """The same coefficients, laid out its way: wave numbers ascending from the most negative, channels first."""
    pytest.importorskip("neuralop")
    from neuralop.layers.spectral_convolution import SpectralConv

    modes = (6,) * len(sizes)
    ours = SpectralConvolution(2, 3, modes)
    reference = SpectralConv(2, 3, n_modes=tuple(2 * m - 1 for m in modes), bias=False)
    weight = torch.view_as_complex(ours.weight.detach())
    for axis, m in enumerate(modes[:-1]):
        weight = torch.roll(weight, m - 1, dims=axis)
    weight = weight.movedim((-2, -1), (0, 1))
    with torch.no_grad():
        assert tuple(reference.weight.shape) == tuple(weight.shape)
        reference.weight.tensor.copy_(weight)
        x = torch.randn(4, 2, *sizes)
        torch.testing.assert_close(ours(x), reference(x), rtol=0, atol=1e-5 * math.prod(sizes) ** 0.5)
