"""Normalisers against numpy: NaN, padding, constants, units."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crosstune.nn.features import RawFeatures
from crosstune.nn.heads import Standardiser
from crosstune.nn.normalise import InputNormaliser, TargetScaler

RNG = np.random.default_rng(0)


def test_statistics_leave_out_missing_values_and_padding() -> None:
    x = RNG.normal(5, 3, (20, 3, 30)).astype(np.float32)
    lengths = RNG.integers(1, 31, 20)
    x[RNG.random(x.shape) < 0.1] = np.nan
    for row, n in enumerate(lengths):
        x[row, :, n:] = 1e6  # must not be seen
    normaliser = InputNormaliser(3).fit(x, lengths)
    for channel in range(3):
        values = np.concatenate([x[row, channel, :n] for row, n in enumerate(lengths)])
        assert float(normaliser.mean[channel]) == pytest.approx(np.nanmean(values), rel=1e-5)
        assert float(normaliser.scale[channel]) == pytest.approx(np.nanstd(values), rel=1e-5)


def test_missing_values_become_the_mean_and_are_announced() -> None:
    x = np.array([[1.0, 10.0], [3.0, np.nan], [5.0, 30.0]], dtype=np.float32)
    z = InputNormaliser(2, missing=True).fit(x)(torch.from_numpy(x)).numpy()
    assert z.shape == (3, 4)
    assert z[1, 1] == 0
    assert np.array_equal(z[:, 2:], [[0, 0], [0, 1], [0, 0]])
    assert np.allclose(z[:, 0], (x[:, 0] - 3) / np.std([1, 3, 5]))


def test_values_that_are_not_finite_never_reach_the_body() -> None:
    x = torch.tensor([[np.inf, 1.0], [-np.inf, np.nan]])
    assert bool(torch.isfinite(InputNormaliser(2)(x)).all())


def test_category_codes_stay_as_they_are() -> None:
    x = RNG.normal(size=(50, 2)).astype(np.float32)
    x[:, 1] = RNG.integers(0, 4, 50)
    z = InputNormaliser(2).fit(x, skip=(1,))(torch.from_numpy(x))
    assert np.array_equal(z[:, 1], x[:, 1])


@pytest.mark.parametrize("value", [0.0, 1e6, -3.3])
def test_constant_and_empty_channels_are_centred_not_divided(value: float) -> None:
    x = np.full((10, 2, 5), value, dtype=np.float32)
    x[:, 1] = np.nan
    z = InputNormaliser(2).fit(x)(torch.from_numpy(x))
    assert torch.equal(z, torch.zeros_like(z))


@pytest.mark.parametrize("shape", [(40, 3), (40, 2, 17), (40, 2, 6, 5)])
def test_targets_return_to_their_own_units(shape: tuple[int, ...]) -> None:
    y = RNG.normal(-4, 9, shape).astype(np.float32)
    scaler = TargetScaler(shape[1]).fit(y)
    z = scaler(torch.from_numpy(y))
    axes = (0, *range(2, len(shape)))
    assert np.allclose(z.numpy().mean(axes), 0, atol=1e-5)
    assert np.allclose(z.numpy().std(axes), 1, atol=1e-5)
    assert np.allclose(scaler.inverse(z), y, atol=1e-4)


def test_values_stay_within_reach_of_the_training_targets() -> None:
    y = np.array([[0.0, 5.0], [2.0, np.nan], [4.0, 6.0]])
    scaler = TargetScaler(2).fit(y)
    asked = torch.tensor([[-1.9, 5.5], [-90.0, 1e9], [7.0, -torch.inf]], dtype=torch.float64)
    assert scaler.within(asked).tolist() == [[-1.9, 5.5], [-2.0, 6.5], [6.0, 4.5]]
    unknown = TargetScaler(1).fit(np.full((3, 1), np.nan))
    assert unknown.within(asked[:, :1]).tolist() == asked[:, :1].tolist()


def test_a_scaler_saved_without_limits_has_none() -> None:
    scaler = TargetScaler(1).fit(np.array([[0.0], [1.0]]))
    old = {name: value for name, value in scaler.state_dict().items() if name in ("mean", "scale")}
    loaded = TargetScaler(1)
    loaded.load_state_dict(old)
    assert loaded.within(torch.tensor([[1e9]])).item() == 1e9
    assert list(old) == ["mean", "scale"]


def test_statistics_of_fields_leave_out_what_is_unknown() -> None:
    y = RNG.normal(-4, 9, (40, 2, 17))
    y[RNG.random(y.shape) < 0.3] = np.nan
    scaler = TargetScaler(2).fit(y)
    assert np.allclose(scaler.mean, np.nanmean(y, axis=(0, 2)), rtol=1e-6)
    assert np.allclose(scaler.scale, np.nanstd(y, axis=(0, 2)), rtol=1e-6)
    assert np.array_equal(np.isnan(scaler(torch.from_numpy(y))), np.isnan(y))


def test_standardiser_silences_constant_features() -> None:
    """A feature without spread must not turn rounding noise, or a shift at prediction time, into a large number."""
    features = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    features[:, 1] = 1234.5678
    features[:, 2] = 1e-9
    standardiser = Standardiser(4)
    standardiser.fit(features)
    z = standardiser(features)
    assert torch.equal(z[:, 1:3], torch.zeros(100, 2))
    assert torch.allclose(z[:, [0, 3]].std(0, correction=0), torch.ones(2), atol=1e-4)
    assert torch.equal(standardiser(features + 1)[:, 1:3], torch.zeros(100, 2))


# -- raw features -------------------------------------------------------------------------------------------------


def test_ragged_series_are_resampled_as_numpy_interpolates() -> None:
    lengths = np.array([1, 2, 7, 64, 90])
    x = torch.randn(5, 2, 90, generator=torch.Generator().manual_seed(0))
    features = RawFeatures((2, 90), ragged=True, samples=64)
    out = features(x, torch.from_numpy(lengths)).numpy()
    assert out.shape == (5, features.width)
    for row, n in enumerate(lengths):
        at = np.linspace(0, n - 1, 64)
        expected = [np.interp(at, np.arange(n), x[row, channel, :n].numpy()) for channel in range(2)]
        assert np.allclose(out[row, :-1], np.concatenate(expected), atol=1e-4)
        assert out[row, -1] == pytest.approx(np.log(n), abs=1e-6)


def test_padding_never_changes_the_raw_features() -> None:
    x = torch.randn(3, 1, 20)
    lengths = torch.tensor([5, 12, 20])
    features = RawFeatures((1, 20), ragged=True)
    padded = torch.cat([x, torch.full((3, 1, 30), 99.0)], dim=-1)
    assert torch.equal(features(x, lengths), features(padded, lengths))


def test_large_signals_are_pooled_below_the_limit() -> None:
    features = RawFeatures((3, 128, 128), limit=4096)
    assert 2048 < features.width <= 4096
    x = torch.ones(2, 3, 128, 128)
    assert torch.equal(features(x), torch.ones(2, features.width))


def test_fields_of_another_resolution_come_to_the_fitted_one() -> None:
    features = RawFeatures((1, 32))
    fine = torch.sin(2 * torch.pi * (torch.arange(64) + 0.5) / 64)[None, None]
    coarse = torch.sin(2 * torch.pi * (torch.arange(32) + 0.5) / 32)
    assert torch.allclose(features(fine)[0], coarse, atol=1e-2)


def test_tables_one_hot_their_categories_and_keep_the_lost_flags() -> None:
    features = RawFeatures((2,), categories={1: 3})
    rows = torch.tensor([[0.5, 2.0, 0.0, 0.0], [0.5, 0.0, 1.0, 1.0], [0.5, 9.0, 0.0, 0.0]])
    out = features(rows)
    assert out.shape[1] == features.width
    expected = [[0.5, 0, 0, 1, 0, 0], [0.5, 0, 0, 0, 1, 1], [0.5, 0, 0, 1, 0, 0]]
    assert torch.equal(out, torch.tensor(expected))
