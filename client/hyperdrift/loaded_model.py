"""Load a version into memory from bytes that were checked, and test it on its golden rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hyperdrift.errors import ConfigError, VersionNotHere, VersionRefused
from hyperdrift.forms import joblib_form, onnx_form
from hyperdrift.forms.onnx_library import onnxruntime
from hyperdrift.manifest import Manifest
from hyperdrift.process.loading import IMPORTS
from hyperdrift.version_files import check_files, json_of, read_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMS: Final = ("onnx", "joblib")
"""The forms of a model, the better one first."""

_NEEDS: Final = {
    "onnx": ("onnxruntime",),
    "joblib": ("joblib", "sklearn", "threadpoolctl"),
}


_CLASSES: Final = 3
_LARGEST_FEATURE: Final = 1e38  # the largest number of 32 bit, which models compute with


class FormModel(Protocol):
    """A loaded form of a model."""

    golden_tolerance: float
    """Largest difference from the golden probabilities."""

    def predict(self, rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for rows (n, 17)."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A version in memory, ready to predict; `load` has checked it.

    Attributes:
        manifest: The version's manifest.
        form: What it was loaded from: `onnx` or `joblib`.
        model: The loaded form.
        feature_cols: Names of its 17 features, in order.
        golden: Golden rows, shape (n, 17), and the probabilities (n, 3) that they must give.
    """

    manifest: Manifest
    form: str
    model: FormModel = field(repr=False)
    feature_cols: tuple[str, ...]
    golden: "tuple[NDArray[np.float64], NDArray[np.float64]]" = field(repr=False)

    @property
    def model_id(self) -> str:
        """`<YYYYmmdd_HHMMSS>_<schema_hash>`."""
        return self.manifest.model_id

    @property
    def up(self) -> float:
        """Probability of UP from which the model signals UP."""
        return self.manifest.up

    @property
    def down(self) -> float:
        """Probability of DOWN from which the model signals DOWN."""
        return self.manifest.down

    def predict(
        self, rows: "NDArray[np.float64] | Sequence[Sequence[float]]"
    ) -> "NDArray[np.float64]":
        """Return the probabilities of DOWN, NEUTRAL, UP.

        Args:
            rows: Shape (n, 17), raw, in the order of `feature_cols`.

        Returns:
            Shape (n, 3).

        Raises:
            ValueError: If the rows cannot be used, for example a NaN.
        """
        import numpy as np  # noqa: PLC0415 - it delays a thread of the bot, not the bot's start

        return self.model.predict(np.asarray(rows, dtype=np.float64))

    def check_golden(self) -> float:
        """Return the largest difference from the golden probabilities.

        Raises:
            VersionRefused: If it exceeds 1e-9, or 1e-6 for the portable form: then this is not
                the model that was judged.
        """
        rows, expected = self.golden
        difference = float(abs(self.predict(rows) - expected).max())
        if not difference <= self.model.golden_tolerance:  # also when it is NaN
            reason = f"the golden rows come out {difference:.3g} off; "
            if self.form == "joblib":
                reason += f"load it with the scikit-learn that wrote it ({self.manifest.sklearn}) "
                reason += "or retrain"
            else:
                reason += "update onnxruntime, or restore the file"
            raise VersionRefused(self.model_id, f"{self.manifest.golden}: {reason}")
        return difference


def known_form(form: str) -> str:
    """Return a form that a bot asks for, or "" for the usual one.

    Raises:
        ConfigError: If there is no such form, or its libraries are not installed.
    """
    if form and form not in FORMS:
        raise ConfigError(f"form is {form!r}, must be {' or '.join(FORMS)}, or left out")
    if (form and form not in installed_forms()) or not installed_forms():
        needed = form or "onnx"
        remedy = f"pip install 'hyperdrift-client[{needed}]'"
        raise ConfigError(f"what the {needed} form needs is not installed: {remedy}")
    return form


def installed_forms() -> tuple[str, ...]:
    """Return the forms whose libraries are installed here, the better one first."""
    return tuple(form for form in FORMS if all(map(find_spec, _NEEDS[form])))


