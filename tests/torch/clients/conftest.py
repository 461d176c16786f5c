"""The libraries that train with loaders import torchvision where it is installed, and ask the network unless told."""

from __future__ import annotations

import os

from tests.torchvision_operators import import_torchvision

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import_torchvision()
