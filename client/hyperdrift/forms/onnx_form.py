"""Load the portable form of a model, with onnxruntime and numpy alone.

It needs no scikit-learn, unpickles nothing, and takes a fiftieth of the time of the joblib form.
"""

import math
from typing import TYPE_CHECKING, Any, Final

from hyperdrift.errors import VersionRefused
from hyperdrift.forms.onnx_library import onnxruntime
from hyperdrift.manifest import Manifest
from hyperdrift.process.forks import lock_for_forks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOLDEN_TOLERANCE: Final = 1e-6
INPUT: Final = "features"
OUTPUT: Final = "probabilities"
# onnxruntime has locks of its own. A child that is forked while a thread is inside would wait for
# them for ever at its first prediction. A load holds IMPORTS, so no prediction waits for it.
_PREDICTING: Final = lock_for_forks()


class OnnxModel:
    """A loaded portable form; `predict` may be called from any thread."""

    golden_tolerance = GOLDEN_TOLERANCE

    def __init__(self, session: Any) -> None:
        self._session, self._width = session, session.get_inputs()[0].shape[1]

    def predict(self, rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for rows (n, 17).

        Raises:
            ValueError: If a value is NaN or infinite, or there are not 17 in a row.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:  # noqa: PLR2004 - rows of columns
            msg = f"the features have shape {rows.shape}, must be (n, {self._width})"
            raise ValueError(msg)
        # A bot asks for one row after minutes of other work: numpy's loops would cost more.
        if not all(map(math.isfinite, rows.ravel().tolist())):
            msg = "a feature is NaN or infinite; ask for a bar whose features are all known"
            raise ValueError(msg)
        with _PREDICTING:
            given: NDArray[np.float64] = self._session.run([OUTPUT], {INPUT: rows})[0]
        return given


def load_onnx(manifest: Manifest, content: bytes) -> OnnxModel:
    """Load a portable form; the caller holds IMPORTS. Blocks for some hundredths of a second.

    Args:
        manifest: The manifest of the version.
        content: The file, whose digest was compared.

    Raises:
        VersionRefused: If it is no model of 17 features and three classes, or of another version.
    """
    # Imported here, it delays a thread of the bot and not the bot's start.
    library = onnxruntime()
    options = library.SessionOptions()
    # A second thread makes one row no faster, and one that spins takes a core.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    session = library.InferenceSession(content, options, providers=providers)
    _check(manifest, session)
    return OnnxModel(session)


def _check(manifest: Manifest, session: Any) -> None:
    """Refuse a file that is not the contract's, or not of this version.

    Raises:
        VersionRefused: If it is not.
    """
    facts = session.get_modelmeta().custom_metadata_map
    wanted = {
        "model_id": manifest.model_id,
        "schema_hash": manifest.schema_hash,
        "class_order": "0,1,2",
    }
    wrong = [name for name, value in wanted.items() if facts.get(name) != value]
    inputs = [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()]
    outputs = [(one.name, one.type, one.shape[1:]) for one in session.get_outputs()]
    if wrong:
        reason = f"its {wrong[0]} is {facts.get(wrong[0])}, the manifest says {wanted[wrong[0]]}"
    elif inputs != [(INPUT, "tensor(double)", [manifest.feature_dim])]:
        reason = f"its inputs are {inputs}, must be {INPUT} (N, {manifest.feature_dim}) in doubles"
    elif outputs != [(OUTPUT, "tensor(double)", [3])]:
        reason = f"its outputs are {outputs}, must be {OUTPUT} (N, 3) in doubles"
    else:
        return
    raise VersionRefused(manifest.model_id, f"{manifest.forms['onnx']}: {reason}")
