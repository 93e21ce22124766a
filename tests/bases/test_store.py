"""Fetching, checking and adding bases, from a hub of our own over HTTP."""

from __future__ import annotations

import errno
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from structlog.testing import capture_logs
from typer.testing import CliRunner

from backend.bases.service import all_bases
from backend.core.bases import BaseEntry, FewSteps, Part, add_entry, folder_of, is_installed, registry
from backend.core.config import Settings
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable
from tests.bases.hub import COMMIT, Hub, serve
from tests.engine.tiny_sd3 import save_tiny_sd3
from tests.engine.tiny_sdxl import save_tiny_sdxl, single_file
from worker.bases.hub import HubFile, download, listed
from worker.bases.local import RECORD, copy
from worker.bases.store import check, fetch
from worker.engine.base_info import BaseInfo, FewStepsInfo
from worker.engine.bases import load_base
from worker.engine.few_steps import few_steps_of
from worker.engine.pairs.sd3 import load_sd3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

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
    damage(folder / "unet" / "diffusion_pytorch_model.safetensors")
    found = check(settings, "tiny", quiet)
    assert found.missing == ("scheduler/scheduler_config.json",)
    assert found.damaged == ("unet/diffusion_pytorch_model.safetensors",)
    fetch(settings, "tiny", quiet)
    assert check(settings, "tiny", quiet).whole


def test_a_damaged_file_is_fetched_again_and_nothing_else(settings: Settings, hub: Hub) -> None:
    folder = fetch(settings, "tiny", quiet)
    version = BaseInfo.read(folder).version
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    damage(weights)
    hub.asked.clear()
    said: list[str] = []
    seen: list[str] = []
    fetch(settings, "tiny", lambda _done, _total, file: seen.append(file), say=said.append)
    assert said == ["unet/diffusion_pytorch_model.safetensors is damaged and is put here again."]
    assert "checking vae/config.json" in seen
    assert [path for path, _ in hub.asked] == ["shop/tiny/unet/diffusion_pytorch_model.fp16.safetensors"]
    assert weights.read_bytes() == whole
    assert is_installed(settings, "tiny")
    assert BaseInfo.read(folder).version == version, "styles learnt on it stay its own"
    # One of another size too, which the hub has to bring: without it, the base stays what it was, and check tells.
    weights.write_bytes(whole[:-1])
    with pytest.raises(BaseUnavailable, match="not all of it"):
        fetch(settings.model_copy(update={"offline": True}), "tiny", quiet, say=said.append)
    assert len(said) == 2
    assert check(settings, "tiny", quiet).damaged == ("unet/diffusion_pytorch_model.safetensors",)
    fetch(settings, "tiny", quiet)
    assert check(settings, "tiny", quiet).whole


def test_without_the_hub_what_is_here_is_enough(settings: Settings, hub: Hub) -> None:
    with pytest.raises(BaseUnavailable, match="set never to ask"):
        fetch(settings.model_copy(update={"offline": True}), "tiny", quiet)
    fetch(settings, "tiny", quiet)
    hub.asked.clear()
    offline = settings.model_copy(update={"offline": True})
    folder = fetch(offline, "tiny", quiet)
    assert hub.asked == []
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(BaseUnavailable, match="not all of it"):
        fetch(offline, "tiny", quiet)
    assert hub.asked == []


