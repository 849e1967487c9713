"""pyproject.toml, constraints.txt, environment.yml: one range for a package, the tested version in it."""

import re
import tomllib
from itertools import chain

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from osvos_keras.io.paths import PROJECT

TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
EXTRAS = TABLE["project"]["optional-dependencies"]
LISTS = [TABLE["build-system"]["requires"], TABLE["project"]["dependencies"], *EXTRAS.values()]
REQUIREMENTS = [Requirement(line) for line in chain(*LISTS)]
PINS = [line for line in (PROJECT / "constraints.txt").read_text("utf-8").splitlines() if line[:1] != "#"]
TESTED = {canonicalize_name(name): version for name, version in (pin.split("==") for pin in PINS)}
OTHERS = [requirement for requirement in REQUIREMENTS if requirement.name != TABLE["project"]["name"]]


def test_a_package_in_several_lists_has_one_range():
    ranges = {}
    for requirement in OTHERS:
        ranges.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


@pytest.mark.parametrize("requirement", OTHERS, ids=str)
def test_the_tested_version_is_in_the_range(requirement):
    assert ">=" in str(requirement.specifier)  # a floor, so that the oldest versions can be tested
    assert TESTED[canonicalize_name(requirement.name)] in requirement.specifier


def test_conda_takes_python_and_packages_from_the_same_files():
    conda = yaml.safe_load((PROJECT / "environment.yml").read_text("utf-8"))["dependencies"]
    python, pip, packages = conda
    assert re.fullmatch(r"python=(3\.\d+)", python)[1] in SpecifierSet(TABLE["project"]["requires-python"])
    constraint, project = packages["pip"]
    assert (pip, constraint) == ("pip", "--constraint constraints.txt")
    assert re.fullmatch(r"--editable \.\[(\w+)\]", project)[1] in EXTRAS
