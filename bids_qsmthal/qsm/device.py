"""The seam between the reconstruction and an accelerator.

Arrays of the host are NumPy's. What runs on a device speaks the Python array API standard, so any
namespace that keeps to it can stand behind the seam (https://data-apis.org/array-api).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from bids_qsmthal.core.errors import UnavailableError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

    Method = TypeVar("Method", bound=DataclassInstance)

NAMESPACES = {"cuda": "cupy"}
"""The package behind each device but the host."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where transforms and solvers run: ``"cpu"`` or a name in ``NAMESPACES``."""

    name: str = "cpu"

    @property
    def is_host(self) -> bool:
        """Whether this is the processor itself, with its compiled passes."""
        return self.name not in NAMESPACES

    @property
    def namespace(self) -> Any:  # noqa: ANN401 - a module
        """The array namespace of the device.

        Raises
        ------
        UnavailableError
            Its package is not installed.
        """
        if self.is_host:
            return np
        package = NAMESPACES[self.name]
        try:
            return importlib.import_module(package)
        except ImportError as error:
            raise UnavailableError(
                f"--device {self.name}: the package {package!r} cannot be imported ({error}); "
                "install bids_qsmthal[cuda] or use --device cpu."
            ) from error

    def check(self) -> None:
        """Refuse a device that is not there.

        Raises
        ------
        UnavailableError
            Its package is not installed, or it finds no device.
        """
        if self.is_host:
            return
        try:
            # A driver may be there without a device, and importing the package does not tell: only
            # work does.
            self.fetch(self.send(np.ones(1, np.float32)) + 1)
        except UnavailableError:
            raise
        except Exception as error:  # each driver fails in its own way
            reason = str(error).split("\n", maxsplit=1)[0]
            raise UnavailableError(
                f"--device {self.name}: no device answers ({type(error).__name__}: {reason}); "
                "check the driver (nvidia-smi; in a container --gpus all or --nv), or use "
                "--device cpu."
            ) from error

    def send(self, values: NDArray[Any]) -> Any:  # noqa: ANN401 - an array of the namespace
        """Return the array on the device."""
        return values if self.is_host else self.namespace.asarray(values)

    def fetch(self, values: Any) -> NDArray[Any]:  # noqa: ANN401 - an array of the namespace
        """Return the array on the host."""
        # First: a host array must come back as it is, without a copy.
        if isinstance(values, np.ndarray):
            return values
        if hasattr(values, "get"):  # CuPy does not convert without being asked
            return cast("NDArray[Any]", values.get())
        return np.asarray(values)


HOST = Device()


def moved(method: Method, device: Device) -> Method:
    """Return a method, a dataclass, with it and all the methods it is made of on a device."""
    parts = {f.name: getattr(method, f.name) for f in fields(method)}
    changes = {
        name: device if isinstance(part, Device) else moved(part, device)
        for name, part in parts.items()
        if is_dataclass(part) and not isinstance(part, type)
    }
    return replace(method, **changes)
