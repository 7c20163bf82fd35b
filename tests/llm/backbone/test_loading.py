"""Loading models, layers and adapters; everything that can be wrong with them is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from llm.backbone.loading import BackboneError, keep_first_layers, load
from tests.support.llm_tiny import cut, write_adapter, write_model

TEXT = "Green A age5\nBest phase:"
# PEFT 0.21 asks transformers 5 by an old name where these tests make adapters
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "llama")


def logits(backbone) -> np.ndarray:
    ids = torch.tensor([backbone.tokenizer(TEXT)["input_ids"]])
    with torch.inference_mode():
        return backbone.model(input_ids=ids).logits[0, -1].numpy()


def sentence(error: pytest.ExceptionInfo[BackboneError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert "Traceback" not in text
    return text


def copied(model: Path, to: Path) -> Path:
    return Path(shutil.copytree(model, to))


def test_local_folder_in_fp32_with_hash(llama: Path, tmp_path: Path) -> None:
    backbone = load(str(llama))
    assert backbone.layers == 3
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}
    assert not backbone.model.training
    assert len(backbone.model_sha256) == 64
    assert backbone.adapter_sha256 is None
    other = load(str(write_model(tmp_path / "other", layers=2)))
    assert other.model_sha256 != backbone.model_sha256


def test_first_layers_are_what_the_whole_model_computes_there(llama: Path) -> None:
    whole, two = load(str(llama)), load(str(llama), layers=2)
    ids = torch.tensor([whole.tokenizer(TEXT)["input_ids"]])
    with torch.inference_mode():
        after_two = whole.model(input_ids=ids, output_hidden_states=True).hidden_states[2]
        expected = whole.model.get_output_embeddings()(whole.model.get_decoder().norm(after_two))
    np.testing.assert_allclose(logits(two), expected[0, -1].numpy(), atol=1e-5)
    assert two.layers == 2


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_layers_of_other_families(kind: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / kind, kind)
    assert not np.allclose(logits(load(str(model), layers=1)), logits(load(str(model))))


@pytest.mark.parametrize("layers", [0, 4, -1, 1.5, "two"])
def test_impossible_layers(llama: Path, layers: object) -> None:
    with pytest.raises(BackboneError, match="from 1 to 3") as error:
        load(str(llama), layers=layers)  # type: ignore[arg-type]
    sentence(error)


def test_layers_of_a_model_without_a_list() -> None:
    class Odd(torch.nn.Module):
        config = type("Config", (), {"num_hidden_layers": 2})

        def get_decoder(self) -> torch.nn.Module:
            return torch.nn.Sequential()

    with pytest.raises(BackboneError, match="cannot be dropped"):
        keep_first_layers(Odd(), 1)


def test_threads(llama: Path) -> None:
    load(str(llama), threads=1)
    assert torch.get_num_threads() == 1
    with pytest.raises(BackboneError, match="threads"):
        load(str(llama), threads=0)


def test_adapter_is_merged_and_hashed(llama: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    adapter = write_adapter(tmp_path / "adapter", llama)
    plain, adapted = load(str(llama)), load(str(llama), adapter=adapter)
    reference = PeftModel.from_pretrained(load(str(llama)).model, str(adapter)).eval()
    ids = torch.tensor([plain.tokenizer(TEXT)["input_ids"]])
    with torch.inference_mode():
        expected = reference(input_ids=ids).logits[0, -1].numpy()
    np.testing.assert_allclose(logits(adapted), expected, atol=1e-4)
    assert not np.allclose(logits(adapted), logits(plain), atol=1e-2)
    assert not any("lora" in name for name, _ in adapted.model.named_parameters())
    assert adapted.adapter_sha256 is not None
    assert adapted.model_sha256 == plain.model_sha256


def test_adapter_for_the_first_layers(llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", llama, layers=2)
    assert load(str(llama), adapter=adapter, layers=2).layers == 2
    with pytest.raises(BackboneError, match=r"does not fit .* 3 layers .* number of layers") as error:
        load(str(llama), adapter=adapter)
    sentence(error)


def test_adapter_of_another_width(llama: Path, tmp_path: Path) -> None:
    wide = write_model(tmp_path / "wide", width=32)
    adapter = write_adapter(tmp_path / "adapter", wide)
    with pytest.raises(BackboneError, match=r"does not fit .*size mismatch") as error:
        load(str(llama), adapter=adapter)
    assert f"trained on '{wide}'" in sentence(error)


def test_adapter_of_another_family(llama: Path, tmp_path: Path) -> None:
    gpt2 = write_model(tmp_path / "gpt2", "gpt2")
    adapter = write_adapter(tmp_path / "adapter", llama)
    with pytest.raises(BackboneError, match=r"does not fit .*q_proj") as error:
        load(str(gpt2), adapter=adapter)
    assert f"trained on '{llama}'" in sentence(error)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_broken_adapter(llama: Path, tmp_path: Path, file: str, harm: str) -> None:
    adapter = write_adapter(tmp_path / "adapter", llama)
    if harm == "missing":
        (adapter / file).unlink()
    else:
        cut(adapter / file)
    with pytest.raises(BackboneError, match=r"holds no|damaged") as error:
        load(str(llama), adapter=adapter)
    assert str(adapter) in sentence(error)


def test_adapter_config_of_nonsense(llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", llama)
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "MAGIC"}))
    with pytest.raises(BackboneError, match="damaged or no PEFT adapter") as error:
        load(str(llama), adapter=adapter)
    sentence(error)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist") as error:
        load(str(tmp_path / "nothing"))
    sentence(error)


@pytest.mark.parametrize(("file", "match"), [("config.json", "configuration"), ("model.safetensors", "weights")])
def test_folder_that_lacks_a_part(llama: Path, tmp_path: Path, file: str, match: str) -> None:
    model = copied(llama, tmp_path / "model")
    (model / file).unlink()
    with pytest.raises(BackboneError, match=match) as error:
        load(str(model))
    sentence(error)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_truncated_files(llama: Path, tmp_path: Path, file: str) -> None:
    model = copied(llama, tmp_path / "model")
    cut(model / file)
    with pytest.raises(BackboneError, match="cannot be loaded") as error:
        load(str(model))
    assert str(model) in sentence(error)


def test_missing_weights_are_not_made_up(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = copied(llama, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="lacks 1 of its weights, such as") as error:
        load(str(model))
    assert "layers.1.mlp.up_proj" in sentence(error)


@pytest.mark.parametrize("name", ["nobody/no-such-model", "a/b/c", "with space"])
def test_unknown_id_or_offline(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackboneError, match="is no folder here") as error:
        load(name)
    sentence(error)


def test_unknown_device(llama: Path) -> None:
    with pytest.raises(BackboneError, match="device 'warp'") as error:
        load(str(llama), device="warp")
    sentence(error)
