"""Fails when a module is longer than 500 lines (tests: 700) or a function than 50, its docstring not counted."""

import ast
import subprocess
import sys
from pathlib import Path

MODULE_LINES, TEST_MODULE_LINES, FUNCTION_LINES = 500, 700, 50
faults = []
listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
for name in filter(None, subprocess.run(listed, capture_output=True, check=True, text=True).stdout.split("\0")):
    if not Path(name).is_file():
        continue
    text, is_test = Path(name).read_text("utf-8"), name.startswith("tests/")
    if text.count("\n") > (TEST_MODULE_LINES if is_test else MODULE_LINES):
        faults.append(f"{name}: {text.count(chr(10))} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_test:
            docstring = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            # A migration is a list of tables, made by a tool and never changed.
            if lines > FUNCTION_LINES and "/migrations/" not in name:
                faults.append(f"{name}:{node.lineno}: {node.name} has {lines} lines")
sys.exit("\n".join(faults) or 0)
