"""Programs that run in an interpreter of their own: with eight simulated devices, or because they end somehow."""

from __future__ import annotations

import os
import subprocess
import sys

_DEVICES = "--xla_force_host_platform_device_count=8"


def run(code: str, *, returncode: int = 0, timeout: float = 60) -> str:
    """Run a program with eight devices; return what it prints, after checking how it ends."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:the slower NumPy kernels serve", "-c", code],
        env={**os.environ, "XLA_FLAGS": _DEVICES, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == returncode, done.stderr
    return done.stdout