def installed_version(distribution: str) -> str:
    """Return the version of a distribution; "" if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def preload(form: str = "") -> None:
    """Import what `load` needs, so that the first swap is faster. Blocks for up to two seconds.

    Args:
        form: What will be loaded; empty for `onnx` where onnxruntime is installed.

    Raises:
        ImportError: If a library is not installed.
    """
    with IMPORTS:
        if (form or installed_forms()[0]) == "onnx":
            onnxruntime()
        else:
            import joblib  # noqa: F401, PLC0415
            import sklearn.ensemble  # noqa: F401, PLC0415


def form_of(manifest: Manifest, form: str = "") -> str:
    """Return the form to load of a version.

    Args:
        manifest: The manifest of the version.
        form: `onnx` or `joblib`; empty for `onnx` where the version has it and onnxruntime is
            installed.

    Raises:
        VersionRefused: If the version does not have the form that is asked for.
    """
    usual = next((each for each in installed_forms() if each in manifest.forms), "joblib")
    chosen = form or usual
    if chosen not in manifest.forms:
        reason = f"it has no {chosen} form, it has {', '.join(manifest.forms)}; retrain"
        raise VersionRefused(manifest.model_id, reason)
    return chosen


def load(manifest: Manifest, contents: Mapping[str, bytes], form: str = "") -> LoadedModel:
    """Load a version and test it on its golden rows. Blocks for up to a second.

    Args:
        manifest: The manifest of the version.
        contents: File name -> bytes, as `check_files` returned them.
        form: See `form_of`.

    Raises:
        VersionNotHere: If this host has no memory or disk space for it now.
        VersionRefused: If the version differs from its manifest in anything.
    """
    import numpy as np  # noqa: PLC0415 - it delays a thread of the bot, not the bot's start

    model_id = manifest.model_id
    chosen = form_of(manifest, form)
    columns = json_of(contents[manifest.feature_columns], manifest.feature_columns, model_id)
    golden = json_of(contents[manifest.golden], manifest.golden, model_id)
    content = contents[manifest.forms[chosen]]
    try:
        names = tuple(columns["feature_cols"])
        rows = np.asarray(golden["rows"], float), np.asarray(golden["probabilities"], float)
        model: FormModel
        with IMPORTS:
            if chosen == "onnx":
                model = onnx_form.load_onnx(manifest, content)
            else:
                model = joblib_form.load_joblib(manifest, content, names)
    except VersionRefused:
        raise
    except (OSError, MemoryError) as e:  # of this host, not of the version
        reason = f"cannot be loaded now ({type(e).__name__}: {e}); look after this host"
        raise VersionNotHere(model_id, reason) from e
    # A pickle of another scikit-learn may raise any error.
    except Exception as e:
        by = f"; written by scikit-learn {manifest.sklearn}" if chosen == "joblib" else ""
        reason = f"cannot be loaded ({type(e).__name__}: {e}){by}"
        raise VersionRefused(model_id, reason) from e
    loaded = LoadedModel(manifest, chosen, model, names, rows)
    _check_shape(loaded)
    loaded.check_golden()
    return loaded


def load_version(path: Path, form: str = "") -> LoadedModel:
    """Compare the digests of the version that a manifest names, and load it. Blocks for a second.

    Args:
        path: LATEST.json, or a version's own manifest; the files lie beside it.
        form: See `form_of`.

    Raises:
        VersionRefused: If the version differs from its manifest in anything.
    """
    manifest = read_manifest(path)
    return load(manifest, check_files(manifest, path.parent), form)


def _check_shape(loaded: LoadedModel) -> None:
    """Refuse feature columns and golden rows that are not the manifest's.

    Raises:
        VersionRefused: If they are not.
    """
    dim = loaded.manifest.feature_dim
    if len(loaded.feature_cols) != dim:
        reason = f"it names {len(loaded.feature_cols)} features, the manifest says {dim}"
        raise VersionRefused(loaded.model_id, f"{loaded.manifest.feature_columns}: {reason}")
    rows, expected = loaded.golden
    reason = ""
    if rows.shape[1:] != (dim,) or not len(rows):
        reason = f"the golden rows have shape {rows.shape}"
    elif expected.shape != (len(rows), _CLASSES):
        reason = f"the golden probabilities have shape {expected.shape}"
    elif not (abs(rows) < _LARGEST_FEATURE).all():  # also where one is NaN
        reason = "the golden rows have values that no feature has"
    if reason:
        raise VersionRefused(loaded.model_id, f"{loaded.manifest.golden}: {reason}; retrain")
