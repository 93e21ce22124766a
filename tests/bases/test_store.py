"""Fetching, checking and adding bases, from a hub of our own over HTTP."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from typer.testing import CliRunner

from backend.core.bases import BaseEntry, FewSteps, Part, add_entry, folder_of, is_installed, registry
from backend.core.config import Settings
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable
from tests.bases.hub import COMMIT, Hub, serve
from tests.engine.tiny_sd3 import save_tiny_sd3
from tests.engine.tiny_sdxl import save_tiny_sdxl, single_file
from worker.bases.hub import listed
from worker.bases.store import RECORD, check, fetch
from worker.engine.base_info import BaseInfo, FewStepsInfo
from worker.engine.bases import load_base
from worker.engine.few_steps import few_steps_of
from worker.engine.pairs.sd3 import load_sd3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = {
    "base": Part(
        repo="shop/tiny",
        folders=("unet", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
        variant="fp16",
    ),
    "vae": Part(repo="shop/vae-fix"),
    "control_tile": Part(repo="shop/tile"),
    "control_edge": Part(repo="shop/canny", variant="fp16"),
}
ENTRY = BaseEntry(
    title="Tiny SDXL", licence="none", licence_url="https://example.org/licence", resolution=64, parts=PARTS
)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base as it lies on a hub: a folder a repository, and beside the fp16 weights others that nobody wants."""
    root = tmp_path_factory.mktemp("published")
    whole = save_tiny_sdxl(root / "tiny", described=False)
    for part, repo in (("vae", "vae-fix"), ("control_tile", "tile"), ("control_edge", "canny")):
        (whole / part).rename(root / repo)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        for path in (whole / part).glob("*.safetensors"):
            path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
            path.write_bytes(b"not what is wanted")
            path.with_suffix(".bin").write_bytes(b"nor this")
    (whole / "README.md").write_text("A card.")
    (whole / "sd_xl_base_1.0.safetensors").write_bytes(b"the same once more")
    (root / "vae-fix" / "sdxl.vae.safetensors").write_bytes(b"the same once more")
    return root


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Iterator[Hub]:
    root = tmp_path / "hub"
    shutil.copytree(published, root)
    repos = {f"shop/{name}": root / name for name in ("tiny", "vae-fix", "tile", "canny")}
    yield from serve(Hub(repos))


