"""Print which of the node tests of the package onnx pass: python -m tests.onnx_models [module ...]

The modules are those of onnx.backend.test.case.node, all of them unless named.

Ends with 1 if one failed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from node_cases import cases, run

report = run(cases(sys.argv[1:] or None))
print(report.table())
for operator, name, why in report.failed:
    print(f"failed: {name} ({operator}): {why}")
sys.exit(bool(report.failed))
