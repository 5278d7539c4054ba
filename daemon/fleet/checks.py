"""Check what a worker made, before anything of it is adopted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.core.errors import RetrainFailedError
from daemon.training.last_lines import read_challenge, read_verdict
from hyperdrift import version_files
from hyperdrift.errors import HyperdriftError
from hyperdrift.manifest import Manifest
from monitor.drift.calibration import Calibration
from monitor.errors import BadReference
from retrain import features
from retrain.manifest import manifest_name, model_id


def candidate_fault(folder: Path, finished: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Return why a candidate cannot be used, "" if it can.

    Args:
        folder: The folder of the job, with what came back.
        finished: The last line of the child.
        spec: The job.
    """
    try:
        verdict = read_verdict(finished)
        wanted = model_id(int(spec["at_ms"]), features.schema_hash())
        where = f"candidate/{manifest_name(wanted)}"
        if (verdict.model_id, verdict.manifest) != (wanted, where):
            return f"it made {verdict.model_id}, not {wanted}"
        manifest = version_files.read_manifest(folder / where)
        version_files.check_slot(manifest, spec["slot"])
        version_files.check_files(manifest, folder / "candidate")
        certificate = version_files.read_certificate(manifest, folder / "candidate")
    except (HyperdriftError, RetrainFailedError, OSError) as e:
        return str(e)
    if certificate.get("passed") is not verdict.passed:
        return "its certificate and its last line do not agree"
    return _other_libraries(manifest)


def _other_libraries(manifest: Manifest) -> str:
    if manifest.schema_hash != features.schema_hash():
        return f"its features are {manifest.schema_hash}, not {features.schema_hash()}"
    return ""


def challenge_fault(finished: Mapping[str, Any]) -> str:
    """Return why the answer of a quick challenger cannot be used, "" if it can."""
    try:
        read_challenge(finished)
    except RetrainFailedError as e:
        return str(e)
    return ""


def calibration_fault(folder: Path) -> str:
    """Return why the calibration in the folder of a job cannot be used, "" if it can."""
    try:
        Calibration.from_json((folder / "calibration.json").read_text())
    except (OSError, ValueError, BadReference) as e:
        return f"calibration.json: {e}"
    return ""