def test_a_fetch_that_broke_off_is_not_whole_without_the_hub(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(file: HubFile, *rest: Any) -> HubFile:
        if file.path == "control_edge/diffusion_pytorch_model.safetensors":
            raise BaseUnavailable("broken off")
        return download(file, *rest)

    # In the last repository, after one of its two files.
    monkeypatch.setattr("worker.bases.store.download", breaks_off)
    with pytest.raises(BaseUnavailable, match="broken off"):
        fetch(settings, "tiny", quiet)
    assert (folder_of(settings, "tiny") / "control_edge" / "config.json").is_file()
    with pytest.raises(BaseUnavailable, match="shop/canny is not on this computer"):
        fetch(settings.model_copy(update={"offline": True}), "tiny", quiet)
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    fetch(settings, "tiny", quiet)
    assert check(settings, "tiny", quiet).whole


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


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "is full"), (errno.EACCES, "may not use")])
@pytest.mark.parametrize("where", ["huggingface_hub.hf_hub_download", "worker.bases.store.copy"])
def test_trouble_with_the_disk_is_not_blamed_on_the_hub(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, words: str, where: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no", "/some/file")

    monkeypatch.setattr(where, refuse)
    parts = ENTRY.parts if "hub" in where else {"base": Part(folder=save_tiny_sdxl(tmp_path / "own"))}
    add_entry(settings, "tiny", ENTRY.model_copy(update={"parts": parts}))
    with pytest.raises(InvalidInput, match=words):
        fetch(settings, "tiny", quiet)


def test_copies_and_unpacked_weights_need_room_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = save_tiny_sdxl(tmp_path / "own")
    fetch(settings, "tiny", quiet)
    file = single_file(source, tmp_path / "one.safetensors")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 10, 1000))
    for given in (
        BaseEntry(title="", licence="", parts={"base": Part(folder=source)}),
        # Its configurations alone would fit.
        BaseEntry(title="", licence="", file=file, parts={"base": Part(folder=tmp_path / "none")}),
    ):
        (tmp_path / "none").mkdir(exist_ok=True)
        with pytest.raises(InvalidInput, match="are free there"):
            fetch(settings, "own", quiet, given)


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
        registry(settings, strict=True)
    (tmp_path / "bases.toml").write_text("[x")
    with pytest.raises(InvalidInput, match="cannot be read"):
        registry(settings, strict=True)
    with pytest.raises(InvalidInput, match="cannot be read"):
        add_entry(settings, "tiny", ENTRY)


def test_a_typing_error_in_the_list_stops_no_service(tmp_path: Path, settings: Settings) -> None:
    own = settings.data_dir / "bases.toml"
    own.write_text(own.read_text() + '[x]\ntitle = "x"\nlicence = ""\nwidth = 3\n')
    with capture_logs() as logs:
        for _ in range(2):
            assert "tiny" in registry(settings)
            assert [base.name for base in all_bases(settings)] == ["hoop-mini"]
    assert [one["event"] for one in logs] == ["bases.entry_left_out"]
    assert "x.width" in logs[0]["reason"]
    with pytest.raises(InvalidInput, match=r"x\.width"):
        fetch(settings, "tiny", quiet)
    own.write_bytes(b"\xff[")
    assert set(registry(settings)) == {"hoop-mini", "sdxl", "sd3"}


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
    damage(folder_of(settings, "tiny") / "unet" / "diffusion_pytorch_model.safetensors")
    refused = runner.invoke(command.base_app, ["check", "tiny"])
    assert refused.exit_code == 1
    assert "Get that with: hoop base fetch tiny" in refused.output
    again = runner.invoke(command.base_app, ["fetch", "tiny", "--accept-licence"])
    assert "unet/diffusion_pytorch_model.safetensors is damaged" in again.output
    assert runner.invoke(command.base_app, ["check", "tiny"]).exit_code == 0
    other = save_tiny_sdxl(tmp_path / "folder", seed=3)
    assert runner.invoke(command.base_app, ["add", "mine", str(other), "--like", "tiny"]).exit_code == 0
    listed = runner.invoke(command.base_app, ["list"]).output
    assert "mine: mine" in listed.replace("\n", " ")


