"""Every exit code is documented, and every error class ends in one of them."""

from __future__ import annotations

import re
from pathlib import Path

from lightcl_edge import errors
from lightcl_edge.errors import ExitCode, LightclError

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"


def test_each_code_has_its_section():
    sections = re.findall(r"^## (\d+) (\w+)$", DOCUMENT.read_text(), re.M)
    assert {(int(number), name) for number, name in sections} == {(int(code), code.name) for code in ExitCode}


def test_each_family_of_errors_has_its_own_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LightclError)]
    families = [kind for kind in kinds if LightclError in kind.__bases__]
    codes = [kind.exit_code for kind in families]
    assert len(codes) == len(set(codes)) == len(ExitCode) - 1
    for kind in set(kinds) - {LightclError}:
        assert sum(issubclass(kind, family) and kind.exit_code == family.exit_code for family in families) == 1
