"""The engine's tiny random base, for methods that need one."""

from tests.engine.conftest import base, base_folder, loaded_base

__all__ = ["base", "base_folder", "loaded_base"]
