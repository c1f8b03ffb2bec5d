"""Devices by name; and no tensor of a model is made on another device than its weights.

The device "meta" stands for any device that is not the CPU: it computes no values, but refuses, as a GPU would, to mix
its tensors with those of the CPU.
"""

from __future__ import annotations

import pytest
import torch

from crosstune.assembly import build_model, plan_model
from crosstune.backbones import load_backbone
from crosstune.backbones.load import families
from crosstune.data import from_arrays
from crosstune.errors import UsageError
from crosstune.nn.devices import resolve_device
from crosstune.nn.losses import make_objective
from crosstune.nn.model import CrossModalModel
from crosstune.records import Dataset


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_names_without_a_gpu(no_gpu: None) -> None:
    assert resolve_device() == resolve_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UsageError, match=f"--device {name}: this torch finds") as caught:
            resolve_device(name)
        assert "--device auto" in str(caught.value)


def test_names_with_two_gpus(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device() == resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="cuda:2: this torch finds 2 CUDA devices") as caught:
        resolve_device("cuda:2")
    assert "cuda:0 to cuda:1" in str(caught.value)
    monkeypatch.setenv("LOCAL_RANK", "1")  # the second of several processes
    assert resolve_device() == torch.device("cuda", 1)


def test_apples_gpu_comes_after_cuda(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device() == resolve_device("mps") == torch.device("mps")


def test_other_names_are_refused() -> None:
    with pytest.raises(UsageError, match="'gpu' is no device"):
        resolve_device("gpu")


# -- everything follows the weights ---------------------------------------------------------------------------------


def data(shape: str, kind: str) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    size = {"series": (2, 24), "ragged": (2, 24), "grid": (1, 9, 9), "table": (5,), "volume": (1, 6, 6, 6)}[shape]
    X = torch.randn(12, *size, generator=generator).numpy()
    X[0, 0] = float("nan")
    y = {"classification": [0, 1, 2] * 4, "regression": torch.randn(12, 2, generator=generator).numpy(), "dense": X}[
        kind
    ]
    lengths = [24, 9, 15] * 4 if shape == "ragged" else None
    if kind == "dense":
        y = torch.randn(12, *size, generator=generator).numpy()
    return from_arrays(X, y, lengths=lengths, task=kind)  # type: ignore[arg-type]


def made(shape: str, kind: str, family: str) -> CrossModalModel:
    train = data(shape, kind)
    body = load_backbone(f"twin-{family}").body
    return build_model(plan_model(train, body), body, train, token_rms=0.05)


def there(model: CrossModalModel, shape: str, kind: str) -> None:
    """Forward, loss and backward of a model on the device "meta"."""
    x = torch.empty(4, *model.config.shape, device="meta")
    lengths = torch.empty(4, dtype=torch.long, device="meta") if shape == "ragged" else None
    out = model(x, lengths)
    assert out.device.type == "meta"
    if kind == "classification":
        loss = make_objective("classification", torch.tensor([0, 1, 2]).numpy(), 3, class_weights="balanced")
        total = loss.total(out, torch.empty(4, dtype=torch.long, device="meta"))
    else:
        assert model.scaler is not None
        total = (out - model.scaler(torch.empty(out.shape, device="meta"))).square().sum()
    total.backward()


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies ask whether a batch has padding, which has no answer where there are no values; tracing does not ask."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


@pytest.mark.parametrize("family", list(families()))
def test_every_family_stays_on_its_device(family: str) -> None:
    there(made("series", "classification", family).to("meta"), "series", "classification")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("series", "dense"), ("series", "regression"), ("ragged", "classification"), ("grid", "classification"),
        ("grid", "dense"), ("table", "regression"), ("volume", "classification"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("family", ["bert", "vit", "gpt2"])
def test_every_shape_stays_on_its_device(shape: str, kind: str, family: str) -> None:
    there(made(shape, kind, family).to("meta"), shape, kind)


def test_a_tensor_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("series", "dense", "bert").to("meta")
    model.head.features.mean = model.head.features.mean.new_zeros(model.head.features.mean.shape, device="cpu")
    with pytest.raises(RuntimeError, match="meta"):
        there(model, "series", "dense")
