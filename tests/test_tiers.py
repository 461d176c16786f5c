"""The quick tier, `pytest -m quick`."""

from pathlib import Path

TESTS = Path(__file__).parent


def test_quick_files_exist_in_every_folder(quick_files: list[Path]) -> None:
    missing = [path for path in quick_files if not path.is_file()]
    assert not missing, "moved or deleted: change the list in conftest.py"
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    assert {path.relative_to(TESTS).parts[0] for path in quick_files} >= {name for name in folders if "." not in name}
