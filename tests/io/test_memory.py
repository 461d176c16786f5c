from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.io.memory import total_memory

if TYPE_CHECKING:
    from pathlib import Path


def limit_in(tmp_path: Path, own: str, mount: str, limits: dict[str, str]) -> int:
    """The memory of a process whose group and mounts are these; {} stands for the folder of the groups."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    proc.mkdir()
    groups.mkdir()
    (proc / "cgroup").write_text(own)
    (proc / "mountinfo").write_text(f"22 1 0:21 / /proc rw - proc proc rw\n{mount.format(groups)}\n")
    for name, limit in limits.items():
        file = groups / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return total_memory(str(proc))


V2 = "30 22 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw"
V1 = "30 22 0:26 / {} rw,nosuid - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("own", "mount", "limits"),
    [
        pytest.param("0::/\n", V2, {"memory.max": "1048576"}, id="container with a namespace"),
        pytest.param(
            "0::/user.slice/app.service\n",
            V2,
            {
                "memory.max": "max",
                "user.slice/memory.max": "1048576",
                "user.slice/app.service/memory.max": "9999999",
            },
            id="systemd: a slice above",
        ),
        pytest.param(
            "0::/app.service\n",
            V2,
            {"app.service/memory.max": "max", "app.service/memory.high": "1048576"},
            id="systemd: MemoryHigh",
        ),
        pytest.param(
            "5:cpu,cpuacct:/other\n4:memory:/slurm/uid_7/job_8/step_0/task_0\n0::/none\n",
            V1,
            {
                "memory.limit_in_bytes": "9223372036854771712",
                "slurm/uid_7/job_8/memory.limit_in_bytes": "1048576",
                "slurm/uid_7/job_8/step_0/task_0/memory.limit_in_bytes": "9223372036854771712",
            },
            id="SLURM: the job",
        ),
        pytest.param(
            "4:memory:/docker/abc\n",
            V1.replace("/ {}", "/docker/abc {}"),
            {"memory.limit_in_bytes": "1048576"},
            id="container of the first version",
        ),
        pytest.param(
            "4:memory:/docker/abc/inner\n",
            V1.replace("/ {}", "/docker/abc {}"),
            {"memory.limit_in_bytes": "9999999", "inner/memory.limit_in_bytes": "1048576"},
            id="a group inside of a container",
        ),
        pytest.param("0::/../../above\n", V2, {"memory.max": "1048576"}, id="a group out of sight"),
        pytest.param("0::/gone\n", V2, {"memory.max": "1048576"}, id="a group that is not mounted"),
    ],
)
def test_the_least_limit_of_the_groups_counts(tmp_path: Path, own: str, mount: str, limits: dict[str, str]) -> None:
    assert limit_in(tmp_path, own, mount, limits) == 1 << 20


def test_another_group_does_not_count(tmp_path: Path) -> None:
    other = {"own/memory.max": "max", "other/memory.max": "1048576"}
    assert limit_in(tmp_path, "0::/own\n", V2, other) > 1 << 20


def test_a_system_without_groups(tmp_path: Path) -> None:
    assert total_memory(str(tmp_path)) == total_memory(str(tmp_path / "none")) > 1 << 20
