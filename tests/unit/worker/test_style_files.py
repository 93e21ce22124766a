"""`hoop style import` and `hoop style export`: LoRA files of other programs in and out."""

import json

import pytest
import safetensors.torch
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from backend.core.config import ROOT, Settings, get_settings
from tests.engine.tiny_base import save_tiny_base
from worker.cli import register
from worker.engine.adapter import TARGETS, Adapter
from worker.engine.base_info import PAPER_STYLE_BLOCKS
from worker.engine.interchange import outline
from worker.engine.layer_names import to_kohya

BUNDLED = Settings.model_fields["base_dir"].default


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def hoop(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HOOP_BASE_DIR", str(tiny))
    monkeypatch.setenv("HOOP_BASE", "tiny")
    monkeypatch.setenv("HOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    app = typer.Typer()
    register(app)
    yield lambda *words: CliRunner().invoke(app, [str(word) for word in words])
    get_settings.cache_clear()


def write_kohya(path, base, extra=None):
    """A LoRA of the whole UNet, as kohya-ss leaves one: half precision, alpha half the rank."""
    source, tensors = torch.Generator().manual_seed(0), dict(extra or {})
    for name, linear in outline(base).named_modules():
        if ".attn" not in name or not name.endswith(TARGETS):
            continue
        key = to_kohya(name)
        tensors[f"{key}.lora_down.weight"] = torch.randn(4, linear.in_features, generator=source).half() * 0.2
        tensors[f"{key}.lora_up.weight"] = torch.randn(linear.out_features, 4, generator=source).half() * 0.2
        tensors[f"{key}.alpha"] = torch.tensor(2.0)
    path.write_bytes(safetensors.torch.save(tensors, metadata={"ss_base_model_version": "sdxl_base_v1-0"}))
    return path


def adapter_in(folder):
    return Adapter.from_bytes((folder / "style.safetensors").read_bytes())


def said(answer):
    assert answer.exit_code == 0, answer.output
    return " ".join(answer.output.split())


def why(answer):
    """What the command says it cannot do, be it in its output or as the error that `hoop` prints."""
    assert answer.exit_code != 0
    return " ".join(f"{answer.output} {answer.exception}".split())


def design_at(path):
    picture = Image.new("RGB", (300, 300), (230, 230, 220))
    picture.paste((200, 40, 40), (80, 80, 220, 220))
    picture.save(path)
    return path


def test_a_lora_of_kohya_becomes_a_style_that_renders(hoop, tiny, tmp_path):
    text = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(4, 16),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.zeros(16, 4),
    }
    file, folder = write_kohya(tmp_path / "satin.safetensors", tiny, text), tmp_path / "satin"
    told = said(
        hoop("style", "import", file, "--out", folder, "--base", "tiny", "--style-word", "[emb]", "--name", "Satin")
    )
    assert "text encoders' layers (1)" in told
    assert "blocks that do not carry the style (56)" in told
    assert "hoop render" in told
    adapter = adapter_in(folder)
    assert adapter.manifest["style_blocks"] == list(PAPER_STYLE_BLOCKS)
    assert adapter.manifest["base"] == {"name": "tiny", "version": "1"}
    assert adapter.manifest["style_word"] == "[emb]"
    assert adapter.manifest["name"] == "Satin"
    assert adapter.manifest["source"]["file"] == "satin.safetensors"
    assert adapter.manifest["source"]["layout"] == "kohya"
    assert adapter.manifest["source"]["skipped"] == {"text_encoder": 1, "other_blocks": 56}
    assert adapter.swatch is None
    assert json.loads((folder / "report.json").read_text())["manifest"] == adapter.manifest
    shown = said(
        hoop("render", folder, "--design", design_at(tmp_path / "d.png"), "--out", tmp_path / "r", "--quality", "draft")
    )
    assert "patch-0.png" in shown
    assert (tmp_path / "r" / "patch-0.png").is_file()


def test_blocks_can_be_chosen(hoop, tiny, tmp_path):
    file = write_kohya(tmp_path / "whole.safetensors", tiny)
    said(hoop("style", "import", file, "--blocks", "all"))
    assert len(adapter_in(tmp_path / "whole.style").manifest["style_blocks"]) == 11
    said(hoop("style", "import", file, "--blocks", "mid_block.attentions.0, up_blocks.1.attentions.2"))
    made = adapter_in(tmp_path / "whole.style")
    assert made.manifest["style_blocks"] == ["mid_block.attentions.0", "up_blocks.1.attentions.2"]
    assert len(made.layers) == 16
    refused = hoop("style", "import", file, "--blocks", "mid_block.attentions.7")
    assert "no block mid_block.attentions.7" in why(refused)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_a_style_goes_out_and_comes_back_the_same(hoop, tiny, tmp_path, layout):
    file = write_kohya(tmp_path / "whole.safetensors", tiny)
    folder = tmp_path / "mine.style"
    said(hoop("style", "import", file, "--out", folder, "--blocks", "all"))
    told = said(hoop("style", "export", folder, "--format", layout))
    assert "learnt on tiny, which is not SDXL" in told
    written = tmp_path / f"mine.{layout}.safetensors"
    # Without a word about blocks, a file of Hoop's keeps those it has.
    said(hoop("style", "import", written, "--out", tmp_path / "back"))
    assert (tmp_path / "back" / "style.safetensors").read_bytes() == (folder / "style.safetensors").read_bytes()
    said(hoop("style", "import", written, "--out", tmp_path / "named", "--name", "Other"))
    named = adapter_in(tmp_path / "named").manifest
    assert named["name"] == "Other"
    assert named["source"]["file"] == written.name


@pytest.mark.parametrize(
    "style", sorted((ROOT / "backend" / "demo").glob("*/adapter.safetensors")), ids=lambda path: path.parent.name
)
def test_the_styles_that_come_along_go_out_and_come_back_the_same(hoop, tmp_path, style):
    said(hoop("style", "export", style, "--format", "kohya", "--out", tmp_path / "out.safetensors"))
    said(hoop("style", "import", tmp_path / "out.safetensors", "--base", BUNDLED))
    assert (tmp_path / "out.style" / "style.safetensors").read_bytes() == style.read_bytes()
    with_swatch = (tmp_path / "out.safetensors").stat().st_size
    said(hoop("style", "export", style, "--format", "kohya", "--out", tmp_path / "out.safetensors", "--no-swatch"))
    assert (tmp_path / "out.safetensors").stat().st_size < with_swatch
    assert Adapter.from_bytes(style.read_bytes()).swatch is not None


def test_a_style_is_not_written_over_itself(hoop, tiny, tmp_path):
    file = write_kohya(tmp_path / "whole.safetensors", tiny)
    said(hoop("style", "import", file))
    style = tmp_path / "whole.style" / "style.safetensors"
    before = style.read_bytes()
    assert "is the style itself" in why(hoop("style", "export", style, "--out", style))
    assert style.read_bytes() == before


def test_peft_s_file_brings_its_configuration(hoop, tiny, tmp_path):
    name = f"{PAPER_STYLE_BLOCKS[0]}.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"base_model.model.{name}.lora_A.weight": torch.ones(2, 32),
        f"base_model.model.{name}.lora_B.weight": torch.ones(32, 2),
    }
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(safetensors.torch.save(tensors))
    assert "adapter_config.json, which did not lie beside it" in said(hoop("style", "import", file))
    (tmp_path / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 4}')
    assert "adapter_config" not in said(hoop("style", "import", file))
    ((_, b),) = adapter_in(tmp_path / "adapter_model.style").layers.values()
    assert b.unique().tolist() == [2]
    (tmp_path / "adapter_config.json").write_text("{")
    assert "cannot be read" in why(hoop("style", "import", file))


def test_what_cannot_be_used_is_told_in_plain_words(hoop, tiny, tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"PK\x03\x04")
    assert "PyTorch file" in why(hoop("style", "import", file))
    write_kohya(file, BUNDLED)
    assert "belongs to another base than tiny" in why(hoop("style", "import", file))
    assert "not on this computer" in why(hoop("style", "import", file, "--base", tmp_path / "none"))
    assert "There is no style in" in why(hoop("style", "export", tmp_path))
    assert not list(tmp_path.glob("**/style.safetensors"))


def test_an_import_renders_on_the_bundled_base(hoop, tmp_path, monkeypatch):
    monkeypatch.delenv("HOOP_BASE_DIR")
    get_settings.cache_clear()
    file = write_kohya(tmp_path / "whole.safetensors", BUNDLED)
    said(hoop("style", "import", file, "--base", "hoop-mini"))
    design = design_at(tmp_path / "d.png")
    answer = hoop("render", tmp_path / "whole.style", "--design", design, "--out", tmp_path / "r", "--quality", "draft")
    said(answer)
    with Image.open(tmp_path / "r" / "patch-0.png") as picture:
        assert max(picture.size) <= 256
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 500
