"""The table of docs/deploy.md: python docs/exports_table.py exports/NAME."""

import json
import sys
from pathlib import Path

print("| target | precision | MiB | Delta E | ab: mean, largest | latency | ratio to float32 | first request |")
print("|---|---|---|---|---|---|---|---|")
for entry in json.loads(Path(sys.argv[1], "manifest.json").read_text())["artifacts"]:
    parity = entry["parity"]
    kind = {"saved_model": "SavedModel", "tflite": f"LiteRT, `{entry['kind']}`", "keras": "Keras"}[entry["format"]]
    ratio = f"{parity['latency_ratio']:.2f}" if parity["reference"] else "1"
    print(
        f"| {kind} | {entry['precision']} | {entry['bytes'] / 2**20:.1f} | {parity['delta_e']:.2g} "
        f"| {parity['mean_ab']:.1e}, {parity['largest_ab']:.1e} | {parity['latency_ms']:.1f} ms | {ratio} "
        f"| {parity['first_request_ms']:.0f} ms |"
    )
