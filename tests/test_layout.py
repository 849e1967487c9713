"""The library's floors: imports run one way, and what a reader opens first stays small and light."""

import ast
import subprocess
import sys

import pytest

from osvos_keras.io.paths import PROJECT

LIBRARY = PROJECT / "osvos_keras"
# From the ground up. A module imports from lower floors and from its own package.
FLOORS = [
    {"errors"},
    {"io"},
    {"core"},
    {"evaluation", "convert", "dataset"},
    {"plots"},
    {"marking", "report"},
    {"video", "batch"},
    {"course"},
    {"cli"},
]
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")
HEAVY = ("keras", "tensorflow", "matplotlib", "pandas", "cv2", "papermill", "dask")


def part_of(module: str) -> str:
    """The package that a module such as `video.clip` belongs to; modules at the top are the core."""
    first = module.partition(".")[0]
    return first if first == "errors" or (LIBRARY / first).is_dir() else "core"


def floor_of(part: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def imported_modules(path) -> set[str]:
    """The library's modules that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        assert not getattr(node, "level", 0), f"{path}: a relative import"
        if isinstance(node, ast.ImportFrom) and node.module == "osvos_keras":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("osvos_keras."):
            found.add(node.module.removeprefix("osvos_keras."))
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.startswith("osvos_keras."))
            found |= {name.removeprefix("osvos_keras.") for name in names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_no_module_imports_from_a_higher_floor(path):
    own = part_of(".".join(path.relative_to(LIBRARY).with_suffix("").parts))
    for module in imported_modules(path):
        part = part_of(module)
        assert part == own or floor_of(part) < floor_of(own), f"{path} imports {module}"


def test_files_stay_short():
    long = {str(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 300}
    assert not long


def test_importing_the_package_is_cheap():
    code = f"import sys, osvos_keras; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
