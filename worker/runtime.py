"""What stays warm in a worker between jobs: one base model and the adapters that were used last."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from backend.core.bases import INFO_FILE, folder_of, registry
from backend.core.config import Settings
from backend.core.gpus import FREE_NOTE, fair_share
from backend.jobs.problems import BaseUnavailable
from worker.designs import DesignsOnDemand, free_memory

if TYPE_CHECKING:
    import torch

    from worker.engine.adapter import Adapter
    from worker.engine.base_info import BaseInfo
    from worker.engine.bases import Base
    from worker.engine.memory import Plan
    from worker.engine.pairs import DesignModel
    from worker.engine.pairs.sd3 import DesignPlan

log = structlog.get_logger(__name__)

ADAPTERS_KEPT: Final = 8


class Runtime:
    """Models of one worker process.

    Everything happens under one lock, because a render puts its adapter onto the base's own weights: what uses the base
    has it for itself. Between renders the style at hand stays on the weights.

    Args:
        settings: say where bases lie, how many CPU threads to use, and whether styles are learnt here or only rendered.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._name: str | None = None
        self._base: Base | None = None
        self._adapters: OrderedDict[str, Adapter] = OrderedDict()
        self._fell_short: Counter[str] = Counter()
        """How often memory ran out with a base: so many savings more than the estimate asks for are made."""
        self._outgrown = False
        self._together = 0

    @contextmanager
    def base(self, name: str, *, styled: bool = False) -> "Iterator[Base]":
        """The base of this name, loaded when it is not the one that is warm, for the caller alone.

        Args:
            name: of the base.
            styled: for renders: the style that the last one left on the weights is still there, and the next one's
                stays, so that a shop's next preview finds it. Otherwise the weights are the plain base's.

        Raises:
            BaseUnavailable: it is not on this machine, or damaged.
        """
        with self._lock:
            try:
                if self._base is None or self._name != name or self._outgrown:
                    self.unload()
                    self._outgrown = False
                    self._base = self._load(name)
                    self._name = name
                self._base.swap.keeps = styled
                if not styled:
                    self._base.swap.release()
                yield self._base
            except Exception as error:
                # torch's own, of a GPU; without one nothing is planned. It may come through here twice.
                if type(error).__name__ == "OutOfMemoryError" and not self._outgrown:
                    self._fell_short[name] += 1
                    self._outgrown = True
                    log.warning("base.fell_short", base=name, times=self._fell_short[name])
                raise

    def importing(self) -> threading.RLock:
        """What to hold while the engine is imported.

        Its libraries import each other in circles: of two threads that import them at once, a job's and the one that
        warms the base, one gets half-made modules.
        """
        return self._lock

    def adapter(self, sha256: str, read: Callable[[], bytes]) -> "Adapter":
        """An adapter, parsed once; `read` brings the file when it is not among the last ones used.

        Raises:
            AdapterError: the file is no adapter.
        """
        with self._lock:
            from worker.engine.adapter import Adapter  # noqa: PLC0415 - torch is loaded when it is needed

            if sha256 in self._adapters:
                self._adapters.move_to_end(sha256)
                return self._adapters[sha256]
            adapter = self._adapters[sha256] = Adapter.from_bytes(read())
            while len(self._adapters) > ADAPTERS_KEPT:
                self._adapters.popitem(last=False)
            return adapter

    def warm(self) -> None:
        """Load the settings' base, so that the first job does not wait for it."""
        try:
            with self.base(self._settings.base):
                import worker.engine.infer  # noqa: PLC0415
                import worker.engine.train  # noqa: F401, PLC0415
        except BaseUnavailable:
            # The log has the reason; jobs that need this base will say so to people.
            return

    def unload(self) -> None:
        """Forget the base and the adapters, and give their memory back."""
        with self._lock:
            if self._base is None and not self._adapters:
                return
            self._base, self._name = None, None
            self._adapters.clear()
            free_memory()

    @contextmanager
    def design_model(self, builder: str, base: str) -> "Iterator[DesignModel | None]":
        """What draws flat designs for the styles of a base, for the caller alone.

        Args:
            builder: of the pair; only "diffusion" asks a model.
            base: the style's.

        Yields:
            The settings' design base, which is loaded for every design and freed after it, or else the style's own
            base; ``None`` where another builder is asked, or the base cannot draw designs.

        Raises:
            BaseUnavailable: the one or the other is not on this machine, or damaged.
        """
        if builder != "diffusion":
            yield None
            return
        chosen = self._settings.design_base or base
        with self._lock:
            if chosen != base:
                yield self.designs_of(chosen)
                return
            with self.base(base) as own:
                from worker.engine.pairs.base_designs import designs_of  # noqa: PLC0415

                yield designs_of(own)

    def designs_of(self, name: str) -> "DesignModel":
        """A base as a design model that is loaded when it is asked and freed after, since trainings need the memory.

        Raises:
            BaseUnavailable: it is not on this machine.
        """
        if not (self.folder(name) / INFO_FILE).is_file():
            raise _unavailable(name)
        return DesignsOnDemand(name, lambda: self._load_designs(name))

    @property
    def together(self) -> int:
        """Pictures of several renders that are drawn in one batch: the settings', and fewer once memory ran out."""
        if not self._together:
            from worker.engine.render_work import BATCH  # noqa: PLC0415 - torch is loaded when it is needed

            self._together = self._settings.renders_together or (BATCH if self.device == "cuda" else 1)
        return self._together

    def draw_fewer(self) -> None:
        """A batch was too large for the memory there is: from now on they are half as large."""
        self._together = max(1, self.together // 2)
        log.warning("batch.fell_short", together=self._together)

    @property
    def device(self) -> str:
        """Where the models compute: "cuda" or "cpu"."""
        import torch  # noqa: PLC0415 - torch is loaded when it is needed

        return "cuda" if torch.cuda.is_available() else "cpu"

    def folder(self, name: str) -> Path:
        """Folder of a base by the name that requests and manifests use."""
        from worker.engine.base_info import BaseError, BaseInfo  # noqa: PLC0415 - the engine where it is needed

        try:
            # Another base may have been put in the bundled one's place.
            if BaseInfo.read(self._settings.base_dir).name == name:
                return self._settings.base_dir
        except BaseError:
            pass
        return folder_of(self._settings, name)

    def info(self, name: str) -> "BaseInfo":
        """What a base says about itself, without loading it.

        Raises:
            BaseUnavailable: it is not on this machine, or damaged.
        """
        from worker.engine.base_info import BaseError, BaseInfo  # noqa: PLC0415

        try:
            return BaseInfo.read(self.folder(name))
        except BaseError as error:
            raise _unavailable(name) from error

    def describe(self, name: str) -> str:
        """How a base would be loaded here, for people: device, memory, and what is done to save some.

        Raises:
            BaseUnavailable: it is not on this machine, or damaged.
        """
        planned = self._design_plan(name) if self._is_sd3(name) else self._plan(name)
        return self.device if planned is None else f"{self.device}, {self._words(planned)}"

    def _plan(self, name: str) -> "Plan | None":
        """How to load a base into what is free on the GPU; ``None`` on a CPU, which swaps rather than fails."""
        from worker.engine.base_info import BaseError  # noqa: PLC0415
        from worker.engine.memory import plan  # noqa: PLC0415
        from worker.engine.render_work import BATCH  # noqa: PLC0415

        if self.device == "cpu":
            return None
        entry = registry(self._settings).get(name)
        order = () if entry is None else entry.short_of_memory
        free = self._free()
        try:
            return plan(
                self.folder(name),
                free,
                order,
                self._dtype(name),
                more=self._fell_short[name],
                trains=self._settings.trains,
                # Several variations of one render are drawn at once in any case.
                batch=max(BATCH, self.together if self._settings.renders else 0),
            )
        except (BaseError, OSError, KeyError, ValueError) as error:
            raise _unavailable(name) from error

    def _free(self) -> float:
        """Bytes of the GPU's memory that there are for another base: this worker's share of what is free."""
        import torch  # noqa: PLC0415 - torch is loaded when it is needed

        free, total = torch.cuda.mem_get_info()
        note = self._settings.data_dir / FREE_NOTE
        workers = self._settings.gpu_workers
        return fair_share(note, workers, free=free, total=total, own=torch.cuda.memory_reserved())

    def _words(self, planned: "Plan | DesignPlan | None") -> str:
        """A plan for people; nothing on a CPU."""
        if planned is None:
            return ""
        workers = self._settings.gpu_workers
        return planned.describe() + (f" {workers} workers share the GPU; this is one's part." if workers > 1 else "")

    def _is_sd3(self, name: str) -> bool:
        """Whether a base's folder holds Stable Diffusion 3, which draws designs only, and no UNet."""
        return (self.folder(name) / "transformer").is_dir()

    def _design_plan(self, name: str) -> "DesignPlan | None":
        """The same for Stable Diffusion 3."""
        from worker.engine.base_info import BaseError  # noqa: PLC0415
        from worker.engine.pairs.sd3 import design_plan  # noqa: PLC0415

        if self.device == "cpu":
            return None
        free = self._free()
        try:
            return design_plan(self.folder(name), free, self._dtype(name))
        except (BaseError, OSError) as error:
            raise _unavailable(name) from error

    def _load_designs(self, name: str) -> "DesignModel":
        from worker.engine.base_info import BaseError  # noqa: PLC0415
        from worker.engine.pairs.base_designs import designs_of  # noqa: PLC0415
        from worker.engine.pairs.sd3 import load_sd3  # noqa: PLC0415

        if not self._is_sd3(name):
            model = designs_of(self._load(name))
            if model is None:
                raise BaseUnavailable(
                    f"The base model “{name}” is set to draw flat designs (HOOP_DESIGN_BASE) and cannot: that takes "
                    "one that knows words and has ControlNets. Whoever looks after Hoop can change the setting; "
                    "until then, please upload the artwork, or let the design be made from the photo."
                )
            return model
        planned = self._design_plan(name)
        offload = planned is not None and planned.offload
        try:
            loaded = load_sd3(self.folder(name), self.device, self._dtype(name), offload=offload)
        except BaseError as error:
            log.warning("base.unavailable", base=name, reason=str(error))
            raise _unavailable(name) from error
        log.info("base.loaded", base=name, device=self.device, plan=self._words(planned))
        return loaded

    def _dtype(self, name: str) -> "torch.dtype":
        """Of a base's weights: as its entry says on a GPU, float32 on a CPU, where half precision saves no time."""
        import torch  # noqa: PLC0415

        entry = registry(self._settings).get(name)
        if self.device == "cpu" or entry is None or entry.bundled:
            return torch.float32
        return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[entry.dtype]

    def _load(self, name: str) -> "Base":
        import torch  # noqa: PLC0415 - torch is loaded when it is needed

        from worker.engine.bases import BaseError, load_base  # noqa: PLC0415

        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        planned = self._plan(name)
        savings = () if planned is None else planned.savings
        try:
            base = load_base(self.folder(name), self.device, self._dtype(name), savings)
        except BaseError as error:
            log.warning("base.unavailable", base=name, reason=str(error))
            raise _unavailable(name) from error
        log.info("base.loaded", base=name, device=self.device, plan=self._words(planned))
        return base


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, the computer's or a GPU's."""
    # torch's has this name, on every device; importing torch for it would be a high price.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)


def _unavailable(name: str) -> BaseUnavailable:
    return BaseUnavailable(
        f"The base model “{name}” is not on the computer that does the work, or it is damaged. Whoever looks after "
        f"Hoop can get it there with: hoop base fetch {name}"
    )
