"""Runs the real promptfoo once and keeps its verdicts.

    npm install --prefix DIR promptfoo@0.121.20     (Node 20 or later)
    python3 record.py DIR

writes verdicts.json beside promptfooconfig.yaml: the version, and for each row of the result the
test's number and description, the values of its variables, whether it passed, and for each
assertion its type and whether it held. The test `promptfoo` compares these with ours.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
package = Path(sys.argv[1]) / "node_modules"
version = json.loads((package / "promptfoo" / "package.json").read_text())["version"]

with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "out.json"
    environment = dict(
        os.environ,
        PROMPTFOO_CONFIG_DIR=folder,
        PROMPTFOO_DISABLE_TELEMETRY="1",
        PROMPTFOO_DISABLE_UPDATE="1",
    )
    command = [package / ".bin" / "promptfoo", "eval", "--no-cache", "--no-write", "-j", "1"]
    command += ["-c", here / "promptfooconfig.yaml", "-o", out]
    # It ends with 100 if a test fails, and some must.
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    results = json.loads(out.read_text())["results"]["results"]


def held(component):
    assertion = component.get("assertion") or {}
    return {"type": assertion.get("type", "assert-set"), "pass": component["pass"]}


rows = []
for result in sorted(results, key=lambda result: (result["testIdx"], result["promptIdx"])):
    rows.append(
        {
            "description": result["testCase"].get("description", ""),
            "vars": result["vars"],
            "output": result["response"]["output"],
            "pass": result["success"],
            "assertions": [held(one) for one in result["gradingResult"]["componentResults"]],
        }
    )
document = {"promptfoo": version, "rows": rows}
(here / "verdicts.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
print(f"{len(rows)} rows, {sum(len(row['assertions']) for row in rows)} assertions")