@pytest.fixture
def settings(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # The other tests may ask no hub at all; this one is ours.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    made = Settings(data_dir=tmp_path / "data", hub=hub.address)
    add_entry(made, "tiny", ENTRY)
    return made


def quiet(_done: int, _total: int, _file: str) -> None:
    """No bar."""


def test_a_base_is_fetched_part_by_part_and_loads(settings: Settings) -> None:
    reports: list[tuple[int, int]] = []
    assert not is_installed(settings, "tiny")
    folder = fetch(settings, "tiny", lambda done, total, _file: reports.append((done, total)))
    assert is_installed(settings, "tiny")
    assert reports[0][0] == 0
    assert reports[-1][0] == reports[-1][1] > 100_000
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    base = load_base(folder)
    assert base.info.name == "tiny"
    assert set(base.controls) == {"tile", "edge"}
    assert base.downscale == 8
    record = json.loads((folder / RECORD).read_text())
    assert record["unet/diffusion_pytorch_model.safetensors"]["name"] == "unet/diffusion_pytorch_model.fp16.safetensors"
    assert {one["revision"] for one in record.values()} == {COMMIT}
    assert not {path.name for path in folder.rglob("*")} & {"README.md", "fetching", "model.bin"}
    assert not list(folder.rglob("sd_xl*"))
    assert not list(folder.rglob("sdxl.vae*"))


def test_a_fetched_base_opens_in_stock_diffusers(settings: Settings) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(fetch(settings, "tiny", quiet))
    assert pipeline.vae.config.scaling_factor == pytest.approx(0.13025)


def test_what_is_there_is_not_fetched_again(settings: Settings, hub: Hub) -> None:
    folder = fetch(settings, "tiny", quiet)
    hub.asked.clear()
    fetch(settings, "tiny", quiet)
    assert hub.asked == []
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    fetch(settings, "tiny", quiet)
    assert [path for path, _ in hub.asked] == ["shop/vae-fix/diffusion_pytorch_model.safetensors"]


def test_a_broken_download_goes_on_where_it_stopped(
    settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # 10 MB are more than this base has
    hub.broken = 50_000
    folder = fetch(settings, "tiny", quiet)
    again = [begin for path, begin in hub.asked if begin]
    assert again, "the second request asked for the rest only"
    assert check(settings, "tiny", quiet).whole
    assert load_base(folder).info.name == "tiny"


def test_damage_on_the_way_is_noticed_and_the_rest_kept(settings: Settings, hub: Hub) -> None:
    hub.spoilt.add("diffusion_pytorch_model.safetensors")  # of the autoencoder and the tile control
    with pytest.raises(BaseUnavailable, match="damaged"):
        fetch(settings, "tiny", quiet)
    assert not is_installed(settings, "tiny")
    kept = list((folder_of(settings, "tiny") / "unet").glob("*.safetensors"))
    assert len(kept) == 1
    hub.spoilt.clear()
    hub.asked.clear()
    fetch(settings, "tiny", quiet)
    assert not [path for path, _ in hub.asked if "/unet/" in path]


def test_a_check_names_what_is_missing_and_what_is_damaged(settings: Settings) -> None:
    folder = fetch(settings, "tiny", quiet)
    assert check(settings, "tiny", quiet).whole
    (folder / "scheduler" / "scheduler_config.json").unlink()
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    found = check(settings, "tiny", quiet)
    assert found.missing == ("scheduler/scheduler_config.json",)
    assert found.damaged == ("unet/diffusion_pytorch_model.safetensors",)
    fetch(settings, "tiny", quiet)
    assert check(settings, "tiny", quiet).missing == ()


def test_without_the_hub_what_is_here_is_enough(settings: Settings, hub: Hub) -> None:
    with pytest.raises(BaseUnavailable, match="set never to ask"):
        fetch(settings.model_copy(update={"offline": True}), "tiny", quiet)
    fetch(settings, "tiny", quiet)
    hub.asked.clear()
    fetch(settings.model_copy(update={"offline": True}), "tiny", quiet)
    assert hub.asked == []


@pytest.mark.parametrize("trouble", ["gone", "gated", "unreachable"])
def test_trouble_with_the_hub_is_told_in_plain_words(settings: Settings, hub: Hub, trouble: str) -> None:
    expected = {"gone": "has no shop/vae-fix", "gated": "accepted its licence", "unreachable": "cannot be reached"}
    if trouble == "gone":
        del hub.repos["shop/vae-fix"]
    elif trouble == "gated":
        hub.gated.add("shop/tiny")
    else:
        settings = settings.model_copy(update={"hub": "http://127.0.0.1:9"})
    with pytest.raises(BaseUnavailable, match=expected[trouble]):
        fetch(settings, "tiny", quiet)
    assert not is_installed(settings, "tiny")


def test_a_disk_that_is_too_small_is_told_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(InvalidInput, match="are free there"):
        fetch(settings, "tiny", quiet)


def test_a_single_file_checkpoint_becomes_a_base(settings: Settings, hub: Hub, tmp_path: Path) -> None:
    other = save_tiny_sdxl(tmp_path / "fine-tune", seed=5)
    entry = BaseEntry(
        title="Fine-tune",
        licence="ours",
        file=single_file(other, tmp_path / "tune.safetensors"),
        like="tiny",
        resolution=64,
    )
    add_entry(settings, "tune", entry)
    tuned = load_base(fetch(settings, "tune", quiet))
    direct = load_base(other)
    for one, two in ((tuned.unet, direct.unet), (tuned.text_encoders[1], direct.text_encoders[1])):
        ours, theirs = one.state_dict(), two.state_dict()
        assert set(ours) == set(theirs)
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)
    # Its control is the like's, its own autoencoder came with it, and of the like's weights none were fetched.
    assert set(tuned.controls) == {"tile", "edge"}
    assert not [path for path, _ in hub.asked if path.startswith(("shop/tiny/unet/diff", "shop/vae-fix/diff"))]
    assert load_base(fetch(settings, "tiny", quiet)).info.version != tuned.info.version


@pytest.mark.parametrize("kind", ["text", "lora", "half"])
def test_files_that_are_no_checkpoints_are_refused(settings: Settings, tmp_path: Path, kind: str) -> None:
    from safetensors.torch import load_file, save_file

    file = tmp_path / "wrong.safetensors"
    if kind == "text":
        file.write_text("hello")
        expected = "cannot be read"
    elif kind == "lora":
        save_file({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": torch.zeros(4, 4)}, file)
        expected = "no checkpoint of Stable Diffusion XL"
    else:
        tensors = load_file(single_file(save_tiny_sdxl(tmp_path / "half"), file))
        save_file({k: v for k, v in tensors.items() if "middle_block" not in k}, file)
        expected = "of another kind"
    add_entry(settings, "wrong", BaseEntry(title="Wrong", licence="", file=file, like="tiny", resolution=64))
    with pytest.raises(InvalidInput, match=expected):
        fetch(settings, "wrong", quiet)
    assert not is_installed(settings, "wrong")


def test_the_registry_reads_what_it_writes(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    odd = ENTRY.model_copy(update={"title": 'A "quoted" \\ title\n', "style_blocks": ("a.b", "c"), "gated": True})
    add_entry(settings, "my base 1.0", odd)
    add_entry(settings, "tiny", ENTRY)
    found = registry(settings)
    assert found["my base 1.0"] == odd
    assert found["tiny"] == ENTRY
    assert {"hoop-mini", "sdxl", "sd3"} < set(found)
    (tmp_path / "bases.toml").write_text('[x]\ntitle = "x"\nlicence = ""\nwidth = 3\n')
    with pytest.raises(InvalidInput, match="width"):
        registry(settings)
    (tmp_path / "bases.toml").write_text("[x")
    with pytest.raises(InvalidInput, match="cannot be read"):
        registry(settings)


def test_the_command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import worker.bases.cli as command

    monkeypatch.setattr(command, "get_settings", lambda: settings)
    runner = CliRunner()
    refused = runner.invoke(command.base_app, ["fetch", "tiny"], input="n\n")
    assert refused.exit_code == 1
    assert "https://example.org/licence" in refused.output
    assert runner.invoke(command.base_app, ["check", "tiny"]).exit_code == 1
    assert "not fetched yet" in runner.invoke(command.base_app, ["list"]).output
    assert runner.invoke(command.base_app, ["fetch", "tiny", "--accept-licence"]).exit_code == 0
    checked = runner.invoke(command.base_app, ["check", "tiny", "--draw"])
    assert checked.exit_code == 0, checked.output
    assert "is whole" in checked.output
    assert "It draws" in checked.output
    other = save_tiny_sdxl(tmp_path / "folder", seed=3)
    assert runner.invoke(command.base_app, ["add", "mine", str(other), "--like", "tiny"]).exit_code == 0
    listed = runner.invoke(command.base_app, ["list"]).output
    assert "mine: mine" in listed.replace("\n", " ")


def test_a_speed_up_comes_with_the_base_and_to_one_that_is_here_already(
    settings: Settings, hub: Hub, tmp_path: Path
) -> None:
    from safetensors.torch import save

    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    data = save({f"{layer}.lora_down.weight": torch.ones(2, 64), f"{layer}.lora_up.weight": torch.ones(64, 2)})
    repo = tmp_path / "lcm"
    repo.mkdir()
    (repo / "pytorch_lora_weights.safetensors").write_bytes(data)
    (repo / "other.safetensors").write_bytes(b"not what is wanted")
    hub.repos["shop/lcm"] = repo
    folder = fetch(settings, "tiny", quiet)
    assert few_steps_of(load_base(folder)) is None
    given = FewSteps(repo="shop/lcm", file="pytorch_lora_weights.safetensors", steps=3)
    add_entry(settings, "tiny", ENTRY.model_copy(update={"few_steps": given}))
    assert registry(settings)["tiny"].few_steps == given
    # Without the hub the base stays what it is.
    offline = settings.model_copy(update={"offline": True})
    assert few_steps_of(load_base(fetch(offline, "tiny", quiet))) is None
    fetch(settings, "tiny", quiet)
    assert {path.name for path in (folder / "few_steps").iterdir()} == {given.file}
    assert BaseInfo.read(folder).few_steps == FewStepsInfo(given.file, "lcm", 3, 1.0)
    found = few_steps_of(load_base(folder))
    assert found is not None
    assert (found.steps, len(found.layers)) == (3, 1)
    # A fine-tune of the base is sped up with the same.
    add_entry(
        settings,
        "like",
        BaseEntry(
            title="Like", licence="", file=single_file(folder, tmp_path / "one.safetensors"), like="tiny", resolution=64
        ),
    )
    assert few_steps_of(load_base(fetch(settings, "like", quiet))) is not None
    # And from a folder of this machine.
    local = FewSteps(folder=repo, file="pytorch_lora_weights.safetensors")
    add_entry(
        settings,
        "own",
        BaseEntry(title="Own", licence="", parts={"base": Part(folder=folder)}, few_steps=local, resolution=64),
    )
    assert few_steps_of(load_base(fetch(settings, "own", quiet))) is not None
    gone = local.model_copy(update={"folder": tmp_path / "gone"})
    add_entry(settings, "own", BaseEntry(title="Own", licence="", parts={"base": Part(folder=folder)}, few_steps=gone))
    with pytest.raises(InvalidInput, match="There is no"):
        fetch(settings, "own", quiet)


@pytest.fixture
def sd3(settings: Settings, hub: Hub, tmp_path: Path) -> BaseEntry:
    """The registry's own sd3, its three repositories on our hub, with what nobody wants beside it."""
    entry = registry(settings)["sd3"]
    root = save_tiny_sd3(tmp_path / "sd3-medium", described=False)
    (root / "model_index.json").write_text("{}")
    (root / "sd3_medium.safetensors").write_bytes(b"the same once more")
    (root / "text_encoder" / "model.fp16.safetensors").write_bytes(b"the same once more")
    (root / "text_encoder_3").mkdir()
    (root / "tokenizer_3").mkdir()
    for name in (
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.fp16-00001-of-00002.safetensors",
        "model.safetensors.index.json",
    ):
        (root / "text_encoder_3" / name).write_text("{}")
    for name in ("spiece.model", "tokenizer.json"):
        (root / "tokenizer_3" / name).write_text("{}")
    hub.repos[entry.parts["base"].repo] = root
    for part in ("control_tile", "control_edge"):
        hub.repos[entry.parts[part].repo] = (root / part).rename(tmp_path / part)
    small = entry.model_copy(update={"resolution": 64})
    add_entry(settings, "sd3", small)
    return small


def test_the_design_model_is_fetched_without_its_third_text_encoder(settings: Settings, sd3: BaseEntry) -> None:
    folder = fetch(settings, "sd3", quiet)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        *("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
        *("control_tile", "control_edge"),
    }
    assert not list(folder.rglob("*fp16*"))
    assert check(settings, "sd3", quiet).whole
    loaded = load_sd3(folder)
    assert (loaded.name, loaded.resolution, loaded.pipeline.text_encoder_3) == ("sd3", 64, None)
    shutil.rmtree(folder / "control_edge")
    assert "control_edge" in check(settings, "sd3", quiet).missing


def test_a_third_text_encoder_in_several_files_is_fetched_when_it_is_asked_for(
    settings: Settings, sd3: BaseEntry, hub: Hub, tmp_path: Path
) -> None:
    part = sd3.parts["base"]
    part = part.model_copy(update={"folders": (*part.folders, "text_encoder_3", "tokenizer_3")})
    third = {file.path for file in listed(part, "main", "", tmp_path, hub.address) if "_3/" in file.path}
    assert third == {
        *(f"text_encoder_3/model-0000{n}-of-00002.safetensors" for n in (1, 2)),
        *("text_encoder_3/config.json", "text_encoder_3/model.safetensors.index.json"),
        *("tokenizer_3/spiece.model", "tokenizer_3/tokenizer.json"),
    }


def test_the_design_model_on_the_command_line(
    settings: Settings, sd3: BaseEntry, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worker.bases.cli as command

    monkeypatch.setattr(command, "get_settings", lambda: settings)
    runner = CliRunner()
    assert sd3.gated
    hub.gated.add(sd3.parts["base"].repo)
    refused = runner.invoke(command.base_app, ["fetch", "sd3", "--accept-licence"])
    assert "accepted its licence" in str(refused.exception)
    hub.gated.clear()
    assert "HOOP_DESIGN_BASE=sd3" in runner.invoke(command.base_app, ["fetch", "sd3", "--accept-licence"]).output
    checked = runner.invoke(command.base_app, ["check", "sd3", "--draw"])
    assert checked.exit_code == 0, checked.output
    for words in ("is whole", "On this machine: cpu", "It draws"):
        assert words in checked.output