def test_bases_are_added_and_removed(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import worker.bases.cli as command

    monkeypatch.setattr(command, "get_settings", lambda: settings)

    def run(*words: object, answer: str = "") -> Result:
        return CliRunner().invoke(command.base_app, [str(word) for word in words], input=answer)

    kept = (settings.data_dir / "bases.toml").read_text()
    source = tmp_path / "evil"
    source.mkdir()
    for name in ("../../evil", ".", "Capital", "with space"):
        assert "cannot be a base model's name" in str(run("add", name, source, "--like", "tiny").exception)
    for name in ("sdxl", "hoop-mini"):
        assert "another name" in str(run("add", name, source, "--like", "tiny").exception)
    # What turns out not to be usable is in no list, and what was fetched for it can be removed.
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_text("hello")
    assert "cannot be read" in str(run("add", "wrong", wrong, "--like", "tiny").exception)
    assert (settings.data_dir / "bases.toml").read_text() == kept
    assert run("remove", "wrong", "--yes").exit_code == 0
    assert list(settings.bases.iterdir()) == []

    other = save_tiny_sdxl(tmp_path / "folder", seed=3)
    assert run("add", "mine", other, "--like", "tiny").exit_code == 0
    assert is_installed(settings, "mine")
    assert run("remove", "mine", answer="n\n").exit_code == 1
    assert is_installed(settings, "mine")
    add_entry(settings, "like", BaseEntry(title="", licence="", file=wrong, like="mine"))
    assert "needed by like" in str(run("remove", "mine", "--yes").exception)
    assert run("remove", "like", "--yes").exit_code == 0
    assert run("remove", "mine", answer="y\n").exit_code == 0
    assert "mine" not in registry(settings)
    assert not (settings.bases / "mine").exists()
    assert "no base model" in str(run("remove", "mine", "--yes").exception)
    assert "comes with Hoop" in str(run("remove", "hoop-mini", "--yes").exception)
    # One that Hoop knows stays listed, and a name by hand leads nowhere else.
    (settings.bases / "sdxl" / "unet").mkdir(parents=True)
    assert run("remove", "sdxl", "--yes").exit_code == 0
    assert "sdxl" in registry(settings)
    assert not (settings.bases / "sdxl").exists()
    add_entry(settings, "../../evil", ENTRY)
    assert "by hand" in str(run("remove", "../../evil", "--yes").exception)
    assert source.is_dir()


def test_a_newer_checkpoint_of_the_same_name_takes_its_place(settings: Settings, tmp_path: Path) -> None:
    file = single_file(save_tiny_sdxl(tmp_path / "first", seed=5), tmp_path / "tune.safetensors")
    entry = BaseEntry(title="Tune", licence="", file=file, like="tiny", resolution=64)
    add_entry(settings, "tune", entry)
    folder = fetch(settings, "tune", quiet)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    first, written = BaseInfo.read(folder).version, weights.stat().st_mtime_ns
    fetch(settings, "tune", quiet)
    assert weights.stat().st_mtime_ns == written, "the same is not unpacked again"
    # One that cannot be used harms nothing.
    newer = single_file(save_tiny_sdxl(tmp_path / "second", seed=6), tmp_path / "newer.safetensors")
    whole = newer.read_bytes()
    newer.write_text("hello")
    with pytest.raises(InvalidInput, match="cannot be read"):
        fetch(settings, "tune", quiet, entry.model_copy(update={"file": newer}))
    assert check(settings, "tune", quiet).whole
    newer.write_bytes(whole)
    fetch(settings, "tune", quiet, entry.model_copy(update={"file": newer}))
    assert BaseInfo.read(folder).version != first
    ours = load_base(folder).unet.state_dict()
    theirs = load_base(tmp_path / "second").unet.state_dict()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)
    # What was unpacked is checked like what was fetched, and unpacked again.
    damage(weights)
    assert check(settings, "tune", quiet).damaged == ("unet/diffusion_pytorch_model.safetensors",)
    fetch(settings, "tune", quiet, entry.model_copy(update={"file": newer}))
    assert check(settings, "tune", quiet).whole


def test_a_folder_is_copied_once_and_again_where_it_changed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_tiny_sdxl(tmp_path / "own", seed=3)
    (source / RECORD).write_text('{"unet/gone.safetensors": {}}')
    (source / "unet" / "old.txt").write_text("of no use")
    entry = BaseEntry(title="Own", licence="ours", parts={"base": Part(folder=source)}, resolution=64)
    add_entry(settings, "own", entry)
    folder = fetch(settings, "own", quiet)
    first = BaseInfo.read(folder)
    assert (first.name, first.licence) == ("own", "ours"), "and not what the source says about itself"
    assert check(settings, "own", quiet).whole
    copied = []
    monkeypatch.setattr("worker.bases.store.copy", lambda file, to: copied.append(file.path) or copy(file, to))
    fetch(settings, "own", quiet)
    assert copied == []
    other = save_tiny_sdxl(tmp_path / "other", seed=4)
    shutil.copy(other / "unet" / "diffusion_pytorch_model.safetensors", source / "unet")
    (source / "unet" / "old.txt").unlink()
    fetch(settings, "own", quiet)
    assert copied == ["unet/diffusion_pytorch_model.safetensors"]
    assert not (folder / "unet" / "old.txt").exists()
    assert BaseInfo.read(folder).version != first.version
    damage(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert check(settings, "own", quiet).damaged == ("unet/diffusion_pytorch_model.safetensors",)
    fetch(settings, "own", quiet)
    assert check(settings, "own", quiet).whole
    shutil.rmtree(source / "tokenizer")
    (folder / "tokenizer").rename(tmp_path / "away")
    with pytest.raises(InvalidInput, match="there is no tokenizer"):
        fetch(settings, "own", quiet)


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


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
